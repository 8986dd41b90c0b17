-- Stores a fill while its token still holds the lease, gives the lease up, and wakes those who wait.
-- KEYS  1 entry  2 lease
-- ARGV  1 token  2 life in ms, 0 for no end  3 entry bytes  4 wake channel  5 key as the wake-up names it
-- Returns 1 stored | 0 fenced
local lease = redis.call('GET', KEYS[2])
if not lease or string.sub(lease, 1, 1) ~= 'f' or string.sub(lease, 3) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[3]) else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
redis.call('DEL', KEYS[2])
if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 1
