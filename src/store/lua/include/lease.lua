-- The lease of a key, 'f<1: others wait><token>', or the note 'n' that its last response could not be stored.
local function endLease(key, channel, name)
  local lease = redis.call('GET', key)
  if not lease then return end
  redis.call('DEL', key)
  if string.sub(lease, 1, 2) == 'f1' then redis.call('PUBLISH', channel, name) end
end

local function holdsLease(key, token)
  local lease = redis.call('GET', key)
  return lease and string.sub(lease, 1, 1) == 'f' and string.sub(lease, 3) == token
end
