-- Ends a lease that its token still holds; the note that the response could not be stored may take its place.
-- KEYS  1 lease
-- ARGV  1 token  2 wake channel  3 key as the wake-up names it  4 life of the note in ms, 0 for none
-- Returns 1 ended | 0 lost
-- include: lease
if not holdsLease(KEYS[1], ARGV[1]) then return 0 end
endLease(KEYS[1], ARGV[2], ARGV[3])
if ARGV[4] ~= '0' then redis.call('SET', KEYS[1], 'n', 'PX', ARGV[4]) end
return 1
