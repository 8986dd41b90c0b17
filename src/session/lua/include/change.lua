-- ARGV from an index on: a count of properties, their names and values, and the names of properties to remove.
local function change(key, first)
  local last = first + tonumber(ARGV[first]) * 2
  for index = first + 1, last, 1000 do
    redis.call('HSET', key, unpack(ARGV, index, math.min(index + 999, last)))
  end
  for index = last + 1, #ARGV, 1000 do
    redis.call('HDEL', key, unpack(ARGV, index, math.min(index + 999, #ARGV)))
  end
end
