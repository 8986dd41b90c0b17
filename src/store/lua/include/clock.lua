-- The logical clock of a prefix, '<incarnation> <microseconds> <server> <server before that>'. It is made by its first
-- use, with the random number of that call. A server with a new name was promoted or restarted and may have lost the last
-- advances: the clock jumps by an hour, so that what was stamped with them stays below what follows. Processes learn a
-- name within a second of each other, so those that still have the name before that do not make it jump back and forth.
local JUMP = 3600000000

-- Reads the clock; with a floor (0 or a stamp that was met) advances it beyond both. Returns incarnation and time.
local function clock(key, nonce, server, floor)
  local value = redis.call('GET', key) or ''
  local incarnation, at, noted, previous = string.match(value, '^(%d+) (%d+) (%S*) ?(%S*)$')
  -- Nearly every reading: there is nothing to change.
  if incarnation and not floor and (server == '' or server == noted or server == previous) then return incarnation, at end
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  if not incarnation then
    incarnation, at, noted, previous = nonce, now, server, ''
  elseif server ~= '' and server ~= noted and server ~= previous then
    if noted ~= '' then at = at + JUMP end
    noted, previous = server, noted
  end
  if floor then at = math.max(at + 1, now, floor + 1) end
  at = string.format('%.0f', at)
  local new = incarnation .. ' ' .. at .. ' ' .. noted .. ' ' .. previous
  if new ~= value then redis.call('SET', key, new) end
  return incarnation, at
end
