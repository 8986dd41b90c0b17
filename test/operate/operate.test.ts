import { randomUUID } from 'node:crypto'
import { hasSubscribers } from 'node:diagnostics_channel'
import { gzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { encodeGroup, encodePart, namespaceGroup } from '../../src/cache/key.js'
import redwell from '../../src/adapters/fastify/index.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { decodeLimitState } from '../../src/limit/limit-state.js'
import { listEntries, showBody, showEntry } from '../../src/operate/entries.js'
import { evict, type EvictTarget } from '../../src/operate/evict.js'
import { explain } from '../../src/operate/explain.js'
import { listGroups } from '../../src/operate/groups.js'
import { listLimits, resetLimit } from '../../src/operate/limits.js'
import { LiveView, reportsNow } from '../../src/operate/live.js'
import { decodePart, groupName } from '../../src/cache/names.js'
import { historyOf, totalsOf } from '../../src/operate/totals.js'
import { HISTORY_MS } from '../../src/report/history.js'
import { recordingLogger, silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { buildShop } from './shop.js'

let server: { url: string; close(): Promise<void> }
beforeAll(async () => {
  server = await sharedRedis()
})
afterAll(() => server.close())

const patient = { logger: silentLogger, commandTimeout: '5s' } as const

interface Scene {
  readonly app: FastifyInstance
  /** The operator's own handle: another one than the application's where there is a server. */
  readonly desk: Redis
  get(url: string, headers?: Record<string, string>): Promise<unknown>
}

async function open(kind: 'memory' | 'redis', more: { operate?: boolean } = {}): Promise<Scene> {
  const prefix = `operate-${randomUUID().slice(0, 8)}`
  const options = { url: kind === 'memory' ? 'memory:' : server.url, prefix, ...patient, ...more }
  const app = await buildShop(options)
  onTestFinished(() => app.close())
  await app.ready()
  await app.redis.connect()
  const desk = kind === 'memory' ? app.redis : createRedis({ ...options, trustRestarts: true, operate: false })
  onTestFinished(() => desk.close())
  await desk.connect()
  return { app, desk, get: async (url, headers = {}) => (await app.inject({ url, headers })).body }
}

describe.each(['memory', 'redis'] as const)('over %s', (kind) => {
  test('entries are listed page by page, by the beginning of their keys', async () => {
    const { desk, get } = await open(kind)
    for (let id = 0; id < 25; id += 1) await get(`/products/${id}`)
    await get('/users/1')
    const found = new Set<string>()
    let cursor: string | undefined
    do {
      const page = await listEntries(desk, { search: '/products/', limit: 10, cursor })
      for (const { key, state, groups } of page.items) {
        found.add(key)
        expect({ state, groups }).toEqual({ state: 'fresh', groups: [{ kind: 'group', name: 'products' }] })
      }
      cursor = page.cursor ?? undefined
    } while (cursor !== undefined)
    expect(found.size).toBe(25)
    const all = await listEntries(desk, { limit: 1000 })
    expect(all.items.find(({ kind: which }) => which === 'value')).toMatchObject({
      key: 'value:users:1',
      freshForMs: expect.any(Number),
    })
    expect((await listEntries(desk, { search: '/pro*', limit: 10 })).items).toEqual([])
  })

  test('an entry says what it is, and why it is not valid', async () => {
    const { desk, get, app } = await open(kind)
    await get('/products/1')
    await get('/users/7')
    expect(await showEntry(desk, '/products/1')).toMatchObject({
      redisKey: `${desk.settings.prefix}:entry:/products/1`,
      state: 'fresh',
      status: 200,
      filling: false,
      groups: [
        { kind: 'prefix', allows: true },
        { kind: 'group', name: 'products', allows: true },
      ],
    })
    expect(await showBody(desk, '/products/1')).toMatchObject({ isText: true, text: '{\n  "id": "1"\n}', bytes: 10 })
    expect(await showBody(desk, 'value:users:7')).toMatchObject({
      contentType: 'value',
      text: '{\n  "name": "user 7"\n}',
    })
    await app.redis.cache.expireGroup('products')
    expect(await showEntry(desk, '/products/1')).toMatchObject({ state: 'stale', softened: true })
    await app.redis.cache.deleteGroup('products')
    const entry = await showEntry(desk, '/products/1')
    expect(entry).toMatchObject({ state: 'invalid', groups: [{ allows: true }, { name: 'products', allows: false }] })
    expect(entry?.reasons.join()).toMatch(/^group products was invalidated at \d{4}-/)
    expect(await showEntry(desk, '/none')).toBeUndefined()
    expect(await showBody(desk, '/none')).toBeUndefined()
  })

  test('groups are listed with their last invalidation, without those of paths', async () => {
    const { desk, get, app } = await open(kind)
    const before = Date.now()
    await get('/products/1')
    await get('/users/1')
    await app.inject({ method: 'DELETE', url: '/products/1' })
    const { items } = await listGroups(desk, {})
    expect(items.map(({ kind: which, name }) => `${which} ${name}`).toSorted()).toEqual([
      'group people',
      'group products',
      'namespace users',
    ])
    expect(items.find(({ name }) => name === 'products')?.invalidatedAt).toBeGreaterThanOrEqual(before - 1000)
    expect((await listGroups(desk, { search: 'peo' })).items).toHaveLength(1)
  })

  test('what rate limits count is listed and forgotten', async () => {
    const { desk, get, app } = await open(kind)
    for (let call = 0; call < 7; call += 1) await get('/limited')
    const { items } = await listLimits(desk, {})
    expect(items).toMatchObject([
      {
        scope: 'GET /limited',
        identity: '127.0.0.1',
        algorithm: 'sliding-window',
        windows: [{ used: 5, windowMs: 60_000 }],
      },
    ])
    const searched = async (search: string): Promise<number> => (await listLimits(desk, { search })).items.length
    const begins = ['GET /lim', items[0]?.key ?? '', 'GET /limited:127.', 'PUT /lim']
    expect(await Promise.all(begins.map(searched))).toEqual([1, 1, 1, 0])
    expect((await app.inject('/limited')).statusCode).toBe(429)
    await resetLimit(desk, items[0]?.key ?? '')
    expect((await listLimits(desk, {})).items).toEqual([])
    await expect.poll(async () => (await app.inject('/limited')).statusCode).toBe(200)
  })

  test('a request is explained by the process that knows its route, with the last refusal in words', async () => {
    const { desk, get } = await open(kind)
    await get('/products/1')
    await get('/basket', { cookie: 'a=1' })
    const [hit, refused, nobody] = await Promise.all([
      explain(desk, { url: '/products/1' }),
      explain(desk, { url: '/basket' }),
      explain(desk, { url: '/nowhere' }).catch((error: Error) => error),
    ])
    expect(hit).toMatchObject({ outcome: 'hit', reason: 'fresh', meaning: 'within its lifetime', fix: '' })
    expect(refused).toMatchObject({ outcome: 'miss', lastRefusal: { reason: 'unkeyed-read' } })
    expect(refused.fix).toContain('`vary`')
    expect(nobody).toMatchObject({ name: 'UsageError' })
  })

  test('groups have the same names wherever they are shown, and are evicted by them', async () => {
    const { desk, get } = await open(kind)
    await get('/owners')
    const names = ['owner:3', 'my group']
    expect((await explain(desk, { url: '/owners' })).entry?.groups).toEqual(names)
    expect((await listEntries(desk, {})).items[0]?.groups.map(({ name }) => name)).toEqual(
      expect.arrayContaining(names),
    )
    expect((await listGroups(desk, {})).items.map(({ name }) => name).toSorted()).toEqual(names.toSorted())
    expect(await evict(desk, { group: 'my!20group' })).toMatchObject({ found: false, confirmed: true })
    expect(await explain(desk, { url: '/owners' })).toMatchObject({ outcome: 'hit' })
    expect(await evict(desk, { group: 'my group' })).toMatchObject({ found: true, confirmed: true })
    expect(await explain(desk, { url: '/owners' })).toMatchObject({ outcome: 'miss' })
  })

  test('an eviction says whether anything was stored of what it names', async () => {
    const { desk, get } = await open(kind)
    await get('/products/1')
    await get('/users/1')
    const found = async (target: EvictTarget): Promise<boolean> => (await evict(desk, target)).found
    for (const none of [{ key: '/none' }, { group: 'none' }, { namespace: 'none' }])
      expect([await found(none), await found({ ...none, soft: true })]).toEqual([false, false])
    expect(await found({ group: 'none', key: '/products/1', soft: true })).toBe(true)
    expect(await found({ url: '/products/1' })).toBe(true)
    expect(await found({ namespace: 'users' })).toBe(true)
    expect(await found({ all: true })).toBe(true)
  })

  test('evicting by URL, key, group, namespace and all', async () => {
    const { desk, get } = await open(kind)
    const states = async (): Promise<Record<string, string>> =>
      Object.fromEntries((await listEntries(desk, {})).items.map(({ key, state }) => [key, state]))
    await Promise.all(['/products/1', '/products/2', '/products/3', '/users/1'].map((url) => get(url)))
    expect(await evict(desk, { url: '/products/1' })).toMatchObject({
      keys: ['/products/1'],
      entries: 1,
      confirmed: true,
    })
    await evict(desk, { key: '/products/2', soft: true })
    expect(await states()).toEqual({ '/products/2': 'stale', '/products/3': 'fresh', 'value:users:1': 'fresh' })
    await evict(desk, { group: 'products' })
    await evict(desk, { namespace: 'users' })
    expect(await states()).toEqual({ '/products/2': 'invalid', '/products/3': 'invalid', 'value:users:1': 'invalid' })
    await get('/products/4')
    await evict(desk, { all: true })
    expect(await states()).toMatchObject({ '/products/4': 'invalid' })
  })

  test('the numbers of all processes, with exact quantiles, and events as they happen', async () => {
    const { desk, get, app } = await open(kind)
    await get('/products/1')
    const view = await LiveView.open(desk)
    onTestFinished(() => view.close())
    await expect.poll(async () => (await view.read()).length, { timeout: 10_000 }).toBe(1)
    await get('/products/1')
    const events: string[] = []
    await expect
      .poll(
        async () => {
          const [report] = await view.read()
          events.push(...(report?.events ?? []).map(({ outcome, origin }) => `${outcome} ${origin}`))
          return events
        },
        { timeout: 10_000 },
      )
      .toContain('hit GET /products/:id')
    const totals = totalsOf(await view.read())
    expect(totals.origins[0]).toMatchObject({
      name: 'GET /products/:id',
      hits: 1,
      misses: { absent: 1 },
      hitRatio: 0.5,
    })
    expect(totals.origins[0]?.latency?.count).toBe(2)
    expect((await view.read())[0]).toMatchObject({
      pid: process.pid,
      status: 'ready',
      limiters: [{ scope: 'GET /limited' }],
    })
    await app.redis.reporter.write()
    await get('/products/1')
    await app.redis.reporter.write()
    await app.redis.reporter.write()
    const now = desk.scope.now()
    const history = historyOf(await desk.history.read(now - HISTORY_MS, now))
    expect(history.reduce((sum, { hits }) => sum + hits, 0)).toBe(2)
    expect(history.reduce((sum, { misses }) => sum + misses, 0)).toBe(1)
  })
})

test('while no operator looks, a process sends one command on a missing key every two seconds, and leaves no key but its name', async () => {
  const { app, desk } = await open('redis')
  const own = app.redis.connection
  const sent: string[] = []
  const inspect = own?.inspect.bind(own)
  Object.assign(own ?? {}, {
    inspect: (args: readonly string[], key: string) => {
      sent.push(args[0] ?? '')
      return inspect?.(args, key)
    },
  })
  await expect.poll(() => sent.length, { timeout: 10_000 }).toBeGreaterThan(2)
  expect(sent.slice(0, 3)).toEqual(['ZRANGE', 'SET', 'ZRANGE'])
  const keys = await desk.connection?.execute(['KEYS', `${desk.settings.prefix}:operate*`], undefined)
  expect((keys as readonly unknown[]).map(String)).toEqual([desk.desk.application])
})

test('between two reports a process listens to its lookups only until it has enough of them', async () => {
  const { desk, get } = await open('memory')
  const isHeard = () => hasSubscribers('redwell:lookup')
  expect(isHeard()).toBe(false)
  const view = await LiveView.open(desk)
  for (let id = 0; id < 2; id += 1) {
    for (let call = 0; call < 20; call += 1) {
      expect(isHeard()).toBe(true)
      await get(`/products/${call}`)
    }
    expect(isHeard()).toBe(false)
    await get('/products/1')
    const [report] = await view.read()
    expect(report?.events.filter(({ kind }) => kind === 'lookup')).toHaveLength(20)
  }
  await get('/products/1')
  view.close()
  expect(isHeard()).toBe(false)
  expect(desk.reporter.report().events).toEqual([])
})

test('with `operate: false` a process says nothing', async () => {
  const { desk, get } = await open('redis', { operate: false })
  await get('/products/1')
  expect((await reportsNow(desk)).reports).toEqual([])
})

test.each(['sliding-window', 'fixed-window', 'token-bucket'] as const)(
  'the state of a limit is read as its script wrote it: %s',
  async (algorithm) => {
    const prefix = `operate-${randomUUID().slice(0, 8)}`
    const redis = createRedis({ url: server.url, prefix, ...patient })
    onTestFinished(() => redis.close())
    await redis.connect()
    const limiter = redis.rateLimiter('l', { rate: ['5/minute', '100/hour'], algorithm, ban: { after: 2, for: '1h' } })
    for (let hit = 0; hit < 3; hit += 1) await limiter.hit('a')
    const read = async () => (await listLimits(redis, {})).items[0]
    const used = algorithm === 'token-bucket' ? undefined : 3
    expect(await read()).toMatchObject({
      scope: 'l',
      identity: 'a',
      algorithm,
      bannedForMs: 0,
      windows: [{ used }, { used }],
    })
    await limiter.block('a', '1h')
    expect((await read())?.bannedForMs).toBeGreaterThan(3_500_000)
  },
)

test('bytes that are no state of a limit are none', () => {
  for (const bytes of [[], [9, 0], [1], [1, 1, 0], [1, 0, 1, 2, 3]])
    expect(decodeLimitState(Buffer.from(bytes), 0)).toBeUndefined()
})

test('names are read back as they were encoded', () => {
  for (const name of ['products', 'a b', 'ä!/{}*', '\u{1f600}', 'x:y=z'])
    expect([decodePart(encodePart(name)), groupName(encodeGroup(name))]).toEqual([name, { kind: 'group', name }])
  expect(groupName(namespaceGroup('my users'))).toEqual({ kind: 'namespace', name: 'my users' })
  expect(groupName('=/a').kind).toBe('path')
  expect(groupName('{shop:entry:/a}').kind).toBe('path')
  expect([groupName(''), groupName('{17}')].map(({ kind }) => kind)).toEqual(['prefix', 'prefix'])
})

test('bodies are decompressed and shown in part', async () => {
  const { desk, app } = await open('memory')
  await app.redis.scope.set(
    '/gz',
    {
      kind: 'response',
      flags: 0,
      status: 200,
      storedAt: Date.now(),
      freshUntil: Infinity,
      staleUntil: Infinity,
      errorUntil: Infinity,
      initialAgeMs: 0,
      groups: [''],
      headers: ['content-type', 'text/plain', 'content-encoding', 'gzip'],
      body: gzipSync('x'.repeat(300_000)),
    },
    Infinity,
  )
  const body = await showBody(desk, '/gz')
  expect(body).toMatchObject({ bytes: 300_000, truncated: true, isText: true })
  expect(body?.text.length).toBe(256 * 1024)
  expect((await showEntry(desk, '/gz'))?.freshForMs).toBeNull()
})

test('where no process knows a route, the routes of every process are named', async () => {
  const { app, desk } = await open('redis')
  const other = Fastify()
  onTestFinished(() => other.close())
  await other.register(redwell, { url: server.url, prefix: app.redis.settings.prefix, ...patient })
  other.get('/elsewhere', { config: { cache: { ttl: '1m' } } }, async () => '')
  await other.ready()
  await other.redis.connect()
  const said = await explain(desk, { url: '/nowhere' }).catch((error: Error) => error.message)
  expect(said).toContain('GET /products/:id')
  expect(said).toContain('GET /elsewhere')
})

test('two applications that cache routes under one prefix are told once, by name', async () => {
  const prefix = `named-${randomUUID().slice(0, 8)}`
  const start = async (application: string, logger = recordingLogger()) => {
    const app = await buildShop({ url: server.url, prefix, ...patient, application, logger })
    onTestFinished(() => app.close())
    await app.ready()
    await app.redis.connect()
    return logger
  }
  const told = (lines: readonly string[]) => lines.filter((line) => line.includes('applications'))
  const desk = createRedis({ url: server.url, prefix, ...patient, trustRestarts: true, operate: false })
  onTestFinished(() => desk.close())
  await desk.connect()
  const shop = await start('shop')
  const named = async () => String(await desk.connection?.inspect(['GET', desk.desk.application], undefined))
  await expect.poll(named, { timeout: 10_000 }).toBe('shop')
  const again = await start('shop')
  const billing = await start('billing')
  await expect.poll(() => told(billing.lines), { timeout: 10_000 }).toHaveLength(1)
  expect(told(billing.lines)[0]).toMatch(/'shop' and 'billing'.*`prefix`.*`application`/)
  expect([told(shop.lines), told(again.lines).filter((line) => line.includes("'billing'"))]).toEqual([[], []])
})
