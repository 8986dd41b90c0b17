-- The field '' of a session: digest of the id (43 bytes), epoch (22), owner (16), times in microseconds (16 digits each:
-- created, issued, deadline, seen), idle clock in ms (12 digits), descriptor. A key without it is no session: a mark.
local HEAD_BYTES = 157

local function time_now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function head_time(head, index)
  return tonumber(string.sub(head, 82 + index * 16, 97 + index * 16))
end

-- How much of the idle time may pass before a visit restarts the clock: until then a load writes nothing, so nothing is
-- replicated. The key lives that much longer, and never beyond the absolute deadline. IDLE_PARTS of session-store.ts.
local function slack(idle)
  return idle * 1000 / 60
end

local function expire(key, deadline, now, idle)
  redis.call('PEXPIREAT', key, math.floor(math.min(now + idle * 1000 + slack(idle), deadline) / 1000))
end

local function seen(now, idle)
  return string.format('%016.0f%012.0f', now, idle)
end

-- Restarts the idle clock where that is due.
local function restart(key, head, now, idle)
  if idle == 0 then return end
  if now - head_time(head, 3) < slack(idle) and tonumber(string.sub(head, 146, 157)) == idle then return end
  -- A server that is full refuses it; the session is used all the same.
  redis.pcall('HSET', key, '', string.sub(head, 1, 129) .. seen(now, idle) .. string.sub(head, 158))
  expire(key, head_time(head, 2), now, idle)
end
