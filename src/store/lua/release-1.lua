-- Gives up a fill's lease without storing, and wakes those who wait.
-- KEYS  1 lease
-- ARGV  1 token  2 wake channel  3 key as the wake-up names it
-- Returns 1 released | 0 it was not ours
local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 1, 1) ~= 'f' or string.sub(lease, 3) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
