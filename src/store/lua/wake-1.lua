-- Wakes those who wait for a lease, which is kept: from now on requests run without it.
-- KEYS  1 lease
-- ARGV  1 token  2 wake channel  3 key as the wake-up names it
-- Returns 1 woken | 0 lost
-- include: lease
if not holdsLease(KEYS[1], ARGV[1]) then return 0 end
if string.sub(redis.call('GET', KEYS[1]), 2, 2) == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
redis.call('SETRANGE', KEYS[1], 0, 's0')
return 1
