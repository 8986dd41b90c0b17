-- Takes the lease of a key for a fill, unless somebody holds it or the entry is not the one the caller saw.
-- KEYS  1 entry  2 lease  [3 clock, where one server holds every slot]
-- ARGV  1 token  2 lease in ms  3 bytes 8-23 of the entry seen, '' for none, '*' for any
-- Returns {1, clock or false} granted | {0, ms left} held, and marked as waited for | {2} changed
local lease = redis.call('GET', KEYS[2])
if lease then
  if string.sub(lease, 2, 2) == '0' then redis.call('SETRANGE', KEYS[2], 1, '1') end
  return {0, redis.call('PTTL', KEYS[2])}
end
if ARGV[3] ~= '*' then
  local found = redis.pcall('GETRANGE', KEYS[1], 0, 23)
  local readable = type(found) == 'string' and string.byte(found, 1) == 1
  if (readable and string.sub(found, 9, 24) or '') ~= ARGV[3] then return {2} end
end
redis.call('SET', KEYS[2], 'f0' .. ARGV[1], 'PX', ARGV[2])
if not KEYS[3] then return {1, false} end
local clock = redis.call('GET', KEYS[3])
if not clock then
  local time = redis.call('TIME')
  clock = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[3], clock)
end
return {1, clock}
