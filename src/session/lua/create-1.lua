-- Makes a session, unless its handle was ended before it was there.
-- KEYS[1] session; KEYS[2] record of its subject, where it is on the same node; KEYS[1] again where it has none
-- ARGV[1] digest; ARGV[2] epoch and owner; ARGV[3] absolute clock in ms; ARGV[4] idle clock in ms; ARGV[5] descriptor;
-- ARGV[6…] change
-- Returns 1; 0: it was ended; 3: its subject has another epoch by now
-- include: head change subject
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if is_revoked(KEYS[2], KEYS[1], string.sub(ARGV[2], 1, 22)) then return 3 end
local now = time_now()
local deadline = now + tonumber(ARGV[3]) * 1000
local idle = tonumber(ARGV[4])
local times = string.format('%016.0f%016.0f%016.0f', now, now, deadline)
redis.call('HSET', KEYS[1], '', ARGV[1] .. ARGV[2] .. times .. seen(now, idle) .. ARGV[5])
change(KEYS[1], 6)
expire(KEYS[1], deadline, now, idle)
return 1
