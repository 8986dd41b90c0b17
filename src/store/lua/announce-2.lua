-- A writer begins: any fill's lease goes, and the entry unless it is to stay until the writer ends; while writers are
-- active no fill is granted. A second writer makes the lease contested ('x' and the count of writers), after which none
-- of them stores.
-- KEYS  1 entry  2 lease  [3 clock, where one server holds every slot]
-- ARGV  1 token  2 lease in ms  3 '1' to let the entry stay
-- Returns the clock, or false
local lease = redis.call('GET', KEYS[2]) or 'f0'
local kind, waited = string.sub(lease, 1, 1), string.sub(lease, 2, 2)
local new = 'w' .. waited .. ARGV[1]
if kind == 'w' then new = 'x' .. waited .. '2' end
if kind == 'x' then new = 'x' .. waited .. ((tonumber(string.sub(lease, 3)) or 1) + 1) end
if ARGV[3] ~= '1' then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[2], new, 'PX', ARGV[2])
if not KEYS[3] then return false end
local clock = redis.call('GET', KEYS[3])
if not clock then
  local time = redis.call('TIME')
  clock = string.format('%.0f', time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[3], clock)
end
return clock
