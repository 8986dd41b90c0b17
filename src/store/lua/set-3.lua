-- Stores a value that is as new as the call, and ends the lease of its key.
-- KEYS  1 entry  2 lease  3 group of the path
-- ARGV  1 life in ms, 0 for no end  2 entry bytes  3 wake channel  4 key as the wake-up names it
-- Returns 1
-- include: life group-stamp lease
save(KEYS[1], ARGV[2], ARGV[1])
endLease(KEYS[2], ARGV[3], ARGV[4])
touch(KEYS[3])
return 1
