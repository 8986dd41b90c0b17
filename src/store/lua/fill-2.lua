-- Ends a fill: stores its entry where its token still holds the lease and no group is newer than the entry.
-- KEYS  1 entry  2 lease  [groups]
-- ARGV  1 token  2 life in ms, 0 for no end  3 entry bytes  4 incarnation  5 stamp  6 life of the groups in ms, 0 for no end
--       7 wake channel  8 key as the wake-up names it
-- Returns 1 stored | 0 fenced | -1 nothing has changed: a group has no stamp of this incarnation, which `publish` gives it
local lease = redis.call('GET', KEYS[2])
if not lease or string.sub(lease, 3) ~= ARGV[1] then return 0 end
local stored = 1
for index = 3, #KEYS do
  local incarnation, hard = string.match(redis.call('GET', KEYS[index]) or '', '^(%d+) (%d+) %d+$')
  if incarnation ~= ARGV[4] then return -1 end
  if tonumber(hard) > tonumber(ARGV[5]) then stored = 0 end
  -- Only below half of the wanted life, as in `extend`.
  local left = redis.call('PTTL', KEYS[index])
  if left >= 0 and (ARGV[6] == '0' or left * 2 < tonumber(ARGV[6])) then
    if ARGV[6] == '0' then redis.call('PERSIST', KEYS[index]) else redis.call('PEXPIRE', KEYS[index], ARGV[6]) end
  end
end
if stored == 1 then
  if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[3]) else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
end
redis.call('DEL', KEYS[2])
if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[7], ARGV[8]) end
return stored
