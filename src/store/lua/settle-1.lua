-- Cluster: gives a group a stamp that was read after its mark (or after its stamp of another incarnation) was seen.
-- KEYS  1 group
-- ARGV  1 what was seen  2 its stamp  3 life in ms, 0 for no end
-- Returns what stands there now; false where the group was invalidated or lost meanwhile
-- include: life
local value = redis.call('GET', KEYS[1])
if value ~= ARGV[1] then return value end
save(KEYS[1], ARGV[2], ARGV[3])
return ARGV[2]
