-- What a list of devices shows of a session.
-- KEYS[1] session
-- Returns nil, or the head from its times on, the expiry in ms, and the epoch of the subject that it is bound to
local head = redis.call('HGET', KEYS[1], '')
if not head or #head < 2 then return false end
return { string.sub(head, 82), redis.call('PEXPIRETIME', KEYS[1]), string.sub(head, 44, 65) }
