-- Ends a session. Where none is there yet, a mark of a minute lets its creation fail.
-- KEYS[1] session
-- ARGV[1] digest of the only id that may end it, or empty; ARGV[2] life of the mark in ms
-- Returns 1, or 0: there was none
-- Flags: allow-oom
local head = redis.call('HGET', KEYS[1], '')
if ARGV[1] ~= '' and (not head or string.sub(head, 1, 43) ~= ARGV[1]) then return 0 end
if head and #head > 1 then return redis.call('UNLINK', KEYS[1]) end
redis.call('HSET', KEYS[1], '', '-')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0
