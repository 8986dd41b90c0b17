import { expect, test } from 'vitest'
import { factsOf, unboundedWarning, warningsAbout } from '../../src/redis/server.js'
import { createRedis } from '../../src/create-redis.js'
import { routesOf } from '../../src/adapters/declarations.js'
import { recordingLogger } from '../support/logger.js'
import { open, ownServer } from './open.js'

function facts(lines: Record<string, string>) {
  const defaults = { redis_version: '7.0.15', run_id: 'r', master_replid: 'm', role: 'master', maxmemory: '0' }
  const all = { ...defaults, maxmemory_policy: 'noeviction', ...lines }
  return factsOf(
    Object.entries(all)
      .map(([name, value]) => `${name}:${value}`)
      .join('\r\n'),
  )
}

test.each([
  ['6.2.14', true],
  ['5.0.7', true],
  ['7.0.15', false],
  ['7.2.4', false],
  ['8.0.2', false],
  ['', false],
])('version %j is too old: %s', (version, warned) => {
  expect(warningsAbout(facts({ redis_version: version })).length > 0).toBe(warned)
})

test('noeviction hurts where the memory has a limit, and only there', () => {
  expect(warningsAbout(facts({ maxmemory: '1000' }))).toEqual([expect.stringMatching(/noeviction/)])
  expect(warningsAbout(facts({}))).toEqual([])
  expect(warningsAbout(facts({ maxmemory: '1000', maxmemory_policy: 'allkeys-lru' }))).toEqual([])
})

test.each([
  ['0', 'noeviction', true],
  ['0', 'allkeys-lru', true],
  ['1000', 'volatile-lru', true],
  ['1000', 'noeviction', true],
  ['1000', 'allkeys-lru', false],
  ['1000', 'allkeys-random', false],
  ['1000', '', false],
])('maxmemory %s with %s: an unbounded entry is warned of: %s', (maxmemory, policy, warned) => {
  expect(unboundedWarning(facts({ maxmemory, maxmemory_policy: policy })) !== undefined).toBe(warned)
})

test('INFO of a real server is read: nothing to say of a sound one, once of one that hurts', async () => {
  const sound = await ownServer({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'] })
  const quiet = open({ url: sound.url, commandTimeout: '5s' })
  await quiet.connection.connect()
  expect(quiet.lines).toEqual([])
  expect(quiet.connection.lives).toEqual([expect.stringMatching(/^[0-9a-f]{40}-[0-9a-f]{40}$/)])
  const hurting = await ownServer({ args: ['--maxmemory', '100mb', '--maxmemory-policy', 'noeviction'] })
  const { connection, lines } = open({ url: hurting.url, commandTimeout: '5s' })
  await connection.connect()
  await hurting.restart()
  await expect.poll(() => connection.status).toBe('ready')
  expect(lines.filter((line) => line.includes('noeviction'))).toHaveLength(1)
})

test.each([
  [true, 1],
  [false, 0],
])(
  'warnUnboundedCache: %s says %d times that a first unbounded entry stays for ever',
  async (warnUnboundedCache, times) => {
    const server = await ownServer()
    const logger = recordingLogger()
    await using redis = createRedis({ url: server.url, logger, warnUnboundedCache, commandTimeout: '5s' })
    await redis.connect()
    await redis.cache.set('bounded', 1, { ttl: 60 })
    expect(logger.lines).toEqual([])
    for (const key of ['a', 'b', 'c']) await redis.cache.set(key, 1, { ttl: 0 })
    expect(logger.lines.filter((line) => line.includes('will never evict'))).toHaveLength(times)
  },
)

test('a route that keeps its entries for ever is warned of when the server is reached, before any is stored', async () => {
  const server = await ownServer()
  const logger = recordingLogger()
  await using redis = createRedis({ url: server.url, logger, commandTimeout: '5s' })
  const traits = { path: {}, refreshes: false, stripsHead: true }
  routesOf(redis).cache('GET /', { where: 'cache', options: { ttl: '1m' } }, traits)
  await redis.connect()
  expect(logger.lines).toEqual([])
  routesOf(redis).cache('GET /', { where: 'cache', options: { ttl: { 200: 60, 404: 0 } } }, traits)
  expect(logger.lines.filter((line) => line.includes('will never evict'))).toHaveLength(1)
})
