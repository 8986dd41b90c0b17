-- Takes the lease of a key for a fill, unless it is held or the entry is not the one that the lookup saw. One server: also
-- creates absent groups and reads the clock.
-- KEYS  1 entry  2 lease  [3 clock  groups]
-- ARGV  1 token  2 lease in ms  3 bytes 8-39 of the entry seen, '' for none, '*' for any  4 random number
--       5 name of the server  6 life of the groups in ms, 0 for no end
-- Returns {1, '<incarnation> <at>' or false} granted | {0, ms left} held, and marked as waited for | {2} changed |
--         {3} not to be
--         waited for, because of a note or a stream
-- include: clock group
local lease = redis.call('GET', KEYS[2])
if lease then
  if string.sub(lease, 1, 1) ~= 'f' then return {3} end
  if string.sub(lease, 2, 2) == '0' then redis.call('SETRANGE', KEYS[2], 1, '1') end
  return {0, redis.call('PTTL', KEYS[2])}
end
if ARGV[3] ~= '*' then
  local found = redis.pcall('GETRANGE', KEYS[1], 0, 39)
  local readable = type(found) == 'string' and string.byte(found, 1) == 2
  if (readable and string.sub(found, 9, 40) or '') ~= ARGV[3] then return {2} end
end
redis.call('SET', KEYS[2], 'f0' .. ARGV[1], 'PX', ARGV[2])
if not KEYS[3] then return {1, false} end
local incarnation, at = clock(KEYS[3], ARGV[4], ARGV[5])
for index = 4, #KEYS do ensureGroup(KEYS[index], incarnation, at, ARGV[6]) end
return {1, incarnation .. ' ' .. at}
