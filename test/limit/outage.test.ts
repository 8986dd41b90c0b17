import type { RedisClientType } from '@redis/client'
import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { createRedis, type Redis, type RedisOptions } from '../../src/index.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'

async function opened(options: RedisOptions = {}): Promise<{ server: RedisServer; redis: Redis }> {
  const server = await startRedis()
  onTestFinished(() => server.close())
  const redis = createRedis({ url: server.url, prefix: `test:${randomUUID()}`, logger: silentLogger, ...options })
  onTestFinished(() => redis.close())
  await redis.connect()
  return { server, redis }
}

function command(redis: Redis, ...args: string[]): Promise<unknown> {
  return (redis.client as RedisClientType).sendCommand(args)
}

/** Resolves when the handle has that status. */
function until(redis: Redis, wanted: Redis['status']): Promise<void> {
  if (redis.status === wanted) return Promise.resolve()
  return new Promise((resolve) => {
    const stop = redis.onStatus((status) => {
      if (status !== wanted) return
      stop()
      resolve()
    })
  })
}

test('while Redis hangs a call waits for one deadline, then for none, and is counted here; when it is back it counts again', async () => {
  const { server, redis } = await opened()
  const limiter = redis.rateLimiter('calls', { rate: '3/hour' })
  expect((await limiter.hit('ann')).source).toBe('redis')
  server.pause()
  onTestFinished(() => server.resume())
  const verdicts = []
  for (let call = 0; call < 5; call += 1) verdicts.push(await limiter.hit('ann'))
  expect(verdicts.map(({ allowed, source }) => [allowed, source])).toEqual([
    [true, 'local'],
    [true, 'local'],
    [true, 'local'],
    [false, 'local'],
    [false, 'local'],
  ])
  server.resume()
  await until(redis, 'ready')
  // The server may have run what was sent to it while it hung, so only the source is certain.
  expect((await limiter.peek('ann')).source).toBe('redis')
})

test('a server that is full counts in this process', async () => {
  const { redis } = await opened()
  const limiter = redis.rateLimiter('calls', { rate: '2/hour' })
  await command(redis, 'CONFIG', 'SET', 'maxmemory', '1')
  const verdicts = [await limiter.hit('ann'), await limiter.hit('ann'), await limiter.hit('ann')]
  expect(verdicts.map(({ allowed, source }) => [allowed, source])).toEqual([
    [true, 'local'],
    [true, 'local'],
    [false, 'local'],
  ])
})

test('scripts that were flushed are sent again', async () => {
  const { redis } = await opened()
  const limiter = redis.rateLimiter('calls', { rate: '2/hour' })
  await limiter.hit('ann')
  await command(redis, 'SCRIPT', 'FLUSH')
  expect(await limiter.hit('ann')).toMatchObject({ allowed: true, source: 'redis', remaining: 0 })
})

test('a flood of refusals reaches Redis once', async () => {
  const { redis } = await opened()
  const limiter = redis.rateLimiter('calls', { rate: '1/hour' })
  await limiter.hit('ann')
  await limiter.hit('ann')
  await command(redis, 'CONFIG', 'RESETSTAT')
  for (let call = 0; call < 100_000; call += 1) await limiter.hit('ann')
  const stats = String(await command(redis, 'INFO', 'commandstats'))
  expect(stats).not.toMatch(/cmdstat_evalsha/)
})

test('a refusal that another process lifts is over here, too', async () => {
  const { server, redis } = await opened()
  const prefix = redis.settings.prefix
  const other = createRedis({ url: server.url, prefix, logger: silentLogger })
  onTestFinished(() => other.close())
  await other.connect()
  const [here, there] = [redis, other].map((handle) => handle.rateLimiter('calls', { rate: '1/hour' }))
  await here?.hit('ann')
  expect((await here?.hit('ann'))?.allowed).toBe(false)
  // The subscription opens with the first refusal that is remembered.
  await expect.poll(async () => String(await command(redis, 'PUBSUB', 'NUMSUB', `${prefix}:limit`))).toContain(',1')
  await there?.reset('ann')
  await expect.poll(async () => (await here?.hit('ann'))?.source).toBe('redis')
})

test('the embedded store limits as Redis does', async () => {
  const redis = createRedis({ url: 'memory:', logger: silentLogger })
  const limiter = redis.rateLimiter('calls', { rate: '1/hour' })
  expect([(await limiter.hit(1)).allowed, (await limiter.hit(1)).allowed]).toEqual([true, false])
  expect(redis.rateLimiter('calls', { rate: '1/hour' })).toBe(limiter)
  expect(redis.cache.stats().rateLimits).toEqual({ calls: { allowed: 1, limited: 1 } })
  await redis.close()
})

test('settings: the limit of the application, its fields, and failing closed', () => {
  const settingsOf = (settings: RedisOptions) => {
    const redis = createRedis({ url: 'memory:', ...settings })
    void redis.close()
    return redis.settings.rateLimit
  }
  expect(settingsOf({})).toEqual({ rate: undefined, failClosed: false, headers: 'draft' })
  expect(
    settingsOf({
      rateLimitDefaultLimit: 5,
      rateLimitDefaultWindow: '2m',
      rateLimitFailClosed: true,
      rateLimitIetfHeaders: false,
    }),
  ).toEqual({ rate: { limit: 5, windowMs: 120_000 }, failClosed: true, headers: 'legacy' })
  expect(settingsOf({ rateLimitEmitHeaders: false }).headers).toBe('none')
  expect(() => createRedis({ url: 'memory:', rateLimitDefaultLimit: -1 })).toThrow(/rateLimitDefaultLimit/)
})
