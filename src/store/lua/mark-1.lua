-- Cluster: puts a mark where a group has no stamp, so that its creator can tell whether it was invalidated before it is
-- settled; extends the life of one that has a stamp.
-- KEYS  1 group
-- ARGV  1 mark  2 life in ms, 0 for no end
-- Returns what stands there now: a stamp, this mark or another one
-- include: life
local value = redis.call('GET', KEYS[1])
if value then
  extend(KEYS[1], ARGV[2])
  return value
end
save(KEYS[1], ARGV[1], ARGV[2])
return ARGV[1]
