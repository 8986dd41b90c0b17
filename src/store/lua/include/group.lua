-- include: life group-stamp
-- Creates a missing group at this point of the clock, and extends the life of one that has less than half of it left.
local function ensureGroup(key, incarnation, at, life)
  local hard = groupStamp(redis.call('GET', key), incarnation)
  if not hard then
    save(key, incarnation .. ' ' .. at .. ' 0', life)
    return tonumber(at)
  end
  extend(key, life)
  return hard
end
