-- Reads the logical clock; a lost one is set to the server's time, which is never behind what it was.
-- KEYS  1 clock
-- Returns the clock in microseconds, as text (a Lua number would lose its last digits)
local clock = redis.call('GET', KEYS[1])
if clock then return clock end
local time = redis.call('TIME')
clock = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('SET', KEYS[1], clock)
return clock
