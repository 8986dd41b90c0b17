-- Adds what a process has counted since its last report to a bucket of the history.
-- KEYS  1 bucket, a hash of counts by field
-- ARGV  1 life of the bucket in ms  2… field, count
-- Returns 1
for index = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[index], ARGV[index + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
