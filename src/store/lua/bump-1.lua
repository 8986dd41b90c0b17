-- Invalidates a group at a given point of the clock.
-- KEYS  1 group
-- ARGV  1 incarnation  2 stamp  3 'hard' or 'soft'
-- Returns what stood there, false where the group was missing
-- Flags: allow-oom
-- include: group-stamp
return bump(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
