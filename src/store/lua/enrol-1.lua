-- Notes a variant of a path, and names those that have to make room for it.
-- KEYS  1 list of the path's variants, by the end of their life
-- ARGV  1 variant  2 end of its life in ms since the epoch (`+inf`: none)  3 now, in the same  4 most variants
-- Returns the variants that are to go, those that would end first
local key = KEYS[1]
redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[3])
redis.call('ZADD', key, ARGV[2], ARGV[1])
local gone = {}
local over = redis.call('ZCARD', key) - tonumber(ARGV[4])
if over > 0 then
  for _, variant in ipairs(redis.call('ZRANGE', key, 0, over)) do
    if variant ~= ARGV[1] and #gone < over then
      gone[#gone + 1] = variant
      redis.call('ZREM', key, variant)
    end
  end
end
local last = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
-- The caller's clock counts, not the server's: they may differ.
if last == 'inf' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, string.format('%.0f', last - ARGV[3])) end
return gone
