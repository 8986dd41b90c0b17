-- Lifetimes are in ms; '0' is no end.
local function save(key, value, life)
  if life == '0' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', life) end
end

-- Only below half of the wanted life, so that a group that is used all the time is rarely written.
local function extend(key, life)
  local left = redis.call('PTTL', key)
  if left < 0 then return end
  if life == '0' then
    redis.call('PERSIST', key)
  elseif left * 2 < tonumber(life) then
    redis.call('PEXPIRE', key, life)
  end
end
