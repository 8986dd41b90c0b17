-- Gives a session another id, and the owner and epoch that go with it, in place.
-- KEYS[1] session; where they are on the same node: KEYS[2] record of the subject that it had, KEYS[3] of the subject
-- that it gets; KEYS[1] again where there is none
-- ARGV[1] digest and ARGV[2] owner that were read; ARGV[3] new digest; ARGV[4] new epoch and owner; ARGV[5] idle clock in
-- ms; ARGV[6] descriptor; ARGV[7…] change
-- Returns the epoch that the session had, and microseconds until the absolute deadline; 0: the session has ended; 2: it
-- has moved; 3: the subject that it gets has another epoch by now
-- include: head change subject
local function rotate()
  local head = redis.call('HGET', KEYS[1], '')
  if not head or #head < HEAD_BYTES then return 0 end
  if string.sub(head, 66, 81) ~= ARGV[2] or string.sub(head, 1, 43) ~= ARGV[1] then return 2 end
  local had = string.sub(head, 44, 65)
  if is_revoked(KEYS[2], KEYS[1], had) then return 0 end
  if is_revoked(KEYS[3], KEYS[1], string.sub(ARGV[4], 1, 22)) then return 3 end
  local now = time_now()
  local idle = tonumber(ARGV[5])
  local deadline = head_time(head, 2)
  local issued = string.format('%016.0f', now)
  local times = string.sub(head, 82, 97) .. issued .. string.sub(head, 114, 129) .. seen(now, idle)
  redis.call('HSET', KEYS[1], '', ARGV[3] .. ARGV[4] .. times .. ARGV[6])
  change(KEYS[1], 7)
  expire(KEYS[1], deadline, now, idle)
  return had .. string.format('%.0f', deadline - now)
end
