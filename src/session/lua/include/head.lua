-- The field '' of a session: digest of the id (32 bytes), epoch (22), owner (16), times in microseconds (16 digits each:
-- created, issued, deadline, seen), idle clock in ms (12 digits), descriptor. A key without it is no session: a mark.
local HEAD_BYTES = 146

local function time_now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function head_time(head, index)
  return tonumber(string.sub(head, 71 + index * 16, 86 + index * 16))
end

-- Restarts the idle clock; the key expires with the nearer clock. Where that is the absolute one, or the idle time is
-- another than before, the time of the last visit does not follow from the expiry, so it is written down.
local function restart(key, head, now, idle)
  local ends = now + idle * 1000
  local deadline = head_time(head, 2)
  if ends >= deadline or tonumber(string.sub(head, 135, 146)) ~= idle then
    local seen = string.format('%016.0f%012.0f', now, idle)
    -- A server that is full refuses it; the session is used all the same.
    redis.pcall('HSET', key, '', string.sub(head, 1, 118) .. seen .. string.sub(head, 147))
  end
  redis.call('PEXPIREAT', key, string.format('%.0f', math.floor(math.min(ends, deadline) / 1000)))
end
