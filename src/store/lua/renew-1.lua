-- Prolongs a lease: a fill's or a writer's by its token, or one that several writers share.
-- KEYS  1 lease
-- ARGV  1 token  2 lease in ms
-- Returns 1 prolonged | 0 lost
local lease = redis.call('GET', KEYS[1])
if not lease then return 0 end
if string.sub(lease, 1, 1) ~= 'x' and string.sub(lease, 3) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
