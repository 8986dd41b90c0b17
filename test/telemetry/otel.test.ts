import { randomUUID } from 'node:crypto'
import { tracingChannel } from 'node:diagnostics_channel'
import { context, SpanKind, trace } from '@opentelemetry/api'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createRedis, type RedisOptions } from '../../src/index.js'
import { ATTRIBUTE, METRIC, otel, type Otel, type OtelOptions } from '../../src/telemetry/otel/index.js'
import { sharedRedis } from '../support/redis-server.js'
import { silentLogger } from '../support/logger.js'
import { chaos, memoryStores, testClock, type ChaosStore } from '../../src/testing/index.js'
import { ask } from './ask.js'
import type { Answer, Host, HostedApp, Route } from '../adapters/host.js'
import { expressHost } from '../adapters/hosts/express.js'
import { fastifyHost } from '../adapters/hosts/fastify.js'
import { honoHost } from '../adapters/hosts/hono.js'
import { nestHost } from '../adapters/hosts/nest.js'
import { isError, parentOf, requireHttp, Sdk } from './sdk.js'

const HOSTS: readonly Host[] = [fastifyHost, honoHost, expressHost, nestHost('express'), nestHost('fastify')]

let sdk: Sdk
let server: Awaited<ReturnType<typeof sharedRedis>>
const http = new HttpInstrumentation({ ignoreOutgoingRequestHook: () => true })

beforeAll(async () => {
  sdk = new Sdk()
  http.setTracerProvider(trace.getTracerProvider())
  http.enable()
  requireHttp()
  watchDriver()
  server = await sharedRedis()
})

afterAll(async () => {
  http.disable()
  await sdk.shutdown()
  await server.close()
})

/** Spans of the driver, made as its instrumentation makes them: children of what is active when a command is sent. */
function watchDriver(): void {
  const spans = new WeakMap<object, ReturnType<ReturnType<typeof trace.getTracer>['startSpan']>>()
  const ended = (command: object): void => spans.get(command)?.end()
  tracingChannel('node-redis:command').subscribe({
    start: (command: object & { command?: unknown }) => {
      const name = `redis ${String(command.command)}`
      spans.set(command, trace.getTracer('driver').startSpan(name, { kind: SpanKind.CLIENT }, context.active()))
    },
    end: () => {},
    asyncStart: () => {},
    asyncEnd: ended,
    error: () => {},
  })
}

describe.each(HOSTS)('$name', (host) => {
  const stops: (() => Promise<void> | void)[] = []
  let on: Otel | undefined

  beforeEach(() => sdk.reset())

  afterEach(async () => {
    for (const stop of stops.splice(0).toReversed()) await stop()
    on = undefined
  })

  function observe(options?: OtelOptions): void {
    on = otel(options)
    stops.push(() => on?.stop())
  }

  async function serve(routes: readonly Route[], redis: RedisOptions = { url: 'memory:' }): Promise<HostedApp> {
    const hosted = await host.start({ redis: { logger: silentLogger, ...redis }, routes })
    stops.push(() => hosted.close())
    return hosted
  }

  const onRedis = (): RedisOptions => ({ url: server.url, prefix: `test:${randomUUID()}`, commandTimeout: 5 })

  const cached: Route = {
    method: 'GET',
    path: '/products/:id',
    cache: { ttl: '1m', group: 'products' },
    handler: ({ params }) => {
      trace.getTracer('app').startSpan('handler').end()
      return { json: { id: params['id'] } }
    },
  }

  describe('spans', () => {
    test('cache.get is between the request and the command, and the handler is beside it', async () => {
      observe()
      const { port } = await serve([cached], onRedis())
      await ask(port, 'GET', '/products/1')
      await vi.waitFor(() => expect(sdk.named('cache.set')).toHaveLength(1))
      const request = (await finished('GET'))[0]!
      const [get] = sdk.named('cache.get')
      const [handler] = sdk.named('handler')
      expect(request.kind).toBe(SpanKind.SERVER)
      expect(parentOf(get!, sdk.spans)).toBe(request)
      expect(parentOf(handler!, sdk.spans)).toBe(request)
      expect(parentOf(sdk.named('cache.set')[0]!, sdk.spans)).toBe(request)
      expect(parentOf(sdk.named('redis GET')[0]!, sdk.spans)).toBe(get)
      const stored = sdk.named('redis EVALSHA').map((span) => parentOf(span, sdk.spans)?.name)
      expect(stored).toContain('cache.set')
    })

    /** The server's span ends when the response is closed, which the client may see first. */
    async function finished(method: string) {
      return vi.waitFor(() => {
        const spans = sdk.spans.filter((span) => span.kind === SpanKind.SERVER && span.name.startsWith(method))
        expect(spans.length).toBeGreaterThan(0)
        return spans
      })
    }

    test('a rate limit has a span and counts by outcome, without the identity', async () => {
      observe()
      const { port } = await serve([{ ...cached, rateLimit: { rate: '1/hour' } }])
      await ask(port, 'GET', '/products/1')
      await ask(port, 'GET', '/products/1')
      const spans = sdk.named('ratelimit.hit')
      expect(spans.map(({ attributes }) => attributes[ATTRIBUTE.limitOutcome])).toEqual(['allowed', 'limited'])
      const request = (await finished('GET'))[0]!
      expect(parentOf(spans[0]!, sdk.spans)).toBe(request)
      const points = await sdk.points(METRIC.rateLimitRequests)
      expect(points.map(({ attributes, value }) => [attributes[ATTRIBUTE.limitOutcome], value])).toEqual([
        ['allowed', 1],
        ['limited', 1],
      ])
      expect(await sdk.points(METRIC.rateLimitLatency)).not.toEqual([])
      expect(JSON.stringify([spans.map(({ attributes }) => attributes), points])).not.toContain('127.0.0.1')
    })

    test('a hit says so, with its remaining lifetime, and is no error', async () => {
      observe()
      const clock = testClock()
      const { port } = await serve([cached], { url: 'memory:', now: clock.now })
      await ask(port, 'GET', '/products/1')
      clock.advance(20_000)
      sdk.forgetSpans()
      expect((await ask(port, 'GET', '/products/1')).cache).toBe('HIT')
      const [get] = sdk.named('cache.get')
      expect(get?.attributes).toEqual({
        'cache.route': 'GET /products/:id',
        'cache.outcome': 'hit',
        'cache.reason': 'fresh',
        'cache.hit': true,
        'cache.ttl': 40,
        'cache.age': 20,
      })
      expect(isError(get!)).toBe(false)
    })

    test('a miss is no error, an outage is one', async () => {
      observe()
      const stores: ChaosStore[] = []
      const memory = memoryStores()
      const store = (prefix: string) => {
        stores.push(chaos(memory(prefix)))
        return stores.at(-1)!
      }
      const { port } = await serve([cached], { store })
      await ask(port, 'GET', '/products/1')
      for (const one of stores) one.failing('read')
      expect((await ask(port, 'GET', '/products/1')).status).toBe(200)
      const [miss, outage] = sdk.named('cache.get')
      expect(miss?.attributes).toMatchObject({ 'cache.outcome': 'miss', 'cache.reason': 'absent', 'cache.hit': false })
      expect(isError(miss!)).toBe(false)
      expect(outage?.attributes).toMatchObject({ 'cache.reason': 'outage', 'error.type': 'outage' })
      expect(isError(outage!)).toBe(true)
    })

    test('a store, a write-through and an eviction each have one', async () => {
      observe()
      const { port } = await serve([
        cached,
        {
          method: 'PUT',
          path: '/products/:id',
          cachePut: { ttl: '5m', group: 'products' },
          handler: () => ({ json: { put: 1 } }),
        },
        {
          method: 'DELETE',
          path: '/products/:id',
          cacheEvict: { group: 'products', key: 'path' },
          handler: () => ({}),
        },
      ])
      await ask(port, 'GET', '/products/1')
      await vi.waitFor(() => expect(sdk.named('cache.set')).toHaveLength(1))
      await ask(port, 'PUT', '/products/1')
      await ask(port, 'DELETE', '/products/1')
      expect(sdk.named('cache.set')[0]?.attributes).toEqual({
        'cache.route': 'GET /products/:id',
        'cache.write': 'fill',
        'cache.result': 'stored',
        'cache.ttl': 60,
      })
      expect(sdk.named('cache.put')[0]?.attributes).toEqual({
        'cache.route': 'PUT /products/:id',
        'cache.write': 'write_through',
        'cache.result': 'stored',
        'cache.ttl': 300,
      })
      expect(sdk.named('cache.evict')[0]?.attributes).toEqual({
        'cache.route': 'DELETE /products/:id',
        'cache.target': ['key', 'group'],
        'cache.confirmed': true,
      })
    })

    test('groups and keys are there when they are asked for', async () => {
      observe({ groups: true, keys: true })
      const { port } = await serve([cached])
      await ask(port, 'GET', '/products/1?a=1')
      const [get] = sdk.named('cache.get')
      expect(get?.attributes).toMatchObject({ 'cache.groups': ['products'], 'cache.key': '/products/1?a=1' })
    })

    test('what a function of the options throws is recorded', async () => {
      observe()
      const key = (): never => {
        throw new Error('no key')
      }
      const { port } = await serve([{ ...cached, cache: { ttl: '1m', key } }])
      expect((await ask(port, 'GET', '/products/1')).status).toBe(500)
      const [get] = sdk.named('cache.get')
      expect(isError(get!)).toBe(true)
      expect(get?.events.map(({ name }) => name)).toEqual(['exception'])
    })
  })

  test('calls of the data cache have spans of their own, with the driver inside and the loader beside', async () => {
    observe({ groups: true })
    const { redis } = await serve([], onRedis())
    const users = redis.cache.namespace('users', { ttl: '1m' })
    const load = () => {
      trace.getTracer('app').startSpan('loader').end()
      return 'one'
    }
    await users.getOrSet(1, load, { group: 'people' })
    await users.get(1)
    await users.set(2, 'two')
    await users.delete(2)
    await redis.cache.deleteGroup('people')
    const names = sdk.spans.map(({ name }) => name).filter((name) => name.startsWith('cache.'))
    expect(names).toEqual([
      'cache.backend.get_or_set',
      'cache.set',
      'cache.backend.get',
      'cache.backend.set',
      'cache.backend.delete',
      'cache.backend.delete_group',
    ])
    const [getOrSet] = sdk.named('cache.backend.get_or_set')
    expect(getOrSet?.attributes).toEqual({
      'cache.namespace': 'users',
      'cache.outcome': 'miss',
      'cache.reason': 'absent',
      'cache.hit': false,
      'cache.groups': ['people', ':users'],
    })
    expect(parentOf(sdk.named('redis GET')[0]!, sdk.spans)).toBe(getOrSet)
    expect(sdk.named('loader')[0]?.parentSpanContext).toBeUndefined()
    expect(sdk.named('cache.backend.get')[0]?.attributes).toMatchObject({
      'cache.outcome': 'hit',
      'cache.reason': 'fresh',
    })
    expect(sdk.spans.filter(isError)).toEqual([])
    expect(await sdk.points(METRIC.evictions)).toHaveLength(2)
  })

  describe('metrics', () => {
    test('count requests by outcome and reason, writes, and bytes', async () => {
      observe()
      const { port } = await serve([cached])
      for (const id of [1, 1, 2]) await ask(port, 'GET', `/products/${id}`)
      await ask(port, 'GET', '/products/1', { 'cache-control': 'no-store' })
      const route = { 'cache.route': 'GET /products/:id' }
      expect(await sdk.points(METRIC.requests)).toEqual([
        expect.objectContaining({
          attributes: { ...route, 'cache.outcome': 'miss', 'cache.reason': 'absent' },
          value: 2,
        }),
        expect.objectContaining({
          attributes: { ...route, 'cache.outcome': 'hit', 'cache.reason': 'fresh' },
          value: 1,
        }),
        expect.objectContaining({
          attributes: { ...route, 'cache.outcome': 'bypass', 'cache.reason': 'request-no-store' },
          value: 1,
        }),
      ])
      await vi.waitFor(async () =>
        expect(await sdk.points(METRIC.writes)).toMatchObject([
          { attributes: { ...route, 'cache.write': 'fill', 'cache.result': 'stored' }, value: 2 },
        ]),
      )
      expect(await sdk.points(METRIC.bytes)).toContainEqual(
        expect.objectContaining({
          attributes: { ...route, 'cache.direction': 'served' },
          value: Buffer.byteLength('{"id":"1"}'),
        }),
      )
    })

    test('latency is a histogram of seconds from 50 µs to 10 s', async () => {
      observe()
      const { port } = await serve([cached])
      await ask(port, 'GET', '/products/1')
      await ask(port, 'GET', '/products/1')
      const points = await sdk.points(METRIC.latency)
      const hit = points.find(({ attributes }) => attributes[ATTRIBUTE.outcome] === 'hit')
      expect(hit?.attributes).toEqual({
        'cache.route': 'GET /products/:id',
        'cache.operation': 'get',
        'cache.outcome': 'hit',
      })
      const value = hit?.value as { sum: number; count: number; buckets: { boundaries: number[] } }
      expect(value.count).toBe(1)
      expect(value.sum).toBeGreaterThan(0)
      expect(value.sum).toBeLessThan(1)
      expect(value.buckets.boundaries.at(0)).toBe(0.000_05)
      expect(value.buckets.boundaries.at(-1)).toBe(10)
    })

    test('collapsed requests and waits are counted', async () => {
      observe()
      let release = (): void => {}
      const gate = new Promise<void>((resolve) => {
        release = resolve
      })
      const handler = async (): Promise<Answer> => {
        await gate
        return { json: { slow: true } }
      }
      const memory = chaos(memoryStores()('redwell'))
      const route: Route = { method: 'GET', path: '/slow', cache: { ttl: '1m' }, handler }
      const { port } = await serve([route], { store: () => memory })
      const all = [1, 2, 3].map(() => ask(port, 'GET', '/slow'))
      // The second and the third wait for the first as soon as they have found nothing.
      await vi.waitFor(() => expect(memory.calls.read).toBe(3))
      await new Promise((resolve) => setImmediate(resolve))
      release()
      await Promise.all(all)
      expect(sumOf(await sdk.points(METRIC.collapsed))).toBe(2)
      expect(sumOf(await sdk.points(METRIC.waits))).toBe(2)
    })
  })

  test('nothing is emitted when it is off', async () => {
    const { port } = await serve([cached])
    await ask(port, 'GET', '/products/1')
    await ask(port, 'GET', '/products/1')
    expect(sdk.spans.filter(({ name }) => name.startsWith('cache.'))).toEqual([])
    expect([...(await sdk.metrics()).keys()].filter((name) => name.startsWith('redwell.'))).toEqual([])
  })

  test('nothing is emitted any more when it was switched off', async () => {
    observe()
    const { port } = await serve([cached])
    await ask(port, 'GET', '/products/1')
    expect(sumOf(await sdk.points(METRIC.requests))).toBe(1)
    await ask(port, 'GET', '/products/1')
    on?.stop()
    sdk.forgetSpans()
    await ask(port, 'GET', '/products/1')
    expect(sdk.named('cache.get')).toEqual([])
    // What was counted before can still be flushed.
    expect(sumOf(await sdk.points(METRIC.requests))).toBe(2)
  })

  test('the setting switches it on for the life of the application', async () => {
    const { port, close } = await serve([cached], { url: 'memory:', otel: true })
    await ask(port, 'GET', '/products/1')
    expect(sdk.named('cache.get')).toHaveLength(1)
    await close()
    const other = await serve([cached])
    await ask(other.port, 'GET', '/products/1')
    expect(sdk.named('cache.get')).toHaveLength(1)
  })

  test('no label grows with what clients send', async () => {
    observe()
    const seen = new Set<string>()
    const { port } = await serve([
      {
        method: 'GET',
        path: '/things/:id',
        cache: {
          ttl: '1m',
          group: ({ header }) => header('x-group') ?? 'none',
          per: ({ header }) => header('x-user'),
          key: ({ params }) => ['things', params['id'] ?? ''],
        },
        handler: () => ({ json: { secret: 'told' } }),
      },
      {
        method: 'DELETE',
        path: '/things/:id',
        cacheEvict: {
          group: ({ header }) => header('x-group') ?? 'none',
          key: ({ params }) => ['things', params['id'] ?? ''],
        },
        handler: () => ({}),
      },
    ])
    const word = fc.stringMatching(/^q[a-z0-9]{8,16}$/)
    await fc.assert(
      fc.asyncProperty(word, word, word, async (id, group, user) => {
        for (const one of [id, group, user]) seen.add(one)
        const headers = { 'x-group': group, 'x-user': user }
        await ask(port, 'GET', `/things/${id}?q=${user}`, headers)
        await ask(port, 'GET', `/things/${id}?q=${user}`, headers)
        await ask(port, 'DELETE', `/things/${id}`, headers)
      }),
      { numRuns: 40 },
    )
    const points = [...(await sdk.metrics())].filter(([name]) => name.startsWith('redwell.')).flatMap(([, all]) => all)
    const cacheSpans = sdk.spans.filter(({ name }) => name.startsWith('cache.'))
    const labels = [...points, ...cacheSpans].flatMap(({ attributes }) => Object.values(attributes).flat())
    const told = labels.filter((label): label is string => typeof label === 'string')
    expect(told.filter((label) => [...seen].some((one) => label.includes(one)))).toEqual([])
    expect(points.length).toBeLessThan(40)
    expect(new Set(told).size).toBeLessThan(30)
  })
})

test('every lookup is counted; of a busy namespace the first 1,024 are timed, and then one in 16', async () => {
  await sdk.reset()
  using _ = otel({ spans: false })
  const redis = createRedis({ url: 'memory:', logger: silentLogger })
  await redis.cache.set('key', 1, { ttl: '1h' })
  for (let n = 0; n < 1024 + 160; n += 1) await redis.cache.get('key')
  await redis.close()
  const ofGet = (await sdk.points(METRIC.latency)).filter(({ attributes }) => attributes[ATTRIBUTE.operation] === 'get')
  expect(sumOf(await sdk.points(METRIC.requests))).toBe(1024 + 160)
  expect(ofGet.map(({ value }) => (value as { count: number }).count)).toEqual([1024 + 10])
})

function sumOf(points: readonly { readonly value: unknown }[]): number {
  return points.reduce((sum, { value }) => sum + (value as number), 0)
}
