-- Enters a session into the index of its subject. A subject without a record gets one.
-- KEYS[1] record: epoch (22), time of the last revocation in microseconds (16 digits), handle and epoch of the session
-- that it spared (44, or none); KEYS[2] index: handles by absolute deadline in microseconds, because milliseconds tie
-- ARGV[1] handle; ARGV[2] its life in ms; ARGV[3] how long a record is kept, in ms; ARGV[4] epoch of a new record;
-- ARGV[5] most sessions, 0: no limit
-- Returns record, time, whether the session is new to the index; where there are too many, handles and deadlines, the
-- oldest first
-- include: head
local now = time_now()
local record = redis.call('GET', KEYS[1])
if record then
  redis.call('PEXPIRE', KEYS[1], ARGV[3], 'GT')
else
  record = ARGV[4] .. '0000000000000000'
  redis.call('SET', KEYS[1], record, 'PX', ARGV[3])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local added = redis.call('ZADD', KEYS[2], now + ARGV[2] * 1000, ARGV[1])
-- An index that is new has no expiry, which counts as later than any.
if redis.call('PEXPIRE', KEYS[2], ARGV[3], 'GT') == 0 then redis.call('PEXPIRE', KEYS[2], ARGV[3], 'NX') end
local reply = { record, now, added }
local most = tonumber(ARGV[5])
if most > 0 and redis.call('ZCARD', KEYS[2]) > most then
  for index, part in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')) do reply[3 + index] = part end
end
return reply
