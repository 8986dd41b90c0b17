// Made by scripts/embed-lua.mjs from lua/*.lua; do not edit.
import type { Script } from '../redis/command.js'

const clock = `local JUMP = 3600000000
local function clock(key, nonce, server, floor)
  local value = redis.call('GET', key) or ''
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local incarnation, at, noted, previous = string.match(value, '^(%d+) (%d+) (%S*) ?(%S*)$')
  if not incarnation then
    incarnation, at, noted, previous = nonce, now, server, ''
  elseif server ~= '' and server ~= noted and server ~= previous then
    if noted ~= '' then at = at + JUMP end
    noted, previous = server, noted
  end
  if floor then at = math.max(at + 1, now, floor + 1) end
  at = string.format('%.0f', at)
  local new = incarnation .. ' ' .. at .. ' ' .. noted .. ' ' .. previous
  if new ~= value then redis.call('SET', key, new) end
  return incarnation, at
end
`

const life = `local function save(key, value, life)
  if life == '0' then redis.call('SET', key, value) else redis.call('SET', key, value, 'PX', life) end
end
local function extend(key, life)
  local left = redis.call('PTTL', key)
  if left < 0 then return end
  if life == '0' then
    redis.call('PERSIST', key)
  elseif left * 2 < tonumber(life) then
    redis.call('PEXPIRE', key, life)
  end
end
`

const groupStamp = `local function groupStamp(value, incarnation)
  if not value then return nil end
  local own, hard, soft = string.match(value, '^(%d+) (%d+) (%d+)$')
  if own ~= incarnation then return nil end
  return tonumber(hard), tonumber(soft)
end
local function bump(key, incarnation, at, mode)
  local before = redis.call('GET', key)
  local hard, soft = groupStamp(before, incarnation)
  if not hard then
    if before then redis.call('DEL', key) end
    return false
  end
  if tonumber(at) > math.max(hard, soft) then
    local new = mode == 'hard' and {at, string.format('%.0f', soft)} or {string.format('%.0f', hard), at}
    redis.call('SET', key, incarnation .. ' ' .. new[1] .. ' ' .. new[2], 'KEEPTTL')
  end
  return before
end
`

const group = `local function ensureGroup(key, incarnation, at, life)
  local hard = groupStamp(redis.call('GET', key), incarnation)
  if not hard then
    save(key, incarnation .. ' ' .. at .. ' 0', life)
    return tonumber(at)
  end
  extend(key, life)
  return hard
end
`

const lease = `local function endLease(key, channel, name)
  local lease = redis.call('GET', key)
  if not lease then return end
  redis.call('DEL', key)
  if string.sub(lease, 2, 2) == '1' then redis.call('PUBLISH', channel, name) end
end
local function holdsLease(key, token)
  local lease = redis.call('GET', key)
  return lease and lease ~= 'n' and string.sub(lease, 3) == token
end
`

export const scripts = {
  acquire: {
    name: 'acquire',
    keyCount: 2,
    sha1: 'df34ec6802b916f3c83b4b817bc8079579986cef',
    source: clock + life + groupStamp + group + `local lease = redis.call('GET', KEYS[2])
if lease then
  if string.sub(lease, 1, 1) ~= 'f' then return {3} end
  if string.sub(lease, 2, 2) == '0' then redis.call('SETRANGE', KEYS[2], 1, '1') end
  return {0, redis.call('PTTL', KEYS[2])}
end
if ARGV[3] ~= '*' then
  local found = redis.pcall('GETRANGE', KEYS[1], 0, 39)
  local readable = type(found) == 'string' and string.byte(found, 1) == 2
  if (readable and string.sub(found, 9, 40) or '') ~= ARGV[3] then return {2} end
end
redis.call('SET', KEYS[2], 'f0' .. ARGV[1], 'PX', ARGV[2])
if not KEYS[3] then return {1, false} end
local incarnation, at = clock(KEYS[3], ARGV[4], ARGV[5])
for index = 4, #KEYS do ensureGroup(KEYS[index], incarnation, at, ARGV[6]) end
return {1, incarnation .. ' ' .. at}`,
  },
  addVariant: {
    name: 'addVariant',
    keyCount: 1,
    sha1: '8bd6cad2173182af3eafb5bf496db969d559124c',
    source: `local key = KEYS[1]
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
if last == 'inf' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, string.format('%.0f', last - ARGV[3])) end
return evicted`,
  },
  bump: {
    name: 'bump',
    keyCount: 1,
    sha1: 'bd770354f440ff341bb94940c896fc2bf42f40a1',
    source: `#!lua flags=allow-oom
` + groupStamp + `return bump(KEYS[1], ARGV[1], ARGV[2], ARGV[3])`,
  },
  clock: {
    name: 'clock',
    keyCount: 1,
    sha1: '1cc83c82f5ff37cd0666551be69d5ed485281e9e',
    source: `#!lua flags=allow-oom
` + clock + `local incarnation, at = clock(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]))
return incarnation .. ' ' .. at`,
  },
  commit: {
    name: 'commit',
    keyCount: 3,
    sha1: '7434d7e7bb66c96fa2c755b75a923c59ee2989ea',
    source: life + groupStamp + lease + `local before = bump(KEYS[3], ARGV[1], ARGV[3], 'hard')
local hard, soft = groupStamp(before, ARGV[1])
local untouched = hard and math.max(hard, soft) <= tonumber(ARGV[2])
if untouched and ARGV[4] ~= '' then
  save(KEYS[1], ARGV[4], ARGV[5])
else
  local kind = ARGV[6] == '1' and redis.pcall('GETRANGE', KEYS[1], 1, 1)
  if type(kind) ~= 'string' or string.byte(kind, 1) ~= 2 then redis.call('UNLINK', KEYS[1]) end
end
endLease(KEYS[2], ARGV[7], ARGV[8])
return {untouched and 1 or 0, before}`,
  },
  ensure: {
    name: 'ensure',
    keyCount: 1,
    sha1: 'f915a4c9008bf86920da0926cc41bbdd8257a166',
    source: clock + life + groupStamp + group + `local incarnation, at = clock(KEYS[1], ARGV[1], ARGV[2])
for index = 2, #KEYS do ensureGroup(KEYS[index], incarnation, at, ARGV[3]) end
return incarnation .. ' ' .. at`,
  },
  evict: {
    name: 'evict',
    keyCount: 3,
    sha1: '991e7463f59f4a78105e6334cce80507b0379c2e',
    source: `#!lua flags=allow-oom
` + clock + groupStamp + lease + `local mode, incarnation, at = ARGV[1], ARGV[4], ARGV[5]
if KEYS[4] then
  local hard, soft = string.match(redis.call('GET', KEYS[3]) or '', '^%d+ (%d+) (%d+)$')
  incarnation, at = clock(KEYS[4], ARGV[4], ARGV[5], math.max(hard or 0, soft or 0))
end
local found
if mode == 'hard' then
  found = redis.call('UNLINK', KEYS[1])
else
  local format = redis.pcall('GETRANGE', KEYS[1], 0, 0)
  found = type(format) == 'string' and string.byte(format, 1) == 2 and 1 or 0
  if found == 1 then redis.call('SETRANGE', KEYS[1], 6, '\\1') end
end
endLease(KEYS[2], ARGV[2], ARGV[3])
return {found, bump(KEYS[3], incarnation, at, mode)}`,
  },
  invalidate: {
    name: 'invalidate',
    keyCount: 1,
    sha1: '659a718ae0b5326747c0e2817ad8c3e0e0fee3a7',
    source: `#!lua flags=allow-oom
` + clock + groupStamp + `local floor = 0
for index = 2, #KEYS do
  local value = redis.call('GET', KEYS[index])
  local hard, soft = string.match(value or '', '^%d+ (%d+) (%d+)$')
  floor = math.max(floor, hard or 0, soft or 0)
end
local incarnation, at = clock(KEYS[1], ARGV[1], ARGV[2], floor)
for index = 2, #KEYS do bump(KEYS[index], incarnation, at, ARGV[3]) end
return incarnation .. ' ' .. at`,
  },
  mark: {
    name: 'mark',
    keyCount: 1,
    sha1: 'daf31c892cf7c9ca8f67f89cd4c0fe2ccf6614f0',
    source: life + `local value = redis.call('GET', KEYS[1])
if value then
  extend(KEYS[1], ARGV[2])
  return value
end
save(KEYS[1], ARGV[1], ARGV[2])
return ARGV[1]`,
  },
  publish: {
    name: 'publish',
    keyCount: 2,
    sha1: '3e0309c3c5f4d42da9ad0430b73bc3b58c6e6408',
    source: clock + life + groupStamp + group + lease + `local token = ARGV[1]
if token ~= '' and not holdsLease(KEYS[2], token) then return 0 end
local stored = 1
if KEYS[3] then
  local incarnation, at = clock(KEYS[3], ARGV[6], ARGV[7])
  for index = 4, #KEYS do
    local hard = ensureGroup(KEYS[index], incarnation, at, ARGV[8])
    if token ~= '' and (incarnation ~= ARGV[9] or hard > tonumber(ARGV[10])) then stored = 0 end
  end
end
if stored == 1 then save(KEYS[1], ARGV[3], ARGV[2]) end
endLease(KEYS[2], ARGV[4], ARGV[5])
return stored`,
  },
  release: {
    name: 'release',
    keyCount: 1,
    sha1: 'e11b22bef04b23a2f57f71f180e123fd410b5ae7',
    source: lease + `if not holdsLease(KEYS[1], ARGV[1]) then return 0 end
endLease(KEYS[1], ARGV[2], ARGV[3])
if ARGV[4] ~= '0' then redis.call('SET', KEYS[1], 'n', 'PX', ARGV[4]) end
return 1`,
  },
  renew: {
    name: 'renew',
    keyCount: 1,
    sha1: '84e9b5ff8e23e7ec189deb26e74fc33a32bda032',
    source: lease + `if not holdsLease(KEYS[1], ARGV[1]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`,
  },
  settle: {
    name: 'settle',
    keyCount: 1,
    sha1: '7a72105ec44e588002e358fb8d57ad821a9dbeb0',
    source: life + `local value = redis.call('GET', KEYS[1])
if value ~= ARGV[1] then return value end
save(KEYS[1], ARGV[2], ARGV[3])
return ARGV[2]`,
  },
  wake: {
    name: 'wake',
    keyCount: 1,
    sha1: 'de2e8e906db878928fbd4e3a9fc69ea5aaca9bb2',
    source: lease + `if not holdsLease(KEYS[1], ARGV[1]) then return 0 end
if string.sub(redis.call('GET', KEYS[1]), 2, 2) == '1' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
redis.call('SETRANGE', KEYS[1], 0, 's0')
return 1`,
  },
} as const satisfies Record<string, Script>
