import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { redisCli } from '../support/redis-cluster.js'
import { atEnd, open, PASSWORD, SENTINEL_PASSWORD, settings, TIMEOUT_MS, trio } from './on-sentinels.js'
import { problemsIn, Traffic } from './traffic.js'

test.each([
  ['killed', 'kill'],
  ['hanging', 'pause'],
] as const)('a master that is %s under load', { timeout: TIMEOUT_MS }, async (_, fault) => {
  const traffic = await Traffic.start(settings(), atEnd)
  await traffic.cached()
  const before = await trio.master()
  await before[fault]()
  atEnd(async () => before.resume())
  await traffic.more(100)
  await expect.poll(async () => (await trio.master()) !== before, { timeout: 20_000 }).toBe(true)
  await traffic.cached()
  if (fault === 'kill') await before.start()
  else before.resume()
  await traffic.more(100)
  expect(problemsIn(await traffic.stop())).toEqual([])
  await trio.settled()
})

test('sentinels may be away as long as the master is there', { timeout: TIMEOUT_MS }, async () => {
  const traffic = await Traffic.start(settings(), atEnd)
  await traffic.cached()
  await Promise.all(trio.sentinels.map((sentinel) => sentinel.kill()))
  await traffic.more(100)
  await traffic.cached()
  await Promise.all(trio.sentinels.map((sentinel) => sentinel.start()))
  await traffic.cached()
  expect(problemsIn(await traffic.stop())).toEqual([])
  await trio.settled()
})

test('started before the sentinels, it finds them by itself', { timeout: TIMEOUT_MS }, async () => {
  await Promise.all(trio.sentinels.map((sentinel) => sentinel.kill()))
  const { redis, lines } = open()
  expect(await redis.cache.getOrSet('a', () => 1, { ttl: 60 })).toBe(1)
  expect(redis.status).toBe('unavailable')
  await expect.poll(() => lines.length).toBe(1)
  await Promise.all(trio.sentinels.map((sentinel) => sentinel.start()))
  await expect.poll(() => redis.status, { timeout: 10_000 }).toBe('ready')
  await trio.settled()
})

test('credentials of the sentinels are not those of the master, in either direction', async () => {
  const swapped = open({
    sentinel: { nodes: trio.nodes, password: PASSWORD },
    password: SENTINEL_PASSWORD,
    connectTimeout: '300ms',
  })
  await expect(swapped.redis.connect()).rejects.toThrow(/not connected/)
  const wrong = open({ password: SENTINEL_PASSWORD, connectTimeout: '300ms' })
  const error: unknown = await wrong.redis.connect().catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'ERR_REDWELL_UNAVAILABLE' })
  const said = inspect([error, swapped.lines, wrong.lines], { depth: 10 })
  expect(said).not.toContain(PASSWORD)
  expect(said).not.toContain(SENTINEL_PASSWORD)
  const { redis } = open()
  await redis.connect()
  // Failed attempts are remembered by the server itself: none with the sentinels' password came from this one.
  const log = await redisCli(
    '--no-auth-warning',
    '-a',
    PASSWORD,
    '-p',
    String((await trio.master()).port),
    'ACL',
    'LOG',
    'RESET',
  )
  expect(log.trim()).toBe('OK')
  expect(redis.status).toBe('ready')
})
