-- Evicts a path: its plain entry goes, or becomes stale in place; a fill in flight is fenced; then its group is
-- invalidated, which covers all variants. One server: the clock is advanced beyond the group's stamp.
-- KEYS  1 entry  2 lease  3 group of the path  [4 clock]
-- ARGV  1 'hard' or 'soft'  2 wake channel  3 key as the wake-up names it  4 incarnation, or a random number for the clock
--       5 stamp, or the name of the server for the clock
-- Returns {1 there was an entry | 0, what stood in the group, false where it was missing}
-- Flags: allow-oom
-- include: clock group-stamp lease
local mode, incarnation, at = ARGV[1], ARGV[4], ARGV[5]
if KEYS[4] then
  local hard, soft = string.match(redis.call('GET', KEYS[3]) or '', '^%d+ (%d+) (%d+)$')
  incarnation, at = clock(KEYS[4], ARGV[4], ARGV[5], math.max(hard or 0, soft or 0))
end
local found
if mode == 'hard' then
  found = redis.call('UNLINK', KEYS[1])
else
  local format = redis.pcall('GETRANGE', KEYS[1], 0, 0)
  found = type(format) == 'string' and string.byte(format, 1) == 2 and 1 or 0
  if found == 1 then redis.call('SETRANGE', KEYS[1], 6, '\1') end
end
endLease(KEYS[2], ARGV[2], ARGV[3])
return {found, bump(KEYS[3], incarnation, at, mode)}
