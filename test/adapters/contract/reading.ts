import type { RedisClientType } from '@redis/client'
import { expect, test } from 'vitest'
import type { Bed } from '../contract.js'
import type { Reply } from '../client.js'
import type { Route } from '../host.js'

function counting(): Route[] {
  let runs = 0
  return [
    {
      method: 'GET',
      path: '/items/:id',
      cache: { ttl: '1m', group: 'items' },
      handler: ({ params }) => ({ json: { id: params['id'], runs: ++runs } }),
    },
  ]
}

/** Names of lines that a server adds of its own. */
const BY_SERVER = new Set(['date', 'connection', 'keep-alive'])

function own({ lines }: Reply): (readonly [string, string])[] {
  return lines.filter(([name]) => !BY_SERVER.has(name) && name !== 'x-redis-cache' && name !== 'cache-control')
}

/** What a disk, another program or another version may leave under a key. */
const DAMAGE: Readonly<Record<string, (client: RedisClientType, key: string) => Promise<unknown>>> = {
  'has another format': (client, key) => client.setRange(key, 0, String.fromCodePoint(9)),
  'is cut off in its head': (client, key) => cut(client, key, 40),
  'is cut off in its fields': (client, key) => cut(client, key, 90),
  'has lost its last byte': (client, key) => cut(client, key, -2),
  'is longer than it says': (client, key) => client.append(key, 'x'),
  'is a text': (client, key) => client.set(key, 'garbage'),
  'is empty': (client, key) => client.set(key, ''),
  'is a list': async (client, key) => {
    await client.del(key)
    return client.rPush(key, 'x')
  },
}

function cut(client: RedisClientType, key: string, last: number): Promise<unknown> {
  const script = "return redis.call('SET', KEYS[1], string.sub(redis.call('GET', KEYS[1]), 1, ARGV[1]), 'KEEPTTL')"
  return client.eval(script, { keys: [key], arguments: [String(last)] })
}

export function reading({ host, start, store }: Bed): void {
  test.runIf(store === 'redis').each(Object.entries(DAMAGE))(
    'an entry that %s is a miss, and is replaced',
    async (_, damage) => {
      const { client, redis } = await start(counting())
      await client.get('/items/1')
      await redis.cache.settled()
      const { key = '', outcome } = await redis.cache.explain({ url: '/items/1' })
      expect(outcome).toBe('hit')
      await damage(redis.client as RedisClientType, key)
      const replies = [await client.get('/items/1')]
      await redis.cache.settled()
      replies.push(await client.get('/items/1'))
      expect(replies.map(({ status, cache, text }) => [status, cache, text])).toEqual([
        [200, 'MISS', '{"id":"1","runs":2}'],
        [200, 'HIT', '{"id":"1","runs":2}'],
      ])
    },
  )

  test('is a MISS, then a HIT with the same status, bytes and lines in the same order', async () => {
    const { client } = await start(counting())
    const miss = await client.get('/items/1')
    const hit = await client.get('/items/1')
    expect([miss.cache, hit.cache, hit.status]).toEqual(['MISS', 'HIT', 200])
    expect(hit.bytes).toEqual(miss.bytes)
    expect(own(hit)).toEqual(own(miss))
    expect(hit.lines.map(([name]) => name)).toEqual(miss.lines.map(([name]) => name))
    expect(miss.headers['cache-control']).toBe('max-age=60')
    expect(miss.headers['etag']).toMatch(/^W\/"/)
    expect(miss.headers['content-type']).toMatch(/^application\/json/)
    expect(miss.headers['content-length']).toBe(String(miss.bytes.length))
  })

  test('other paths and queries are other entries, the order of a query is not', async () => {
    const { client } = await start(counting())
    await client.get('/items/1?a=1&b=2')
    expect((await client.get('/items/1?b=2&a=1')).cache).toBe('HIT')
    for (const path of ['/items/1?a=1', '/items/1?a=1&a=1', '/items/1', '/items/2?a=1&b=2', '/items/1%3Fa=1&b=2'])
      expect((await client.get(path)).cache).toBe('MISS')
  })

  test('equivalent spellings of a path share an entry, and a reserved character is not its encoded form', async () => {
    const { client } = await start(counting())
    await client.get('/items/a~b')
    expect((await client.get('/items/a%7Eb')).cache).toBe('HIT')
    expect((await client.get('/items/a%7eb')).cache).toBe('HIT')
    await client.get('/items/a;b')
    expect((await client.get('/items/a%3Bb')).cache).toBe('MISS')
  })

  test.each([
    ['the tag', (etag: string) => etag],
    ['a list with the tag', (etag: string) => `"x", ${etag}`],
    ['the tag as a strong one', (etag: string) => etag.slice(2)],
    ['*', () => '*'],
  ])('RFC 9110 13.1.2: answers 304 to If-None-Match with %s', async (_, condition) => {
    const { client } = await start(counting())
    const { headers } = await client.get('/items/1')
    const answer = await client.get('/items/1', { 'if-none-match': condition(String(headers['etag'])) })
    expect([answer.status, answer.cache, answer.text]).toEqual([304, 'HIT', ''])
    expect([answer.headers['content-type'], answer.headers['content-length']]).toEqual([undefined, undefined])
    expect(answer.headers['etag']).toBe(headers['etag'])
    expect(answer.headers['cache-control']).toMatch(/^max-age=(60|59)$/)
  })

  test('RFC 9110 13.1.3: answers 304 to If-Modified-Since by the Last-Modified of the handler', async () => {
    const modified = 'Tue, 15 Nov 1994 12:45:26 GMT'
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: () => ({ headers: [['last-modified', modified]], text: 'x' }),
      },
    ])
    await client.get('/x')
    expect((await client.get('/x', { 'if-modified-since': modified })).status).toBe(304)
    expect((await client.get('/x', { 'if-modified-since': 'Tue, 15 Nov 1994 12:45:25 GMT' })).status).toBe(200)
  })

  test('the handler of a miss sees no condition; its answer is stored, and the client is answered with 304', async () => {
    const { client, redis } = await start([
      {
        method: 'GET',
        path: '/seen',
        cache: { ttl: 60 },
        handler: (call) => ({
          json: { tag: call.header('if-none-match') ?? null, since: call.header('if-modified-since') ?? null },
        }),
      },
    ])
    const first = await client.get('/seen', {
      'if-none-match': '"other"',
      'if-modified-since': new Date().toUTCString(),
    })
    expect([first.status, first.cache, first.text]).toEqual([200, 'MISS', '{"tag":null,"since":null}'])
    const tag = String((await client.get('/seen')).headers['etag'])
    await redis.cache.clear()
    const again = await client.get('/seen', { 'if-none-match': tag })
    expect([again.status, again.cache, again.text]).toEqual([304, 'MISS', ''])
    expect((await client.get('/seen')).cache).toBe('HIT')
  })

  test("a tag of the handler's own is kept", async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: () => ({ headers: [['etag', '"mine"']], text: 'x' }),
      },
    ])
    const miss = await client.get('/x')
    const hit = await client.get('/x')
    expect([miss.headers['etag'], hit.headers['etag'], hit.cache]).toEqual(['"mine"', '"mine"', 'HIT'])
    expect((await client.get('/x', { 'if-none-match': '"mine"' })).status).toBe(304)
  })

  test('no-store bypasses, no-cache runs the handler and stores, max-age limits the age', async () => {
    let now = Date.now()
    const { client, redis } = await start(counting(), { redis: { now: () => now } })
    await client.get('/items/1')
    // Beside a response that is still being stored, a request that wants a newer one is not stored.
    await redis.cache.settled()
    expect((await client.get('/items/1', { 'cache-control': 'no-store' })).cache).toBe('BYPASS')
    expect((await client.get('/items/1', { 'cache-control': 'no-cache' })).cache).toBe('MISS')
    const refreshed = await client.get('/items/1')
    expect([refreshed.cache, JSON.parse(refreshed.text)]).toEqual(['HIT', { id: '1', runs: 3 }])
    now += 10_000
    expect((await client.get('/items/1', { 'cache-control': 'max-age=20' })).cache).toBe('HIT')
    expect((await client.get('/items/1', { 'cache-control': 'max-age=5' })).cache).toBe('MISS')
  })

  test('RFC 9111 5.2.1.7: only-if-cached never runs the handler', async () => {
    const { client } = await start(counting())
    expect((await client.get('/items/1', { 'cache-control': 'only-if-cached' })).status).toBe(504)
    expect(JSON.parse((await client.get('/items/1')).text)).toMatchObject({ runs: 1 })
    expect((await client.get('/items/1', { 'cache-control': 'only-if-cached' })).cache).toBe('HIT')
  })

  test('tells the lifetime that is left, and ends with it', async () => {
    let now = Date.now()
    const { client } = await start(counting(), { redis: { now: () => now } })
    await client.get('/items/1')
    now += 15_000
    expect((await client.get('/items/1')).headers['cache-control']).toBe('max-age=45')
    now += 45_000
    expect((await client.get('/items/1')).cache).toBe('MISS')
  })

  test('ttl 0 keeps an entry until it is evicted and says no-cache', async () => {
    const { client, redis } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 0, group: 'g' }, handler: () => 'x' },
    ])
    expect((await client.get('/x')).headers['cache-control']).toBe('no-cache')
    expect((await client.get('/x')).cache).toBe('HIT')
    await redis.cache.deleteGroup('g')
    expect((await client.get('/x')).cache).toBe('MISS')
  })

  test('a lifetime of the handler counts where the route declares none (RFC 9111 4.2.1)', async () => {
    let now = Date.now()
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/h',
          cache: {},
          handler: () => ({ headers: [['cache-control', 'public, max-age=30']], text: 'x' }),
        },
      ],
      { redis: { now: () => now } },
    )
    await client.get('/h')
    now += 10_000
    const hit = await client.get('/h')
    expect([hit.cache, hit.headers['cache-control'], hit.headers['age']]).toEqual(['HIT', 'public, max-age=30', '10'])
    now += 25_000
    expect((await client.get('/h')).cache).toBe('MISS')
  })

  test('statuses other than 200 are kept where the route says so, with their status', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/gone',
        cache: { ttl: { 404: '10s', 204: '10s' } },
        handler: () => ({ status: 404, json: { error: 'no such thing' } }),
      },
      { method: 'GET', path: '/empty', cache: { ttl: { 204: '10s' } }, handler: () => ({ status: 204 }) },
      { method: 'GET', path: '/other', cache: { ttl: 60 }, handler: () => ({ status: 404, text: 'no' }) },
    ])
    for (const cache of ['MISS', 'HIT']) {
      const gone = await client.get('/gone')
      expect([gone.status, gone.text, gone.cache]).toEqual([404, '{"error":"no such thing"}', cache])
      const empty = await client.get('/empty')
      expect([empty.status, empty.text, empty.cache]).toEqual([204, '', cache])
      expect((await client.get('/other')).cache).toBe('BYPASS')
    }
  })

  test('RFC 9110 9.3.2: HEAD is answered from the GET, and stores nothing', async () => {
    const { client } = await start(counting())
    const cold = await client.ask('/items/1', { method: 'HEAD' })
    expect([cold.status, cold.cache]).toEqual([200, 'BYPASS'])
    const miss = await client.get('/items/1')
    expect(miss.cache).toBe('MISS')
    const head = await client.ask('/items/1', { method: 'HEAD' })
    expect([head.status, head.cache, head.text]).toEqual([200, 'HIT', ''])
    expect(head.headers['content-length']).toBe(String(miss.bytes.length))
    expect(head.headers['etag']).toBe(miss.headers['etag'])
    const same = await client.ask('/items/1', {
      method: 'HEAD',
      headers: { 'if-none-match': String(miss.headers['etag']) },
    })
    expect(same.status).toBe(304)
  })

  test('RFC 9110 14.2: a range of a stored answer is cut from it, one outside it is 416', async () => {
    const { client } = await start([{ method: 'GET', path: '/r', cache: { ttl: 60 }, handler: () => '0123456789' }])
    await client.get('/r')
    const part = await client.get('/r', { range: 'bytes=2-4' })
    expect([part.status, part.text, part.headers['content-range'], part.cache]).toEqual([
      206,
      '234',
      'bytes 2-4/10',
      'HIT',
    ])
    expect(part.headers['content-length']).toBe('3')
    expect((await client.get('/r', { range: 'bytes=50-' })).status).toBe(416)
  })

  test('a range that misses is for the handler, and what it answers is not stored', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/r',
        cache: { ttl: 60 },
        handler: (call) =>
          call.header('range') === undefined
            ? '0123456789'
            : { status: 206, headers: [['content-range', 'bytes 2-4/10']], text: '234' },
      },
    ])
    const part = await client.get('/r', { range: 'bytes=2-4' })
    expect([part.status, part.text, part.cache]).toEqual([206, '234', 'BYPASS'])
    expect([(await client.get('/r')).cache, (await client.get('/r')).text]).toEqual(['MISS', '0123456789'])
  })

  test('RFC 9211: Cache-Status tells what the cache did, where it is switched on', async () => {
    const { client } = await start([
      { method: 'GET', path: '/s', cache: { ttl: 60, cacheStatus: 'shop' }, handler: () => 'x' },
    ])
    expect((await client.get('/s')).headers['cache-status']).toBe('shop; fwd=uri-miss; stored')
    expect((await client.get('/s')).headers['cache-status']).toMatch(/^shop; hit; ttl=(59|60)$/)
  })

  test('one handler run answers all who ask at once', async () => {
    let runs = 0
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: async () => {
          runs += 1
          await held
          return `run ${runs}`
        },
      },
    ])
    const asking = Array.from({ length: 8 }, () => client.get('/x'))
    await expect.poll(() => runs).toBe(1)
    release()
    const answers = await Promise.all(asking)
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['run 1']))
    expect(answers.filter(({ cache }) => cache === 'MISS')).toHaveLength(1)
    expect(answers.filter(({ cache }) => cache === 'HIT')).toHaveLength(7)
    expect(runs).toBe(1)
  })

  test('a switched-off route runs its handler each time', async () => {
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60, enabled: false }, handler: () => 'x' },
    ])
    expect([(await client.get('/x')).cache, (await client.get('/x')).cache]).toEqual(['BYPASS', 'BYPASS'])
  })

  test('`defaults` switch all routes off that do not switch themselves on', async () => {
    const { client } = await start(
      [
        { method: 'GET', path: '/off', cache: { ttl: 60 }, handler: () => 'x' },
        { method: 'GET', path: '/on', cache: { ttl: 60, enabled: true }, handler: () => 'x' },
        { method: 'PUT', path: '/off', cachePut: { ttl: 60 }, handler: () => 'y' },
      ],
      { redis: { defaults: { enabled: false } } },
    )
    await client.ask('/off', { method: 'PUT' })
    const caches = async (path: string) => [(await client.get(path)).cache, (await client.get(path)).cache]
    expect(await caches('/off')).toEqual(['BYPASS', 'BYPASS'])
    expect(await caches('/on')).toEqual(['MISS', 'HIT'])
  })

  test(`${host.name}: a HIT is not the handler's business`, async () => {
    let runs = 0
    const { client } = await start([{ method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => `run ${++runs}` }])
    for (let round = 0; round < 5; round += 1) expect((await client.get('/x')).text).toBe('run 1')
    expect(runs).toBe(1)
  })
}
