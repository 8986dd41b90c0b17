-- Adds a variant to the list of a path.
-- KEYS  1 variants of the path, by the end of their life
-- ARGV  1 variant  2 end of its life in ms since the epoch (`+inf`: none)  3 now, in the same  4 most variants
-- Returns the variants that have to make room, removed from the list: those that end first
local key = KEYS[1]
redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[3])
redis.call('ZADD', key, ARGV[2], ARGV[1])
local evicted = {}
local over = redis.call('ZCARD', key) - tonumber(ARGV[4])
if over > 0 then
  for _, variant in ipairs(redis.call('ZRANGE', key, 0, over)) do
    if variant ~= ARGV[1] and #evicted < over then
      evicted[#evicted + 1] = variant
      redis.call('ZREM', key, variant)
    end
  end
end
local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
-- By the clock of the caller, which may differ from the server's.
if last == 'inf' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, string.format('%.0f', last - ARGV[3])) end
return evicted
