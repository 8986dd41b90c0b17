-- A writer ends. It stores only if it was the only writer all the time; in every other case the entry goes, and so
-- does a fill that began in between (its value may be older than this write). One that changed nothing lets both stay.
-- KEYS  1 entry  2 lease
-- ARGV  1 token  2 life in ms, 0 for no end  3 entry bytes, '' to store nothing  4 wake channel  5 key
--       6 '1' where it changed nothing
-- Returns 1 stored | 0 not
local lease = redis.call('GET', KEYS[2]) or 'f0'
local kind, waited = string.sub(lease, 1, 1), string.sub(lease, 2, 2)
if kind == 'w' and string.sub(lease, 3) == ARGV[1] and ARGV[3] ~= '' then
  if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[3]) else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
  redis.call('DEL', KEYS[2])
  if waited == '1' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
  return 1
end
if ARGV[6] == '1' and kind == 'f' then return 0 end
if ARGV[6] ~= '1' then redis.call('DEL', KEYS[1]) end
local others = 0
if kind == 'x' then others = (tonumber(string.sub(lease, 3)) or 1) - 1 end
if kind == 'w' and string.sub(lease, 3) ~= ARGV[1] then others = 1 end
if others > 0 then
  redis.call('SET', KEYS[2], 'x' .. waited .. others, 'KEEPTTL')
else
  redis.call('DEL', KEYS[2])
  if waited == '1' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
end
return 0
