-- Makes an entry stale at once (its fresh-until instant becomes the given one) and fences a fill in flight.
-- KEYS  1 entry  2 lease
-- ARGV  1 the instant, 8 bytes as in the entry  2 wake channel  3 key as the wake-up names it
-- Returns 1 there was an entry | 0 there was none
local lease = redis.call('GET', KEYS[2])
if lease and string.sub(lease, 1, 1) == 'f' then
  redis.call('DEL', KEYS[2])
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
end
local format = redis.pcall('GETRANGE', KEYS[1], 0, 0)
if type(format) ~= 'string' or string.byte(format, 1) ~= 1 then return 0 end
redis.call('SETRANGE', KEYS[1], 24, ARGV[1])
return 1
