-- Raises a stamp of a group to a new point of the clock, never lowers it. An absent group stays absent: no entry that
-- carries it is valid, and whoever creates it later does so with a clock that is not behind this invalidation.
-- KEYS  1 group
-- ARGV  1 stamp  2 'hard' or 'soft'
-- Returns the stamps before, or false where the group was absent
local before = redis.call('GET', KEYS[1])
if not before then return false end
local space = string.find(before, ' ', 1, true)
local hard = space and string.sub(before, 1, space - 1) or before
local soft = space and string.sub(before, space + 1) or nil
local new = tonumber(ARGV[1])
if ARGV[2] == 'hard' then
  if new > (tonumber(hard) or 0) then hard = ARGV[1] end
elseif new > (tonumber(soft) or 0) then
  soft = ARGV[1]
end
redis.call('SET', KEYS[1], soft and (hard .. ' ' .. soft) or hard, 'KEEPTTL')
return before
