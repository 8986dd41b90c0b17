-- Decides about all rates of one limit together, and charges them where every rate allows. A refusal writes nothing,
-- unless refusals lead to a ban.
-- State: format byte (1 sliding window, 2 fixed window, 3 token bucket), flag byte (1: a ban section follows), then
--   ban        u48 banned until (ms)  u32 refusals  u48 first of them (ms)
--   section    u32 window (ms), then
--     sliding  u8 records  u48 newest (ms)  { u32 ms before the newest  u32 units } oldest first
--     fixed    u48 start (ms)  u32 units
--     bucket   f64 time (us)  f64 us until it is empty
-- KEYS  1 state
-- ARGV  1 operation (h hit, p peek, r refund, b block), format byte, + where the four in brackets follow  2 cost
--       [3 time in us, '' for the server's  4 ban after so many refusals, 0: never  5 ban length in ms
--       6 refund: time of the hit in ms, '' for the oldest]  then limit, window in ms, burst of each rate
-- Returns f64 numbers, little-endian, which are cheaper to make than text: allowed (1 or 0), time in ms, banned until (ms, 0:
--   not), then for each rate: remaining, ms until all is back, ms until the call would be allowed (-1: never), ms until the
--   next unit
local op, format, cost = string.sub(ARGV[1], 1, 1), tonumber(string.sub(ARGV[1], 2, 2)), tonumber(ARGV[2])
local us, after, forMs, hitAt, first = nil, 0, 0, nil, 3
if #ARGV[1] == 3 then
  us, after, forMs, hitAt, first = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), 7
end
if not us then
  local time = redis.call('TIME')
  us = time[1] * 1000000 + time[2]
end
local now = math.floor(us / 1000)
local state = redis.call('GET', KEYS[1]) or ''

-- Nearly every call: a hit of sliding windows whose state has the sections of just these windows, in their order. It has
-- no closure and hardly a table, which cost as much as all commands. What follows below does the same for everything.
if op == 'h' and format == 1 and cost > 0 and after == 0 and (state == '' or string.sub(state, 1, 2) == '\1\0') then
  local size, pos, allowed, known, rates = #state, 3, 1, true, {}
  for index = first, #ARGV, 3 do
    local limit, window = tonumber(ARGV[index]), tonumber(ARGV[index + 1])
    local log, from, to, units, at, newest = nil, 1, 0, 0, now, now
    if size > 0 then
      local own, count = 0, 0
      if pos + 10 <= size then own, count, newest, pos = struct.unpack('<I4BI6', state, pos) end
      to = 2 * count
      if own ~= window or pos + 4 * to > size + 1 then
        known = false
        break
      end
      log = { struct.unpack(to == 2 and '<I4I4' or '<' .. string.rep('I4', to), state, pos) }
      pos = log[to + 1]
      at = math.max(now, newest)
      while from < to and newest - log[from] + window < at do from = from + 2 end
      for record = from + 1, to, 2 do units = units + log[record] end
    end
    if units + cost > limit then allowed = 0 end
    rates[#rates + 1] = { log or {}, from, to, units, at, newest, limit, window }
  end
  if known and (size == 0 or pos == size + 1) then
    local reply, bytes, last = '', '\1\0', 0
    for index = 1, #rates do
      local log, from, to, units, at, newest, limit, window = unpack(rates[index])
      local reset, retry, nextUnit = 0, 0, window
      if allowed == 1 then
        local joins = from <= to
          and (newest == at or (limit > 16 and math.floor(newest * 16 / window) == math.floor(at * 16 / window)))
        for record = from, to, 2 do log[record] = log[record] + at - newest end
        if not joins then
          to = to + 2
          log[to] = 0
        end
        log[to - 1], log[to], units = 0, log[to] + cost, units + cost
        local size = to - from + 1
        local layout = size == 2 and '<I4BI6I4I4' or '<I4BI6' .. string.rep('I4', size)
        bytes = bytes .. struct.pack(layout, window, size / 2, at, unpack(log, from, to))
        last = math.max(last, at + window + 1)
        reset, nextUnit = window + 1, window + 1 - log[from]
      elseif from <= to then
        reset, nextUnit = newest + window + 1 - at, newest - log[from] + window + 1 - at
      end
      local over = units + cost - limit
      if allowed == 0 and over > 0 then
        retry = -1
        for record = from, to, 2 do
          over = over - log[record + 1]
          if over <= 0 then
            retry = newest - log[record] + window + 1 - at
            break
          end
        end
      end
      local left = math.max(0, limit - units)
      if index == 1 then
        reply = struct.pack('<ddddddd', allowed, now, 0, left, reset, retry, nextUnit)
      else
        reply = reply .. struct.pack('<dddd', left, reset, retry, nextUnit)
      end
    end
    if allowed == 1 then redis.call('SET', KEYS[1], bytes, 'PX', last - now) end
    return reply
  end
end

local banned, refusals, since = 0, 0, 0
local sections, order, pos = {}, {}, 3
if #state >= 2 and string.byte(state, 1) == format then
  if string.byte(state, 2) == 1 then banned, refusals, since, pos = struct.unpack('<I6I4I6', state, 3) end
  while pos <= #state do
    local window, section
    if format == 1 then
      local count, newest
      window, count, newest, pos = struct.unpack('<I4BI6', state, pos)
      section = {}
      for index = 1, count do
        local before, units
        before, units, pos = struct.unpack('<I4I4', state, pos)
        section[index] = { newest - before, units }
      end
    elseif format == 2 then
      local start, units
      window, start, units, pos = struct.unpack('<I4I6I4', state, pos)
      section = { start, units }
    else
      local at, debt
      window, at, debt, pos = struct.unpack('<I4dd', state, pos)
      section = { at, debt }
    end
    sections[window] = section
    order[#order + 1] = window
  end
end

-- Opens the section of a rate at this time: what has run out is gone.
local function open(limit, window)
  local section = sections[window]
  if format == 1 then
    local records, units, at = {}, 0, now
    if section and #section > 0 then at = math.max(now, section[#section][1]) end
    for _, record in ipairs(section or {}) do
      if record[1] + window >= at then
        records[#records + 1] = record
        units = units + record[2]
      end
    end
    return { records = records, units = units, now = at }
  elseif format == 2 then
    local start, units = now, 0
    if section then start, units = section[1], section[2] end
    local at = math.max(now, start)
    if units > 0 and at >= start + window then units = 0 end
    if units == 0 then start = at end
    return { start = start, units = units, now = at }
  end
  local unit = window * 1000 / limit
  local at, debt = us, 0
  if section then
    at = math.max(us, section[1])
    debt = math.max(0, section[2] - (at - section[1]))
  end
  return { at = at, debt = debt, unit = unit }
end

local EPSILON = 1e-6
local function ms(open, units) return math.ceil(units * open.unit / 1000 - EPSILON) end

local function retry(open, limit, window, burst, cost)
  if format == 1 then
    local over = open.units + cost - limit
    if over <= 0 then return 0 end
    for _, record in ipairs(open.records) do
      over = over - record[2]
      if over <= 0 then return record[1] + window + 1 - open.now end
    end
    return -1
  elseif format == 2 then
    if open.units + cost <= limit then return 0 end
    if cost > limit then return -1 end
    return open.start + window - open.now
  end
  local over = open.debt / open.unit + cost - burst
  if over <= EPSILON then return 0 end
  if cost > burst then return -1 end
  return ms(open, over)
end

local function slot(at, window) return math.floor(at * 16 / window) end

local function add(open, limit, window, cost)
  if format == 1 then
    local last = open.records[#open.records]
    if last and (last[1] == open.now or (limit > 16 and slot(last[1], window) == slot(open.now, window))) then
      last[1], last[2] = open.now, last[2] + cost
    else
      open.records[#open.records + 1] = { open.now, cost }
    end
    open.units = open.units + cost
  elseif format == 2 then
    open.units = open.units + cost
  else
    open.debt = open.debt + cost * open.unit
  end
end

local function giveBack(open, limit, window, cost, at)
  if format == 1 then
    local kept, left = {}, cost
    for _, record in ipairs(open.records) do
      local time = record[1]
      if not at or time == at or (limit > 16 and time > at and slot(time, window) == slot(at, window)) then
        local taken = math.min(left, record[2])
        left, record[2] = left - taken, record[2] - taken
      end
      if record[2] > 0 then kept[#kept + 1] = record end
    end
    open.records, open.units = kept, open.units - (cost - left)
  elseif format == 2 then
    if not at or at >= open.start then open.units = math.max(0, open.units - cost) end
  else
    open.debt = math.max(0, open.debt - cost * open.unit)
  end
end

local function pack(window, open)
  if format == 1 then
    local records = open.records
    if #records == 0 then return '', 0 end
    local newest, parts = records[#records][1], {}
    for index, record in ipairs(records) do parts[index] = struct.pack('<I4I4', newest - record[1], record[2]) end
    return struct.pack('<I4BI6', window, #records, newest) .. table.concat(parts), newest + window + 1
  elseif format == 2 then
    if open.units == 0 then return '', 0 end
    return struct.pack('<I4I6I4', window, open.start, open.units), open.start + window
  end
  if open.debt <= 0 then return '', 0 end
  return struct.pack('<I4dd', window, open.at, open.debt), math.ceil((open.at + open.debt) / 1000)
end

local function outcome(open, limit, window, burst, cost)
  local remaining, reset, nextUnit
  if format == 1 then
    local records = open.records
    remaining = limit - open.units
    reset = #records == 0 and 0 or records[#records][1] + window + 1 - open.now
    nextUnit = #records == 0 and window or records[1][1] + window + 1 - open.now
  elseif format == 2 then
    remaining = limit - open.units
    reset = open.units == 0 and 0 or open.start + window - open.now
    nextUnit = open.units == 0 and window or reset
  else
    local used = open.debt / open.unit
    remaining = math.floor(burst - used + EPSILON)
    reset = used > EPSILON and ms(open, used) or 0
    nextUnit = used > EPSILON and ms(open, used - math.ceil(used - EPSILON) + 1) or window
  end
  return struct.pack('<dddd', math.max(0, remaining), reset, retry(open, limit, window, burst, cost), nextUnit)
end

if op == 'b' then banned = now + forMs end
local rates, allowed = {}, banned > now and 0 or 1
for index = first, #ARGV, 3 do
  local limit, window, burst = tonumber(ARGV[index]), tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
  local opened = open(limit, window)
  if op == 'r' then giveBack(opened, limit, window, cost, hitAt) end
  rates[#rates + 1] = { opened, limit, window, burst }
  if retry(opened, limit, window, burst, cost) ~= 0 then allowed = 0 end
end

local changed = op == 'r' or op == 'b'
local rest = cost
if op == 'h' and allowed == 1 then
  for _, rate in ipairs(rates) do
    if cost > 0 then add(rate[1], rate[2], rate[3], cost) end
  end
  changed, rest = true, 0
elseif op == 'h' and after > 0 and banned <= now then
  if since + forMs <= now then refusals, since = 0, now end
  refusals, changed = refusals + 1, true
  if refusals >= after then banned, refusals, since = now + forMs, 0, 0 end
end

if changed then
  for _, rate in ipairs(rates) do
    if not sections[rate[3]] then order[#order + 1] = rate[3] end
    sections[rate[3]] = rate[1]
  end
  local parts, last = {}, 0
  for _, window in ipairs(order) do
    local section = sections[window]
    if not section.now and not section.at then
      if format == 1 then
        section = { records = section }
      elseif format == 2 then
        section = { start = section[1], units = section[2] }
      else
        section = { at = section[1], debt = section[2] }
      end
    end
    local bytes, ends = pack(window, section)
    if ends > now then
      parts[#parts + 1] = bytes
      last = math.max(last, ends)
    end
  end
  local ban, flag = '', 0
  if banned > now or refusals > 0 then
    ban, flag = struct.pack('<I6I4I6', banned, refusals, since), 1
    last = math.max(last, banned, refusals > 0 and since + forMs or 0)
  end
  if last > now then
    redis.call('SET', KEYS[1], string.char(format, flag) .. ban .. table.concat(parts), 'PX', string.format('%.0f', last - now))
  else
    redis.call('DEL', KEYS[1])
  end
end

local reply = { struct.pack('<ddd', allowed, now, banned > now and banned or 0) }
for index, rate in ipairs(rates) do reply[index + 1] = outcome(rate[1], rate[2], rate[3], rate[4], rest) end
return table.concat(reply)
