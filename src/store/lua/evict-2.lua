-- Removes an entry and fences what is on its way to it: a fill loses its lease, an active writer will not store.
-- KEYS  1 entry  2 lease
-- ARGV  1 wake channel  2 key as the wake-up names it
-- Returns how many entries there were, 0 or 1
local lease = redis.call('GET', KEYS[2])
local kind = lease and string.sub(lease, 1, 1)
if kind == 'f' then
  redis.call('DEL', KEYS[2])
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
elseif kind == 'w' then
  redis.call('SET', KEYS[2], 'x' .. string.sub(lease, 2, 2) .. '1', 'KEEPTTL')
end
return redis.call('UNLINK', KEYS[1])
