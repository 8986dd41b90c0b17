-- What a list of devices shows of a session.
-- KEYS[1] session
-- Returns nil, or the head without the digest, and the expiry in ms
local head = redis.call('HGET', KEYS[1], '')
if not head or #head < 2 then return false end
return { string.sub(head, 82), redis.call('PEXPIRETIME', KEYS[1]) }
