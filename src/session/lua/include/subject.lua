-- The record of a subject: epoch (22 bytes), time of the last revocation in microseconds (16 digits), handle and epoch of
-- the session that it spared (44, or none).

-- Whether every session of the subject has been revoked since this one was bound to it. An absent record counts, so that
-- an eviction signs nobody in. No key, or that of the session: there is no subject, or it is on another node.
local function is_revoked(subject_key, session_key, epoch)
  if not subject_key or subject_key == session_key then return false end
  local record = redis.call('GET', subject_key)
  if not record then return true end
  return string.sub(record, 1, 22) ~= epoch and string.sub(record, 39) ~= string.sub(session_key, -22) .. epoch
end
