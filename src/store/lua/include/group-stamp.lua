-- The stamp of a group, '<incarnation> <hard> <soft>', or a mark, '?<nonce>'. A mark, a stamp of another incarnation
-- and an absent key are the same: the group is missing, and no entry that carries it is valid.
local function groupStamp(value, incarnation)
  if not value then return nil end
  local own, hard, soft = string.match(value, '^(%d+) (%d+) (%d+)$')
  if own ~= incarnation then return nil end
  return tonumber(hard), tonumber(soft)
end

-- Writes the key of a group and leaves what stands there: near caches are told of writes below the prefix of groups, and
-- of nothing else.
local function touch(key)
  local value = redis.call('GET', key)
  if value then
    redis.call('SET', key, value, 'KEEPTTL')
  else
    redis.call('SET', key, '')
    redis.call('DEL', key)
  end
end

-- Raises the hard or the soft stamp of a group above both. A missing group stays missing: it is created later with a
-- clock that is not behind this invalidation, and what could be settled to an earlier clock is removed. Returns what
-- stood there; where that is not older than the new stamp, nothing has changed and the caller needs a newer one.
local function bump(key, incarnation, at, mode)
  local before = redis.call('GET', key)
  local hard, soft = groupStamp(before, incarnation)
  if not hard then
    if before then redis.call('DEL', key) else touch(key) end
    return false
  end
  if tonumber(at) > math.max(hard, soft) then
    local new = mode == 'hard' and {at, string.format('%.0f', soft)} or {string.format('%.0f', hard), at}
    redis.call('SET', key, incarnation .. ' ' .. new[1] .. ' ' .. new[2], 'KEEPTTL')
  end
  return before
end
