-- Reads or advances the clock.
-- KEYS  1 clock
-- ARGV  1 random number  2 name of the server  3 '' to read | the stamp to advance beyond, 0 for none
-- Returns '<incarnation> <at>'
-- Flags: allow-oom
-- include: clock
local incarnation, at = clock(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]))
return incarnation .. ' ' .. at
