-- One server: creates groups that are missing, and reads the clock.
-- KEYS  1 clock  [groups]
-- ARGV  1 random number  2 name of the server  3 life of the groups in ms, 0 for no end
-- Returns '<incarnation> <at>'
-- include: clock group
local incarnation, at = clock(KEYS[1], ARGV[1], ARGV[2])
for index = 2, #KEYS do ensureGroup(KEYS[index], incarnation, at, ARGV[3]) end
return incarnation .. ' ' .. at
