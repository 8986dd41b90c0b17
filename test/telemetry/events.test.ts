import { randomUUID } from 'node:crypto'
import { type FastifyInstance } from 'fastify'
import Fastify from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type CacheEvents, subscribe } from '../../src/telemetry/events.js'
import { Telemetry } from '../../src/telemetry/telemetry.js'
import redwell, { type RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'
import { chaos, type ChaosStore, memoryStores, testClock } from '../../src/testing/index.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, sharedRedis, startRedis } from '../support/redis-server.js'

const stops: (() => void | Promise<unknown>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})

/** What is published on a channel from here on. */
function heard<Name extends keyof CacheEvents>(name: Name): CacheEvents[Name][] {
  const events: CacheEvents[Name][] = []
  stops.push(subscribe(name, (event) => void events.push(event)))
  return events
}

async function serve(
  declare: (app: FastifyInstance) => void,
  options: RedwellFastifyOptions = { url: 'memory:' },
): Promise<FastifyInstance> {
  const app = Fastify()
  stops.push(() => app.close())
  await app.register(redwell, { logger: silentLogger, ...options })
  declare(app)
  return app
}

const ROUTE = { kind: 'route', name: 'GET /products/:id' }

function products(app: FastifyInstance): void {
  app.get('/products/:id', { config: { cache: { ttl: '1m', group: 'products' } } }, async () => ({ some: 'product' }))
}

describe.each(['memory', 'redis'])('on %s', (store) => {
  let server: Awaited<ReturnType<typeof sharedRedis>>
  beforeAll(async () => {
    server = await sharedRedis()
  })
  afterAll(() => server.close())

  const where = (): RedwellFastifyOptions =>
    store === 'memory'
      ? { url: 'memory:' }
      : { url: server.url, prefix: `test:${randomUUID()}`, commandTimeout: 5, connect: true }

  test('a miss, the store behind it, and a hit', async () => {
    const [lookups, stores] = [heard('redwell:lookup'), heard('redwell:store')]
    const app = await serve(products, where())
    await app.inject('/products/1?b=2&a=1')
    await vi.waitFor(() => expect(stores).toHaveLength(1))
    await app.inject('/products/1?a=1&b=2')
    const key = '/products/1?a=1&b=2'
    // With that of the path, of whose queries this is one.
    const groups = ['', 'products', '=/products/1']
    expect(lookups).toEqual([
      {
        ...{ origin: ROUTE, at: expect.any(Number), operation: 'get', outcome: 'miss', reason: 'absent' },
        ...{ durationMs: expect.any(Number), ttlMs: undefined, ageMs: undefined, bytes: 0, key, groups },
      },
      {
        ...{ origin: ROUTE, at: expect.any(Number), operation: 'get', outcome: 'hit', reason: 'fresh' },
        ...{
          durationMs: expect.any(Number),
          ttlMs: expect.any(Number),
          ageMs: expect.any(Number),
          bytes: 18,
          key,
          groups,
        },
      },
    ])
    expect(lookups[1]?.ttlMs).toBeGreaterThan(50_000)
    expect(lookups[0]?.durationMs).toBeGreaterThan(0)
    expect(stores).toEqual([
      {
        ...{ origin: ROUTE, at: expect.any(Number), write: 'fill', result: 'stored', durationMs: expect.any(Number) },
        ...{ ttlMs: 60_000, bytes: 18, key, groups },
      },
    ])
  })

  test('an eviction tells what it named, and a fill that it forestalled is fenced', async () => {
    const [evictions, fences, stores] = [heard('redwell:eviction'), heard('redwell:fence'), heard('redwell:store')]
    let reached = (): void => {}
    let release = (): void => {}
    const running = new Promise<void>((resolve) => (reached = resolve))
    const gate = new Promise<void>((resolve) => (release = resolve))
    const app = await serve((made) => {
      made.get('/products/:id', { config: { cache: { ttl: '1m', group: 'products' } } }, async () => {
        reached()
        await gate
        return 'loaded before'
      })
      made.delete('/products/:id', { config: { cacheEvict: { group: 'products' } } }, async () => 'gone')
    }, where())
    const reading = app.inject('/products/1')
    await running
    await app.inject({ method: 'DELETE', url: '/products/1' })
    release()
    await reading
    await vi.waitFor(() => expect(stores).toHaveLength(1))
    expect(evictions).toMatchObject([
      {
        origin: { kind: 'route', name: 'DELETE /products/:id' },
        operation: 'evict',
        groups: ['products'],
        mode: 'hard',
        confirmed: true,
      },
    ])
    expect(stores).toMatchObject([{ origin: ROUTE, write: 'fill', result: 'fenced' }])
    expect(fences).toMatchObject([{ origin: ROUTE, write: 'fill', key: '/products/1' }])
  })

  test('a write-through is a store of the route that wrote', async () => {
    const [stores, lookups] = [heard('redwell:store'), heard('redwell:lookup')]
    const app = await serve((made) => {
      products(made)
      made.put('/products/:id', { config: { cachePut: { ttl: '1m', group: 'products' } } }, async () => ({ a: 1 }))
    }, where())
    await app.inject({ method: 'PUT', url: '/products/1' })
    expect(stores).toMatchObject([
      {
        origin: { name: 'PUT /products/:id' },
        write: 'write-through',
        result: 'stored',
        key: '/products/1',
        ttlMs: 60_000,
      },
    ])
    await app.inject('/products/1')
    expect(lookups).toMatchObject([{ origin: ROUTE, outcome: 'hit' }])
  })

  test('who waits for the run of another one, in this process and in others, is told of', async () => {
    const [waits, lookups] = [heard('redwell:wait'), heard('redwell:lookup')]
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => (release = resolve))
    let runs = 0
    const slow = (made: FastifyInstance): void => {
      made.get('/slow', { config: { cache: { ttl: '1m' } } }, async () => {
        runs += 1
        await gate
        return 'slow'
      })
    }
    // Two applications are two processes to one another: each has its own flights.
    const shared = store === 'memory' ? { store: memoryStores() } : where()
    const [one, other] = [await serve(slow, shared), await serve(slow, shared)]
    const first = one.inject('/slow')
    await vi.waitFor(() => expect(runs).toBe(1))
    const more = [one.inject('/slow'), other.inject('/slow')]
    for (const app of [one, other]) await vi.waitFor(() => expect(app.cache.stats().routes['GET /slow']?.waits).toBe(1))
    release()
    await Promise.all([first, ...more])
    expect(runs).toBe(1)
    await vi.waitFor(() => expect(waits.map(({ holder }) => holder).toSorted()).toEqual(['other-process', 'process']))
    expect(lookups.map(({ reason }) => reason).toSorted()).toEqual(['absent', 'collapsed', 'collapsed'])
  })
})

test('a response that may not be stored is refused, with its reason', async () => {
  const refusals = heard('redwell:refusal')
  const app = await serve((made) => {
    made.get('/cookie', { config: { cache: { ttl: '1m' } } }, async (_, reply) =>
      reply.header('set-cookie', 'a=1').send('x'),
    )
  })
  await app.inject('/cookie')
  expect(refusals).toMatchObject([{ origin: { name: 'GET /cookie' }, reason: 'set-cookie' }])
})

test('a stale hit, the refresh behind it, and a stale answer in place of a failure', async () => {
  const [lookups, refreshes, servedOnError] = [
    heard('redwell:lookup'),
    heard('redwell:refresh'),
    heard('redwell:stale-if-error'),
  ]
  const clock = testClock()
  let fails = false
  const app = await serve(
    (made) => {
      made.get(
        '/news',
        { config: { cache: { ttl: '1m', staleWhileRevalidate: '1m', staleIfError: '1h' } } },
        async () => {
          if (fails) throw new Error('no news')
          return 'news'
        },
      )
    },
    { url: 'memory:', now: clock.now },
  )
  await app.inject('/news')
  clock.advance(70_000)
  await app.inject('/news')
  await vi.waitFor(() => expect(refreshes).toMatchObject([{ origin: { name: 'GET /news' }, reason: 'stale' }]))
  await app.cache.settled()
  clock.advance(300_000)
  fails = true
  expect((await app.inject('/news')).body).toBe('news')
  expect(lookups.map(({ outcome, reason }) => `${outcome} ${reason}`)).toEqual([
    'miss absent',
    'stale stale-while-revalidate',
    'miss stale',
  ])
  expect(servedOnError).toMatchObject([{ origin: { name: 'GET /news' } }])
})

test('bypasses have their reasons, and only-if-cached without an answer is a miss', async () => {
  const lookups = heard('redwell:lookup')
  const app = await serve((made) => {
    made.get('/a', { config: { cache: { ttl: '1m', per: () => undefined } } }, async () => 'a')
    made.get('/b', { config: { cache: { ttl: '1m', enabled: false } } }, async () => 'b')
    products(made)
  })
  await app.inject('/a')
  await app.inject('/b')
  await app.inject({ url: '/products/1', headers: { 'cache-control': 'no-store' } })
  await app.inject({ url: '/products/1', headers: { 'cache-control': 'only-if-cached' } })
  expect(lookups.map(({ outcome, reason }) => `${outcome} ${reason}`)).toEqual([
    'bypass no-principal',
    'bypass disabled',
    'bypass request-no-store',
    'miss only-if-cached',
  ])
})

test('an invalidation that could not be confirmed is told of, and each try at it', async () => {
  const [evictions, retries, lookups] = [heard('redwell:eviction'), heard('redwell:retry'), heard('redwell:lookup')]
  const stores: ChaosStore[] = []
  const memory = memoryStores()
  const store = (prefix: string): ChaosStore => {
    stores.push(chaos(memory(prefix)))
    return stores.at(-1) as ChaosStore
  }
  const app = await serve(
    (made) => {
      products(made)
      made.delete('/products/:id', { config: { cacheEvict: { group: 'products' } } }, async () => 'gone')
    },
    { store },
  )
  for (const one of stores) one.failing('invalidate', 'evict')
  await app.inject({ method: 'DELETE', url: '/products/1' })
  await app.inject('/products/1')
  expect(evictions).toMatchObject([{ confirmed: false }])
  expect(lookups).toMatchObject([{ outcome: 'miss', reason: 'outage' }])
  // The group, and the URI itself.
  await vi.waitFor(() => expect(retries).toContainEqual(expect.objectContaining({ result: 'failed', pending: 2 })))
  for (const one of stores) one.healthy()
  await vi.waitFor(() => expect(retries.at(-1)).toMatchObject({ prefix: 'redwell', result: 'confirmed', pending: 0 }))
})

describe('the connection', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.close())

  test('changes of its status and of its breaker are told of', async () => {
    const [breaker, connection] = [heard('redwell:breaker'), heard('redwell:connection')]
    const app = await serve(products, { url: server.url, connect: true, commandTimeout: '50ms' })
    const at = `127.0.0.1:${server.port}`
    expect(connection).toMatchObject([{ server: at, status: 'ready', previous: 'unavailable' }])
    server.pause()
    for (let n = 0; n < 3; n += 1) await app.inject('/products/1')
    await vi.waitFor(() => expect(breaker).toMatchObject([{ server: at, state: 'open', previous: 'closed' }]))
    expect(connection.at(-1)).toMatchObject({ status: 'degraded', previous: 'ready' })
    server.resume()
    await vi.waitFor(async () => {
      await app.inject('/products/1')
      expect(breaker.map(({ state }) => state)).toEqual(expect.arrayContaining(['open', 'half-open', 'closed']))
    })
    expect(connection.at(-1)).toMatchObject({ status: 'ready' })
  })
})

describe('a listener that fails', () => {
  const warnings: Error[] = []
  const note = (warning: Error): void => void warnings.push(warning)

  test('is told of once, harms no request, and hears what comes after', async () => {
    process.on('warning', note)
    stops.push(() => void process.off('warning', note))
    let calls = 0
    stops.push(
      subscribe('redwell:lookup', () => {
        calls += 1
        throw new Error('broken listener')
      }),
    )
    stops.push(subscribe('redwell:store', async () => Promise.reject(new Error('late'))))
    const app = await serve(products)
    for (let n = 0; n < 3; n += 1) expect((await app.inject('/products/1')).statusCode).toBe(200)
    await vi.waitFor(() => expect(warnings).toHaveLength(2))
    expect(calls).toBe(3)
    expect(warnings.map(({ message }) => message)).toEqual([
      'redwell: a listener of redwell:lookup failed: broken listener. Further errors of this listener are not reported.',
      'redwell: a listener of redwell:store failed: late. Further errors of this listener are not reported.',
    ])
    expect(warnings[0]).toMatchObject({ code: 'REDWELL_LISTENER' })
  })

  test('there is no other channel', () => {
    expect(() => subscribe('redwell:nothing' as 'redwell:lookup', () => {})).toThrow(
      'There is no channel redwell:nothing.',
    )
  })
})

test('no event is built without subscribers', async () => {
  const now = vi.fn<() => number>(() => 0)
  const recorder = new Telemetry(now).route('GET /a')
  const entry = { storedAt: 0, freshUntil: 1, groups: [], body: Buffer.alloc(1) }
  const groups = vi.fn<() => string[]>(() => [])
  const watched = {
    ...entry,
    get groups() {
      return groups()
    },
  }
  now.mockClear()
  void recorder.start('get').follow(
    () => 1,
    () => ({ outcome: 'hit', reason: 'fresh', entry: watched }),
  )
  recorder.refused('status')
  recorder.refreshes('stale')
  recorder.staleIfError()
  await recorder.wait('process', Promise.resolve())
  const stored = { key: 'k', entry: watched, ttlMs: 1 }
  const committed = { entries: 1, confirmed: true, published: 'fenced' } as const
  await recorder.store('fill', stored, async () => 'fenced')
  await recorder.put({ groups: ['g'] }, stored, async () => committed)
  await recorder.evict('evict', { paths: ['k'] }, async () => committed)
  expect(groups).not.toHaveBeenCalled()
  expect(now).not.toHaveBeenCalled()
  stops.push(subscribe('redwell:lookup', () => {}))
  void recorder.start('get').follow(
    () => 1,
    () => ({ outcome: 'hit', reason: 'fresh', entry: watched }),
  )
  expect(groups).toHaveBeenCalledTimes(1)
  expect(now).toHaveBeenCalledTimes(1)
})
