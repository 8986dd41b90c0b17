-- One server: ends a write-through at one new point of the clock. Invalidates the group of its path and the groups that it
-- names, fences fills of the path, and stores its entry unless one of the entry's groups was invalidated since the write
-- began. What was stored at the path goes, but for a record of variants.
-- KEYS  1 clock  2 group of the path  3 plain entry of the path  4 its lease  5 entry  6 its lease: 3 and 4 for a plain one
--       [groups to invalidate  groups of the entry]
-- ARGV  1 random number  2 name of the server  3 'hard' or 'soft'  4 how many groups to invalidate  5 incarnation at the
--       beginning  6 stamp of the beginning  7 entry bytes, '' to store none  8 life in ms, 0 for no end  9 wake channel
--       10 path as the wake-up names it  11 key as the wake-up names it
-- Returns 1 stored | 0
-- include: clock life group-stamp lease
local last, begun = 6 + ARGV[4], tonumber(ARGV[6])
-- The newest stamp of a group, and whether it was there and has not been invalidated since the write began.
local function look(key)
  local incarnation, hard, soft = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (%d+)$')
  local newest = math.max(hard or 0, soft or 0)
  return newest, incarnation == ARGV[5] and newest <= begun
end
local floor, storable = look(KEYS[2])
for index = 7, last do floor = math.max(floor, (look(KEYS[index]))) end
for index = last + 1, #KEYS do
  local _, untouched = look(KEYS[index])
  storable = storable and untouched
end
local incarnation, at = clock(KEYS[1], ARGV[1], ARGV[2], floor)
storable = storable and incarnation == ARGV[5] and ARGV[7] ~= ''
bump(KEYS[2], incarnation, at, 'hard')
for index = 7, last do bump(KEYS[index], incarnation, at, ARGV[3]) end
local isPlain = KEYS[5] == KEYS[3]
if not (storable and isPlain) then
  local kind = not isPlain and redis.pcall('GETRANGE', KEYS[3], 1, 1)
  if type(kind) ~= 'string' or string.byte(kind, 1) ~= 2 then redis.call('UNLINK', KEYS[3]) end
end
if storable then
  -- Its write stamp (src/store/entry.ts) is this point of the clock.
  save(KEYS[5], string.sub(ARGV[7], 1, 32) .. struct.pack('<d', at) .. string.sub(ARGV[7], 41), ARGV[8])
elseif not isPlain then
  redis.call('UNLINK', KEYS[5])
end
endLease(KEYS[4], ARGV[9], ARGV[10])
if not isPlain then endLease(KEYS[6], ARGV[9], ARGV[11]) end
return storable and 1 or 0
