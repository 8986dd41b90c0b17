-- Reads a session and restarts its idle clock where that is due. The id is compared before anything is touched.
-- KEYS[1] session; KEYS[2] record of its subject, where it is on the same node and the session has one
-- ARGV[1] digest of the id; ARGV[2] idle clock in ms, 0: not restarted
-- Returns nil: there is no such session; 1: its id was replaced less than a minute ago; or fields and values, then the
-- time in microseconds
-- include: head subject
local all = redis.call('HGETALL', KEYS[1])
local head
for index = 1, #all, 2 do
  if all[index] == '' then
    head = all[index + 1]
    break
  end
end
if not head or #head < HEAD_BYTES then return false end
local now = time_now()
if string.sub(head, 1, 43) ~= ARGV[1] then
  local issued = head_time(head, 1)
  return issued > head_time(head, 0) and now - issued < 60000000 and 1
end
if is_revoked(KEYS[2], KEYS[1], string.sub(head, 44, 65)) then return false end
restart(KEYS[1], head, now, tonumber(ARGV[2]))
all[#all + 1] = now
return all
