-- The lease of a key, 'f<1: others wait><token>'; 's' in place of 'f' while a stream is read slowly, so that no
-- request waits for it. Or the note 'n' that its last response could not be stored.
local function endLease(key, channel, name)
  local lease = redis.call('GET', key)
  if not lease then return end
  redis.call('DEL', key)
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', channel, name) end
end

local function holdsLease(key, token)
  local lease = redis.call('GET', key)
  return lease and lease ~= 'n' and string.sub(lease, 3) == token
end
