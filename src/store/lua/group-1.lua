-- Reads a group's stamps, prolongs its life, and creates it where asked.
-- KEYS  1 group
-- ARGV  1 stamp to create it with, '' to leave an absent one absent  2 life in ms, 0 for no end
-- Returns the stamps found | 1 created | false absent
local stamps = redis.call('GET', KEYS[1])
if not stamps then
  if ARGV[1] == '' then return false end
  if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
  return 1
end
if ARGV[2] == '0' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT')
end
return stamps
