-- One server: advances the clock beyond the stamps of all groups, and invalidates them.
-- KEYS  1 clock  [groups]
-- ARGV  1 random number  2 name of the server  3 'hard' or 'soft'
-- Returns '<incarnation> <at>'
-- Flags: allow-oom
-- include: clock group-stamp
local floor = 0
for index = 2, #KEYS do
  local value = redis.call('GET', KEYS[index])
  local hard, soft = string.match(value or '', '^%d+ (%d+) (%d+)$')
  floor = math.max(floor, hard or 0, soft or 0)
end
local incarnation, at = clock(KEYS[1], ARGV[1], ARGV[2], floor)
for index = 2, #KEYS do bump(KEYS[index], incarnation, at, ARGV[3]) end
return incarnation .. ' ' .. at
