-- Extends a lease that its token still holds.
-- KEYS  1 lease
-- ARGV  1 token  2 lease in ms
-- Returns 1 extended | 0 lost
-- include: lease
if not holdsLease(KEYS[1], ARGV[1]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
