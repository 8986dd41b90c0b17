import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Histogram } from '../../src/telemetry/stats.js'
import { Telemetry } from '../../src/telemetry/telemetry.js'
import redwell, { type RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'
import { createRedis } from '../../src/index.js'
import { chaos, type ChaosStore, memoryStores, testClock } from '../../src/testing/index.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

const apps: FastifyInstance[] = []

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.close()))
})

async function serve(options: RedwellFastifyOptions = { url: 'memory:' }): Promise<FastifyInstance> {
  const app = Fastify()
  apps.push(app)
  await app.register(redwell, { logger: silentLogger, ...options })
  app.get(
    '/items/:id',
    { config: { cache: { ttl: '1m', staleWhileRevalidate: '1m', group: 'items' } } },
    async () => 'item',
  )
  app.get('/cookie', { config: { cache: { ttl: '1m' } } }, async (_, reply) =>
    reply.header('set-cookie', 'a=1').send('x'),
  )
  app.put('/items/:id', { config: { cachePut: { ttl: '1m', group: 'items' } } }, async () => 'put')
  app.delete('/items/:id', { config: { cacheEvict: { group: ['items', 'lists'] } } }, async () => 'deleted')
  return app
}

describe('the numbers of a route', () => {
  test('hits, misses by reason, bypasses by reason, stores, bytes and latency', async () => {
    const app = await serve()
    for (const id of [1, 1, 1, 2]) await app.inject(`/items/${id}`)
    await app.inject({ url: '/items/1', headers: { 'cache-control': 'no-store' } })
    await app.inject({ url: '/items/1', headers: { 'cache-control': 'no-cache' } })
    const stats = app.cache.stats().routes['GET /items/:id']
    expect(stats).toMatchObject({
      hits: 2,
      stale: 0,
      misses: { absent: 2, 'request-no-cache': 1 },
      bypasses: { 'request-no-store': 1 },
      stores: 3,
      fenced: 0,
      bytes: { served: 8, stored: 12 },
    })
    expect(stats?.latency.get?.count).toBe(6)
    expect(stats?.latency.set?.count).toBe(3)
    const { p50Ms = 0, p90Ms = 0, p99Ms = 0, maxMs = 0 } = stats?.latency.get ?? {}
    expect([p50Ms, p90Ms, p99Ms, maxMs]).toEqual([p50Ms, p90Ms, p99Ms, maxMs].toSorted((a, b) => a - b))
    expect(p50Ms).toBeGreaterThan(0)
  })

  test('stale hits, refreshes, refusals by reason', async () => {
    const clock = testClock()
    const app = await serve({ url: 'memory:', now: clock.now })
    await app.inject('/items/1')
    clock.advance(90_000)
    await app.inject('/items/1')
    await app.inject('/cookie')
    const { routes } = app.cache.stats()
    expect(routes['GET /items/:id']).toMatchObject({ hits: 0, stale: 1, misses: { absent: 1 } })
    await vi.waitFor(() => expect(app.cache.stats().routes['GET /items/:id']?.refreshes).toBe(1))
    expect(routes['GET /cookie']?.refusals).toEqual({ 'set-cookie': 1 })
  })

  test('evictions by what they name, on the route that made them', async () => {
    const app = await serve()
    await app.inject({ method: 'DELETE', url: '/items/1' })
    await app.inject({ method: 'PUT', url: '/items/1' })
    const { routes } = app.cache.stats()
    expect(routes['DELETE /items/:id']?.evictions).toMatchObject({ groups: 2, unconfirmed: 0 })
    expect(routes['PUT /items/:id']).toMatchObject({ stores: 1, bytes: { stored: 3 } })
  })

  test('an outage is a reason of its own, and what it costs is counted', async () => {
    const stores: ChaosStore[] = []
    const memory = memoryStores()
    const app = await serve({
      store: (prefix) => {
        stores.push(chaos(memory(prefix)))
        return stores.at(-1) as ChaosStore
      },
    })
    for (const one of stores) one.failing('read')
    await app.inject('/items/1')
    for (const one of stores) one.healthy().failing('publish')
    await app.inject('/items/1')
    for (const one of stores) one.healthy().failing('invalidate', 'evict')
    await app.inject({ method: 'DELETE', url: '/items/1' })
    const { routes } = app.cache.stats()
    expect(routes['GET /items/:id']).toMatchObject({ misses: { outage: 1, absent: 1 }, failedStores: 1, stores: 0 })
    expect(routes['DELETE /items/:id']?.evictions.unconfirmed).toBe(1)
  })

  test('begin anew after a reset', async () => {
    const clock = testClock()
    const app = await serve({ url: 'memory:', now: clock.now })
    await app.inject('/items/1')
    const before = app.cache.stats().since
    clock.advance(1000)
    app.cache.resetStats()
    await app.inject('/items/1')
    const stats = app.cache.stats()
    expect(stats.since).toBe(before + 1000)
    expect(stats.routes['GET /items/:id']).toMatchObject({ hits: 1, misses: {}, stores: 0 })
  })

  test('are JSON', async () => {
    const app = await serve()
    await app.inject('/items/1')
    expect(JSON.parse(JSON.stringify(app.cache.stats()))).toMatchObject({ routes: { 'GET /items/:id': { stores: 1 } } })
  })
})

describe('bounds', () => {
  test('names beyond a thousand count as one', () => {
    const telemetry = new Telemetry()
    for (let n = 0; n < 3000; n += 1) telemetry.route(`GET /mounted/${n}`).refused('status')
    const names = Object.keys(telemetry.stats().routes)
    expect(names).toHaveLength(1001)
    expect(telemetry.stats().routes['_OTHER']?.refusals).toEqual({ status: 2000 })
    // Those that are known stay known.
    expect(telemetry.route('GET /mounted/1').origin.name).toBe('GET /mounted/1')
  })

  test('a busy route is timed now and then, and its count is still about right', () => {
    const recorder = new Telemetry().route('GET /busy')
    for (let n = 0; n < 20_000; n += 1)
      void recorder.start('get').follow(
        () => n,
        () => ({ outcome: 'hit', reason: 'fresh' }),
      )
    const { hits, latency } = recorder.read()
    expect(hits).toBe(20_000)
    expect(latency.get?.count).toBeGreaterThan(19_900)
    expect(latency.get?.count).toBeLessThanOrEqual(20_000)
  })

  test('a quantile is within a sixteenth of the exact one', () => {
    const times = fc.array(fc.double({ min: 0.001, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(times, fc.constantFrom(0.5, 0.9, 0.99, 1), (list, share) => {
        const histogram = new Histogram()
        for (const ms of list) histogram.record(ms)
        const exact = list.toSorted((a, b) => a - b)[Math.ceil(share * list.length) - 1] as number
        const told = histogram.quantile(share) as number
        // A microsecond is the smallest step.
        expect(told).toBeGreaterThanOrEqual(exact - 0.001)
        expect(told).toBeLessThanOrEqual(exact * (1 + 1 / 16) + 0.001)
      }),
    )
  })

  test('a histogram takes anything', () => {
    const histogram = new Histogram()
    expect(histogram.quantile(0.5)).toBeUndefined()
    for (const ms of [0, -1, Number.NaN, 1e12, Infinity]) histogram.record(ms)
    expect(histogram.count).toBe(5)
    expect(histogram.quantile(0.1)).toBeGreaterThanOrEqual(0)
  })
})

describe('the numbers of a namespace', () => {
  test.each(['memory', 'redis'])('hits, misses by reason, stores and evictions of values, on %s', async (store) => {
    const server = store === 'redis' ? await sharedRedis() : undefined
    const where =
      server === undefined ? { url: 'memory:' } : { url: server.url, prefix: `test:${randomUUID()}`, commandTimeout: 5 }
    await using redis = await createRedis({ logger: silentLogger, ...where }).connect()
    const users = redis.cache.namespace('users', { ttl: '1m' })
    await users.getOrSet(1, () => 'one')
    await users.getOrSet(1, () => 'never')
    await users.get(1)
    await users.get(2)
    await users.has(2)
    await users.set(3, 'three')
    await users.getMany([1, 3, 4])
    await users.getOrSetMany([1, 5], (keys) => keys.map(String))
    await users.delete(1)
    await users.clear()
    await redis.cache.set('plain', 1, { ttl: '1m' })
    await redis.cache.deleteGroup(['a', 'b'])
    const { namespaces } = redis.cache.stats()
    expect(namespaces['users']).toMatchObject({
      hits: 5,
      misses: { absent: 5 },
      stores: 3,
      evictions: { keys: 1, groups: 1, unconfirmed: 0 },
    })
    expect(namespaces['default']).toMatchObject({ stores: 1, evictions: { keys: 0, groups: 2 } })
    await server?.close()
  })

  test('callers that wait for a load are collapsed, and a failing loader yields a stale value', async () => {
    const clock = testClock()
    await using redis = createRedis({ url: 'memory:', logger: silentLogger, now: clock.now })
    const load = async (): Promise<string> => {
      await new Promise((resolve) => setImmediate(resolve))
      return 'value'
    }
    const options = { ttl: '1m', staleWhileRevalidate: '1m', staleIfError: '1h' } as const
    await Promise.all([1, 2, 3].map(() => redis.cache.getOrSet('k', load, options)))
    expect(redis.cache.stats().namespaces['default']).toMatchObject({ hits: 2, collapsed: 2, misses: { absent: 1 } })
    clock.advance(90_000)
    await redis.cache.getOrSet('k', load, options)
    await redis.cache.settled()
    expect(redis.cache.stats().namespaces['default']).toMatchObject({ stale: 1, refreshes: 1, stores: 2 })
    clock.advance(600_000)
    const fail = () => Promise.reject(new Error('no database'))
    expect(await redis.cache.getOrSet('k', fail, options)).toBe('value')
    expect(redis.cache.stats().namespaces['default']).toMatchObject({
      misses: { absent: 1, stale: 1 },
      staleIfError: 1,
    })
  })

  test('an outage is a reason of its own', async () => {
    const broken = (prefix: string) => chaos(memoryStores()(prefix)).failing()
    await using redis = createRedis({ store: broken, logger: silentLogger })
    expect(await redis.cache.getOrSet('k', () => 'loaded', { ttl: '1m' })).toBe('loaded')
    await redis.cache.get('k')
    await redis.cache.set('k', 1)
    expect(redis.cache.stats().namespaces['default']).toMatchObject({ misses: { outage: 2 }, failedStores: 1 })
  })
})
