-- The stamp of a group, '<incarnation> <hard> <soft>', or a mark, '?<nonce>'. A mark, a stamp of another incarnation
-- and an absent key are the same: the group is missing, and no entry that carries it is valid.
local function groupStamp(value, incarnation)
  if not value then return nil end
  local own, hard, soft = string.match(value, '^(%d+) (%d+) (%d+)$')
  if own ~= incarnation then return nil end
  return tonumber(hard), tonumber(soft)
end

-- Raises the hard or the soft stamp of a group above both. A missing group stays missing: it is created later with a
-- clock that is not behind this invalidation, and what could be settled to an earlier clock is removed. Returns what
-- stood there; where that is not older than the new stamp, nothing has changed and the caller needs a newer one.
local function bump(key, incarnation, at, mode)
  local before = redis.call('GET', key)
  local hard, soft = groupStamp(before, incarnation)
  if not hard then
    if before then redis.call('DEL', key) end
    return false
  end
  if tonumber(at) > math.max(hard, soft) then
    local new = mode == 'hard' and {at, string.format('%.0f', soft)} or {string.format('%.0f', hard), at}
    redis.call('SET', key, incarnation .. ' ' .. new[1] .. ' ' .. new[2], 'KEEPTTL')
  end
  return before
end
