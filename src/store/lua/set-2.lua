-- Stores a value as the truth of now: a fill in flight loses its lease. While a writer is active neither may win:
-- the entry goes and the writer will not store.
-- KEYS  1 entry  2 lease
-- ARGV  1 life in ms, 0 for no end  2 entry bytes  3 wake channel  4 key as the wake-up names it
-- Returns 1 stored | 0 contested
local lease = redis.call('GET', KEYS[2])
local kind = lease and string.sub(lease, 1, 1)
if kind == 'w' or kind == 'x' then
  redis.call('DEL', KEYS[1])
  if kind == 'w' then redis.call('SET', KEYS[2], 'x' .. string.sub(lease, 2, 2) .. '1', 'KEEPTTL') end
  return 0
end
if ARGV[1] == '0' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1]) end
if lease then
  redis.call('DEL', KEYS[2])
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
end
return 1
