-- The logical clock of a prefix, '<incarnation> <microseconds> <server>'. It is made by its first use, with the random
-- number of that call. A server with another name than the one noted was promoted or restarted and may have lost the
-- last advances: the clock jumps by an hour, once, so that what was stamped with them stays below what follows.
local JUMP = 3600000000

-- Reads the clock; with a floor (0 or a stamp that was met) advances it beyond both. Returns incarnation and time.
local function clock(key, nonce, server, floor)
  local value = redis.call('GET', key) or ''
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local incarnation, at, noted = string.match(value, '^(%d+) (%d+) (.*)$')
  if not incarnation then
    incarnation, at, noted = nonce, now, server
  elseif server ~= '' and server ~= noted then
    if noted ~= '' then at = at + JUMP end
    noted = server
  end
  if floor then at = math.max(at + 1, now, floor + 1) end
  at = string.format('%.0f', at)
  local new = incarnation .. ' ' .. at .. ' ' .. noted
  if new ~= value then redis.call('SET', key, new) end
  return incarnation, at
end
