-- Decides about all rates of one limit together, and charges them where every rate allows. A refusal writes nothing,
-- unless refusals lead to a ban.
-- State: format byte (1 sliding window, 2 fixed window, 3 token bucket), flag byte (1: a ban section follows), then
--   ban        u48 banned until (ms)  u32 refusals  u48 first of them (ms)
--   section    u32 window (ms), then
--     sliding  u8 records  u48 oldest (ms)  u32 units of all  { u32 ms after the oldest  u32 units } oldest first
--     fixed    u48 start (ms)  u32 units
--     bucket   f64 time (us)  f64 us until it is empty
-- KEYS  1 state
-- ARGV  1 operation (h hit, p peek, r refund, b block), format byte, + where the four in brackets follow
--       2 ms after which a hit is over in every window: the longest window + 1, as text, which SET takes as it is
--       [3 cost, without it 1  4 ban after so many refusals, 0: never  5 ban length in ms
--       6 refund: time of the hit in ms, '' for the oldest]  then of each rate: limit, window in ms, of a bucket its burst
-- Returns f64 numbers, little-endian, which are cheaper to make than text: allowed (1 or 0), time in ms, banned until (ms, 0:
--   not), then for each rate: remaining, ms until all is back, ms until the call would be allowed (-1: never), ms until the
--   next unit
-- Looked up once: each use of a global costs as much as a sum.
local call, write, read, floor = redis.call, struct.pack, struct.unpack, math.floor
local head, EPSILON = ARGV[1], 1e-6
local time = redis.call('TIME')
local us = time[1] * 1000000 + time[2]
local now = floor(us / 1000)
local state = call('GET', KEYS[1]) or ''

-- Nearly every call: a hit of one unit, where the state has the sections of just these windows in their order and nothing
-- has run out. Neither closures nor tables, which cost as much as all commands. What follows below does the same for
-- everything.
if head == 'h1' then
  local size, count, pos, late, bytes, reply, known = #state, #ARGV, 3, 0, '\1\0', '', true
  for index = 3, count, 2 do
    local limit, window = tonumber(ARGV[index]), tonumber(ARGV[index + 1])
    local units, at, oldest = 0, now, now
    if size == 0 then
      bytes = bytes .. write('<I4BI6I4I4I4', window, 1, now, 1, 0, 1)
    else
      known = pos + 22 <= size
      if not known then break end
      -- The two bytes before the first section are format and flag.
      local kind, own, records, start
      kind, own, records, oldest, units, start = read('<I2I4BI6I4', state, pos - 2)
      local ends = start + 8 * records
      known = own == window and records > 0 and ends <= size + 1 and (kind == 1 or index > 3)
      if not known then break end
      local after, last = read('<I4I4', state, ends - 8)
      local newest = oldest + after
      if newest > at then at = newest end
      local back = oldest + window + 1 - at
      if units == limit and count == 4 and ends > size and back > 0 then
        return write('<ddddddd', 0, now, 0, 0, newest + window + 1 - at, back, back)
      end
      known = units < limit and back > 0
      if not known then break end
      local joins = newest == at or (limit > 16 and floor(newest * 16 / window) == floor(at * 16 / window))
      if joins and records == 1 then
        oldest = at
        bytes = bytes .. write('<I4BI6I4I4I4', window, 1, at, units + 1, 0, last + 1)
      elseif joins then
        bytes = bytes
          .. write('<I4BI6I4', window, records, oldest, units + 1)
          .. string.sub(state, start, ends - 9)
          .. write('<I4I4', at - oldest, last + 1)
      else
        bytes = bytes
          .. write('<I4BI6I4', window, records + 1, oldest, units + 1)
          .. string.sub(state, start, ends - 1)
          .. write('<I4I4', at - oldest, 1)
      end
      if at - now > late then late = at - now end
      pos = ends
    end
    local left, back = limit - units - 1, oldest + window + 1 - at
    if index == 3 then
      reply = write('<ddddddd', 1, now, 0, left, window + 1, 0, back)
    else
      reply = reply .. write('<dddd', left, window + 1, 0, back)
    end
  end
  if known and (size == 0 or pos > size) then
    call('SET', KEYS[1], bytes, 'PX', late == 0 and ARGV[2] or ARGV[2] + late)
    return reply
  end
elseif head == 'h2' and #ARGV == 4 and (#state == 16 or state == '') then
  local limit, window, start, units = tonumber(ARGV[3]), tonumber(ARGV[4]), now, 0
  local kind, own = 2, window
  if state ~= '' then kind, own, start, units = read('<I2I4I6I4', state) end
  if kind == 2 and own == window then
    local at = math.max(now, start)
    if at >= start + window then start, units = at, 0 end
    local ends = start + window - at
    if units >= limit then return write('<ddddddd', 0, now, 0, 0, ends, ends, ends) end
    call('SET', KEYS[1], write('<I2I4I6I4', 2, window, start, units + 1), 'PX', start + window - now)
    return write('<ddddddd', 1, now, 0, limit - units - 1, ends, 0, ends)
  end
elseif head == 'h3' and #ARGV == 5 and (#state == 22 or state == '') then
  local limit, window, burst = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local kind, own, at, debt, unit = 3, window, us, 0, window * 1000 / limit
  if state ~= '' then kind, own, at, debt = read('<I2I4dd', state) end
  local drained = math.max(us, at)
  debt = math.max(0, debt - (drained - at))
  local ends = math.ceil((drained + debt + unit) / 1000)
  -- What is refused takes the way of everything.
  if kind == 3 and own == window and debt / unit + 1 - burst <= EPSILON and ends > now then
    debt = debt + unit
    local used = debt / unit
    call('SET', KEYS[1], write('<I2I4dd', 3, window, drained, debt), 'PX', ends - now)
    local left = math.max(0, floor(burst - used + EPSILON))
    local nextUnit = math.ceil((used - math.ceil(used - EPSILON) + 1) * unit / 1000 - EPSILON)
    return write('<ddddddd', 1, now, 0, left, math.ceil(used * unit / 1000 - EPSILON), 0, nextUnit)
  end
end

local op, format, cost, after, forMs, hitAt, first = string.sub(head, 1, 1), tonumber(string.sub(head, 2, 2)), 1, 0, 0, nil, 3
if #head == 3 then
  cost, after, forMs, hitAt, first = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), 7
end
-- Arguments of a rate.
local stride = format == 3 and 3 or 2

-- The next most frequent: a hit of sliding windows whose state has the sections of just these windows, in their order.
if op == 'h' and format == 1 and cost > 0 and after == 0 and (state == '' or string.sub(state, 1, 2) == '\1\0') then
  local size, pos, allowed, known, rates = #state, 3, 1, true, {}
  for index = first, #ARGV, 2 do
    local limit, window = tonumber(ARGV[index]), tonumber(ARGV[index + 1])
    local log, from, to, units, at, oldest = nil, 1, 0, 0, now, now
    if size > 0 then
      local own, count = 0, 0
      if pos + 14 <= size then own, count, oldest, units, pos = read('<I4BI6I4', state, pos) end
      to = 2 * count
      if own ~= window or to == 0 or pos + 4 * to > size + 1 then
        known = false
        break
      end
      log = { read(to == 2 and '<I4I4' or '<' .. string.rep('I4', to), state, pos) }
      pos = log[to + 1]
      at = math.max(now, oldest + log[to - 1])
      while from < to and oldest + log[from] + window < at do
        units, from = units - log[from + 1], from + 2
      end
    end
    if units + cost > limit then allowed = 0 end
    rates[#rates + 1] = { log or {}, from, to, units, at, oldest, limit, window }
  end
  if known and (size == 0 or pos == size + 1) then
    local reply, bytes, last = '', '\1\0', 0
    for index = 1, #rates do
      local log, from, to, units, at, oldest, limit, window = unpack(rates[index])
      local reset, retry, nextUnit = 0, 0, window
      if allowed == 1 then
        local newest = from <= to and oldest + log[to - 1] or 0
        local joins = from <= to
          and (newest == at or (limit > 16 and floor(newest * 16 / window) == floor(at * 16 / window)))
        if not joins then
          to = to + 2
          log[to] = 0
        end
        log[to - 1], log[to], units = at - oldest, log[to] + cost, units + cost
        local base = log[from]
        if base > 0 then
          for record = from, to, 2 do log[record] = log[record] - base end
        end
        local size = to - from + 1
        local layout = size == 2 and '<I4BI6I4I4I4' or '<I4BI6I4' .. string.rep('I4', size)
        bytes = bytes .. write(layout, window, size / 2, oldest + base, units, unpack(log, from, to))
        last = math.max(last, at + window + 1)
        reset, nextUnit = window + 1, oldest + base + window + 1 - at
      elseif from <= to then
        reset, nextUnit = oldest + log[to - 1] + window + 1 - at, oldest + log[from] + window + 1 - at
      end
      local over = units + cost - limit
      if allowed == 0 and over > 0 then
        retry = -1
        for record = from, to, 2 do
          over = over - log[record + 1]
          if over <= 0 then
            retry = oldest + log[record] + window + 1 - at
            break
          end
        end
      end
      local left = math.max(0, limit - units)
      if index == 1 then
        reply = write('<ddddddd', allowed, now, 0, left, reset, retry, nextUnit)
      else
        reply = reply .. write('<dddd', left, reset, retry, nextUnit)
      end
    end
    if allowed == 1 then call('SET', KEYS[1], bytes, 'PX', last - now) end
    return reply
  end
end

local banned, refusals, since = 0, 0, 0
local sections, order, pos = {}, {}, 3
if #state >= 2 and string.byte(state, 1) == format then
  if string.byte(state, 2) == 1 then banned, refusals, since, pos = read('<I6I4I6', state, 3) end
  while pos <= #state do
    local window, section
    if format == 1 then
      local count, oldest, _
      window, count, oldest, _, pos = read('<I4BI6I4', state, pos)
      section = {}
      for index = 1, count do
        local passed, units
        passed, units, pos = read('<I4I4', state, pos)
        section[index] = { oldest + passed, units }
      end
    elseif format == 2 then
      local start, units
      window, start, units, pos = read('<I4I6I4', state, pos)
      section = { start, units }
    else
      local at, debt
      window, at, debt, pos = read('<I4dd', state, pos)
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

local function slot(at, window) return floor(at * 16 / window) end

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
    local oldest, newest, units, parts = records[1][1], records[#records][1], 0, {}
    for index, record in ipairs(records) do
      units = units + record[2]
      parts[index] = write('<I4I4', record[1] - oldest, record[2])
    end
    return write('<I4BI6I4', window, #records, oldest, units) .. table.concat(parts), newest + window + 1
  elseif format == 2 then
    if open.units == 0 then return '', 0 end
    return write('<I4I6I4', window, open.start, open.units), open.start + window
  end
  if open.debt <= 0 then return '', 0 end
  return write('<I4dd', window, open.at, open.debt), math.ceil((open.at + open.debt) / 1000)
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
    remaining = floor(burst - used + EPSILON)
    reset = used > EPSILON and ms(open, used) or 0
    nextUnit = used > EPSILON and ms(open, used - math.ceil(used - EPSILON) + 1) or window
  end
  return write('<dddd', math.max(0, remaining), reset, retry(open, limit, window, burst, cost), nextUnit)
end

if op == 'b' then banned = now + forMs end
local rates, allowed = {}, banned > now and 0 or 1
for index = first, #ARGV, stride do
  local limit, window = tonumber(ARGV[index]), tonumber(ARGV[index + 1])
  local burst = format == 3 and tonumber(ARGV[index + 2]) or limit
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
    ban, flag = write('<I6I4I6', banned, refusals, since), 1
    last = math.max(last, banned, refusals > 0 and since + forMs or 0)
  end
  if last > now then
    call('SET', KEYS[1], string.char(format, flag) .. ban .. table.concat(parts), 'PX', string.format('%.0f', last - now))
  else
    call('DEL', KEYS[1])
  end
end

local reply = { write('<ddd', allowed, now, banned > now and banned or 0) }
for index, rate in ipairs(rates) do reply[index + 1] = outcome(rate[1], rate[2], rate[3], rate[4], rest) end
return table.concat(reply)
