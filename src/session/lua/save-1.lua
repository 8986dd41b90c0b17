-- Writes changed properties of a session that has the same owner as when it was read.
-- KEYS[1] session; KEYS[2] record of its subject, where it is on the same node; KEYS[1] again where it has none
-- ARGV[1] owner; ARGV[2] idle clock in ms, 0: not restarted; ARGV[3…] change
-- Returns the epoch of the session: saved; 0: it has ended; 2: it has another owner
-- include: head change subject
local head = redis.call('HGET', KEYS[1], '')
if not head or #head < HEAD_BYTES then return 0 end
if string.sub(head, 66, 81) ~= ARGV[1] then return 2 end
local epoch = string.sub(head, 44, 65)
if is_revoked(KEYS[2], KEYS[1], epoch) then return 0 end
if ARGV[2] ~= '0' then restart(KEYS[1], head, time_now(), tonumber(ARGV[2])) end
change(KEYS[1], 3)
return epoch
