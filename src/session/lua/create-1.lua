-- Makes a session, unless its handle was ended before it was there.
-- KEYS[1] session
-- ARGV[1] digest; ARGV[2] epoch and owner; ARGV[3] absolute clock in ms; ARGV[4] idle clock in ms; ARGV[5] descriptor;
-- ARGV[6…] change
-- Returns 1, or 0: it was ended
-- include: head change
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local now = time_now()
local deadline = now + tonumber(ARGV[3]) * 1000
local idle = tonumber(ARGV[4])
local times = string.format('%016.0f%016.0f%016.0f', now, now, deadline)
redis.call('HSET', KEYS[1], '', ARGV[1] .. ARGV[2] .. times .. seen(now, idle) .. ARGV[5])
change(KEYS[1], 6)
expire(KEYS[1], deadline, now, idle)
return 1
