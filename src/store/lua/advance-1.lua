-- Advances the logical clock: max(old + 1, server time in microseconds).
-- KEYS  1 clock
-- Returns the new clock, as text
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local clock = tonumber(redis.call('GET', KEYS[1]) or 0)
local new = string.format('%.0f', math.max(clock + 1, now))
redis.call('SET', KEYS[1], new)
return new
