import type { Script } from '../redis/command.js'

export const scripts = {
  advance: {
    name: 'advance',
    keyCount: 1,
    sha1: 'e57e15684c1904b39dd859703921d01458c45f1e',
    source: `local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local clock = tonumber(redis.call('GET', KEYS[1]) or 0)
local new = string.format('%.0f', math.max(clock + 1, now))
redis.call('SET', KEYS[1], new)
return new`,
  },
  announce: {
    name: 'announce',
    keyCount: 2,
    sha1: '9253f30b36e49031ab708f971cb353ed7ab12913',
    source: `local lease = redis.call('GET', KEYS[2]) or 'f0'
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
return clock`,
  },
  claim: {
    name: 'claim',
    keyCount: 2,
    sha1: 'c8172e96b6a309d4fc61839874bb30b09b4e2fcc',
    source: `local lease = redis.call('GET', KEYS[2])
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
return {1, clock}`,
  },
  clock: {
    name: 'clock',
    keyCount: 1,
    sha1: '9cf59fb248adf4cf9458f2f7968a0f9098972da5',
    source: `local clock = redis.call('GET', KEYS[1])
if clock then return clock end
local time = redis.call('TIME')
clock = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('SET', KEYS[1], clock)
return clock`,
  },
  complete: {
    name: 'complete',
    keyCount: 2,
    sha1: '624f15e3456bdefa21aa8e080cbefd27826d1b47',
    source: `local lease = redis.call('GET', KEYS[2]) or 'f0'
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
return 0`,
  },
  enrol: {
    name: 'enrol',
    keyCount: 1,
    sha1: 'cb1b52b77d82836bb18142c554c1d178300c18b7',
    source: `local key = KEYS[1]
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
if last == 'inf' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, string.format('%.0f', last - ARGV[3])) end
return gone`,
  },
  evict: {
    name: 'evict',
    keyCount: 2,
    sha1: '344b4b28845064246b8cecb7e848155e0c10978d',
    source: `local lease = redis.call('GET', KEYS[2])
local kind = lease and string.sub(lease, 1, 1)
if kind == 'f' then
  redis.call('DEL', KEYS[2])
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
elseif kind == 'w' then
  redis.call('SET', KEYS[2], 'x' .. string.sub(lease, 2, 2) .. '1', 'KEEPTTL')
end
return redis.call('UNLINK', KEYS[1])`,
  },
  group: {
    name: 'group',
    keyCount: 1,
    sha1: '89fb2b286411db2cb8cf825adfceaed9efaebd53',
    source: `local stamps = redis.call('GET', KEYS[1])
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
return stamps`,
  },
  publish: {
    name: 'publish',
    keyCount: 2,
    sha1: 'd464b327e17fc138c49f3d032a147c133597ab6d',
    source: `local lease = redis.call('GET', KEYS[2])
if not lease or string.sub(lease, 1, 1) ~= 'f' or string.sub(lease, 3) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[3]) else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
redis.call('DEL', KEYS[2])
if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 1`,
  },
  raise: {
    name: 'raise',
    keyCount: 1,
    sha1: '7d4a946064656bcc865807b55f49a8300d826f3d',
    source: `local before = redis.call('GET', KEYS[1])
if not before then return false end
local space = string.find(before, ' ', 1, true)
local hard = space and string.sub(before, 1, space - 1) or before
local soft = space and string.sub(before, space + 1) or nil
local new = tonumber(ARGV[1])
if ARGV[2] == 'hard' then
  if new > (tonumber(hard) or 0) then hard = ARGV[1] end
elseif new > (tonumber(soft) or 0) then
  soft = ARGV[1]
end
redis.call('SET', KEYS[1], soft and (hard .. ' ' .. soft) or hard, 'KEEPTTL')
return before`,
  },
  release: {
    name: 'release',
    keyCount: 1,
    sha1: '13b8315ddd67e5e6a404c4e636038e955edaaab4',
    source: `local lease = redis.call('GET', KEYS[1])
if not lease or string.sub(lease, 1, 1) ~= 'f' or string.sub(lease, 3) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1`,
  },
  renew: {
    name: 'renew',
    keyCount: 1,
    sha1: 'a2f11d25f712ceb738c1ec8831c277fb440c1e21',
    source: `local lease = redis.call('GET', KEYS[1])
if not lease then return 0 end
if string.sub(lease, 1, 1) ~= 'x' and string.sub(lease, 3) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`,
  },
  set: {
    name: 'set',
    keyCount: 2,
    sha1: 'bd8f8c3eeb32d2a39c3dac48ca89178e0ac5e740',
    source: `local lease = redis.call('GET', KEYS[2])
local kind = lease and string.sub(lease, 1, 1)
if kind == 'w' or kind == 'x' then
  redis.call('DEL', KEYS[1])
  if kind == 'w' then redis.call('SET', KEYS[2], 'x' .. string.sub(lease, 2, 2) .. '1', 'KEEPTTL') end
  return 0
end
if ARGV[1] == '0' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1]) end
if lease then
  redis.call('DEL', KEYS[2])
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
end
return 1`,
  },
  soften: {
    name: 'soften',
    keyCount: 2,
    sha1: 'cb8f6283aea430fa557f9b00336398c04639dbf1',
    source: `local lease = redis.call('GET', KEYS[2])
if lease and string.sub(lease, 1, 1) == 'f' then
  redis.call('DEL', KEYS[2])
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
end
local format = redis.pcall('GETRANGE', KEYS[1], 0, 0)
if type(format) ~= 'string' or string.byte(format, 1) ~= 1 then return 0 end
redis.call('SETRANGE', KEYS[1], 24, ARGV[1])
return 1`,
  },
} as const satisfies Record<string, Script>
