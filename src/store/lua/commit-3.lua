-- Ends a write-through at its path: invalidates the group of the path and fences a fill of the plain entry. The plain
-- entry is stored only if the path was not invalidated since the write began; otherwise it is removed.
-- KEYS  1 plain entry  2 its lease  3 group of the path
-- ARGV  1 incarnation  2 stamp of the beginning  3 stamp of the end  4 entry bytes, '' to store none  5 life in ms, 0 for no
--       end  6 '1' to keep a record of variants  7 wake channel  8 key as the wake-up names it
-- Returns {1 untouched | 0 invalidated meanwhile, what stood in the group, false where it was missing}
-- include: life group-stamp lease
local before = bump(KEYS[3], ARGV[1], ARGV[3], 'hard')
local hard, soft = groupStamp(before, ARGV[1])
local untouched = hard and math.max(hard, soft) <= tonumber(ARGV[2])
if untouched and ARGV[4] ~= '' then
  save(KEYS[1], ARGV[4], ARGV[5])
else
  local kind = ARGV[6] == '1' and redis.pcall('GETRANGE', KEYS[1], 1, 1)
  if type(kind) ~= 'string' or string.byte(kind, 1) ~= 2 then redis.call('UNLINK', KEYS[1]) end
end
endLease(KEYS[2], ARGV[7], ARGV[8])
return {untouched and 1 or 0, before}
