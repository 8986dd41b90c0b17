-- Ends every session of a subject at once: sessions of another epoch are not loaded, and a sign-in under way sees the
-- time. One session may be spared, if it is valid now.
-- KEYS[1] record, KEYS[2] index, as in admit
-- ARGV[1] new epoch; ARGV[2] how long a record is kept, in ms; ARGV[3] handle to spare, or empty; ARGV[4] its epoch
-- Returns how many sessions of the index were ended
-- Flags: allow-oom
-- include: head
local now = time_now()
local record = redis.call('GET', KEYS[1])
local count = redis.call('ZCARD', KEYS[2])
local spared, score = '', false
if ARGV[3] ~= '' and record then
  local is_valid = string.sub(record, 1, 22) == ARGV[4] or string.sub(record, 39) == ARGV[3] .. ARGV[4]
  score = is_valid and redis.call('ZSCORE', KEYS[2], ARGV[3])
  if score then spared, count = ARGV[3] .. ARGV[4], count - 1 end
end
local keep = string.format('%.0f', math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[1])))
redis.call('SET', KEYS[1], ARGV[1] .. string.format('%016.0f', now) .. spared, 'PX', keep)
redis.call('UNLINK', KEYS[2])
if score then
  redis.call('ZADD', KEYS[2], score, ARGV[3])
  redis.call('PEXPIRE', KEYS[2], keep)
end
return count
