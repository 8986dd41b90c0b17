import { expect, onTestFinished, test } from 'vitest'
import { redisCli } from '../support/redis-cluster.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { ServerClock } from '../../src/redis/server.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { Connection } from '../../src/redis/connection.js'
import { silentLogger } from '../support/logger.js'
import { open, ownServer, refusal, until } from './open.js'

const HOUR_MS = 3_600_000

test('a primary that is demoted while the connection lives is noticed, and not read any more', async () => {
  const [old, promoted] = await Promise.all([ownServer(), ownServer()])
  const { connection, lines } = open({ url: old.url, commandTimeout: '5s', socketTimeout: '300ms' })
  await connection.connect()
  await connection.execute(['SET', 'a', 'old'], 'a')
  await redisCli('-p', String(old.port), 'REPLICAOF', '127.0.0.1', String(promoted.port))
  await until(connection, 'degraded')
  expect((await refusal(connection.execute(['GET', 'a'], 'a'))).message).toMatch(
    /it is a replica, which rejects writes/,
  )
  expect(lines.at(-1)).toMatch(/it is a replica/)
  expect(connection.counters.connected).toBeGreaterThan(1)
  const lives = connection.lives.length
  await redisCli('-p', String(old.port), 'REPLICAOF', 'NO', 'ONE')
  await until(connection, 'ready')
  expect(connection.lives.length).toBe(lives + 1)
})

test('a primary that was demoted and promoted between two checks is another life', async () => {
  const [server, other] = await Promise.all([ownServer(), ownServer()])
  const { connection, statuses } = open({ url: server.url, commandTimeout: '5s', socketTimeout: '900ms' })
  await connection.connect()
  const { generation } = connection
  const life = connection.serverOf('a')
  expect(life).toMatch(/^[0-9a-f]{40}-[0-9a-f]{40}$/)
  await redisCli('-p', String(server.port), 'REPLICAOF', '127.0.0.1', String(other.port))
  await redisCli('-p', String(server.port), 'REPLICAOF', 'NO', 'ONE')
  await expect.poll(() => connection.generation).toBe(generation + 1)
  await until(connection, 'ready')
  expect(statuses.at(-1)).toBe('ready')
  expect(connection.serverOf('a')).not.toBe(life)
  expect(connection.serverOf('a').slice(0, 40)).toBe(life.slice(0, 40))
})

test.each([
  ['an hour ahead', HOUR_MS],
  ['an hour behind', -HOUR_MS],
])('a process whose clock is %s knows the time of Redis', async (_, aheadMs) => {
  const server = await ownServer()
  const now = (): number => Date.now() + aheadMs
  const settings = resolveSettings({ url: server.url, commandTimeout: '5s' }, {})
  const connection = new Connection(settings, silentLogger, { now })
  onTestFinished(() => connection.close())
  expect(connection.clockOffsetMs).toBe(0)
  await connection.connect()
  // Measured by the handshake, before any command was answered.
  expect(connection.clockOffsetMs).not.toBe(0)
  expect(Math.abs(now() + connection.clockOffsetMs - Date.now())).toBeLessThan(HOUR_MS / 60)
})

test('a process an hour ahead and one on time find the entries of each other fresh', async () => {
  const server = await ownServer()
  const real = Date.now
  const settings = { url: server.url, commandTimeout: '5s', logger: silentLogger } as const
  await using onTime = createRedis(settings)
  let ahead: Redis
  try {
    Date.now = () => real() + HOUR_MS
    ahead = createRedis(settings)
  } finally {
    Date.now = real
  }
  onTestFinished(() => ahead.close())
  await Promise.all([onTime.connect(), ahead.connect()])
  await onTime.cache.set('a', 1, { ttl: 60 })
  await ahead.cache.set('b', 2, { ttl: 60 })
  expect(await ahead.cache.get('a')).toBe(1)
  expect(await onTime.cache.get('b')).toBe(2)
})

test('the offset is that of the shortest round trip, and half of that is its error', () => {
  const clock = new ServerClock()
  expect(clock.offsetMs).toBeUndefined()
  clock.measure(1000, 500, 100, 0)
  expect(clock.offsetMs).toBe(450)
  clock.measure(2000, 1505, 10, 1000)
  expect(clock.offsetMs).toBe(490)
  // A reply that this process read late says less.
  clock.measure(3000, 2200, 600, 2000)
  expect(clock.offsetMs).toBe(490)
})

test('a clock that was set is measured anew, and an old measurement is replaced at last', () => {
  const clock = new ServerClock()
  clock.measure(1000, 1000, 2, 0)
  clock.measure(61_000, 1000, 40, 1000)
  expect(clock.offsetMs).toBe(59_980)
  clock.measure(61_030, 1000, 42, 100_000)
  expect(clock.offsetMs).toBe(60_009)
  clock.measure(Number.NaN, 1000, 0, 100_000)
  expect(clock.offsetMs).toBe(60_009)
})
