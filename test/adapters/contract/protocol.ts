import { expect, test } from 'vitest'
import type { Bed } from '../contract.js'
import type { Line, Route } from '../host.js'

/** HTTP rules whose faults showed at the adapters: what they send is what the rules decided. */
export function protocol({ start }: Bed): void {
  const get = (cache: Route['cache'], handler: Route['handler'], path = '/x'): Route => ({
    method: 'GET',
    path,
    handler,
    ...(cache && { cache }),
  })

  test.each(['no-store', 'no-cache'])(
    'RFC 9111 5.2.1.7: only-if-cached with %s does not run the handler',
    async (also) => {
      let runs = 0
      const { client } = await start([get({ ttl: 60 }, () => `run ${(runs += 1)}`)])
      const asked = { 'cache-control': `only-if-cached, ${also}` }
      expect([(await client.get('/x', asked)).status, runs]).toEqual([504, 0])
      expect((await client.get('/x', { ...asked, 'if-match': '"v"' })).status).toBe(504)
      expect(runs).toBe(0)
    },
  )

  test('the handshake of a WebSocket goes to the handler; a client that offers h2c is answered as usual', async (context) => {
    let runs = 0
    const { client, protocol: spoken = 'http/1.1' } = await start([get({ ttl: 60 }, () => `run ${(runs += 1)}`)])
    // HTTP/2 has no Upgrade.
    if (spoken !== 'http/1.1') return context.skip()
    const upgrading = (to: string) => client.get('/x', { connection: 'upgrade', upgrade: to })
    expect((await upgrading('websocket')).text).toBe('run 1')
    expect(await client.get('/x')).toMatchObject({ text: 'run 2', cache: 'MISS' })
    for (const to of ['websocket', 'WebSocket', 'h2c, websocket']) {
      // Twice, because the answer to a request that was seen before is remembered.
      expect((await client.get('/x')).cache).toBe('HIT')
      expect((await upgrading(to)).cache).not.toBe('HIT')
    }
    expect(await upgrading('h2c')).toMatchObject({ text: 'run 2', cache: 'HIT' })
    return undefined
  })

  test("a handler's own 503 is sent as it is, though its entry must be validated", async () => {
    let down = false
    const { client } = await start([
      get({}, () =>
        down
          ? { status: 503, headers: [['Retry-After', '30']], text: 'maintenance' }
          : {
              headers: [
                ['Cache-Control', 'no-cache'],
                ['ETag', '"v1"'],
              ],
              text: 'up',
            },
      ),
    ])
    await client.get('/x')
    down = true
    const reply = await client.get('/x')
    expect([reply.status, reply.headers['retry-after'], reply.text]).toEqual([503, '30', 'maintenance'])
  })

  test('fields that the cache adds join those of the handler, on a miss and on a hit', async () => {
    const own: Line[] = [
      ['Vary', 'Accept-Encoding'],
      ['Cache-Status', 'origin; hit'],
      ['Cache-Groups', '"own"'],
    ]
    const cache = { ttl: 60, vary: 'x-tenant', cacheStatus: 'shop', emitCacheGroups: true, group: 'all' } as const
    const { client } = await start([get(cache, () => ({ headers: own, text: 'x' }))])
    for (const [word, status] of [
      ['MISS', 'origin; hit, shop; fwd=uri-miss; stored'],
      ['HIT', 'origin; hit, shop; hit; ttl='],
    ] as const) {
      const { cache: said, headers } = await client.get('/x')
      expect(said).toBe(word)
      expect(headers['vary']?.split(', ')).toEqual(['Accept-Encoding', 'x-tenant'])
      expect(headers['cache-status']).toContain(status)
      expect(headers['cache-groups']).toBe('"own", "all"')
    }
  })

  test('a stored response in place of a failed run is no hit in Cache-Status', async () => {
    let failing = false
    const { client } = await start(
      [
        get({ ttl: 60, staleIfError: 60, cacheStatus: 'shop' }, () => {
          if (failing) throw new Error('down')
          return 'x'
        }),
      ],
      { onError: () => ({ status: 500, text: 'failed' }) },
    )
    await client.get('/x')
    failing = true
    const { status, headers } = await client.get('/x', { 'cache-control': 'no-cache' })
    expect([status, headers['cache-status']]).toEqual([
      200,
      expect.stringMatching(/^shop; fwd=request; .*stale-if-error$/),
    ])
  })

  test('RFC 9530: a part of a hit has no digest of the whole', async () => {
    const digests: Line[] = [
      ['Content-Digest', 'sha-256=:a:'],
      ['Repr-Digest', 'sha-256=:b:'],
    ]
    const { client } = await start([get({ ttl: 60 }, () => ({ headers: digests, text: '0123456789' }))])
    await client.get('/x')
    const { status, text, headers } = await client.get('/x', { range: 'bytes=2-3' })
    expect([status, text, headers['content-digest'], headers['repr-digest']]).toEqual([
      206,
      '23',
      undefined,
      'sha-256=:b:',
    ])
  })

  // Not to HEAD: Fastify's own HEAD routes add `Content-Length: 0` behind all hooks of the route.
  test('RFC 9110 8.6: a 204 has no Content-Length, as a miss and as a hit', async () => {
    const { client } = await start([get({ ttl: { 204: 60 } }, () => ({ status: 204 }))])
    for (const [method, word] of [
      ['GET', 'MISS'],
      ['GET', 'HIT'],
    ] as const) {
      const { status, cache, headers } = await client.ask('/x', { method })
      expect([status, cache, headers['content-length']]).toEqual([204, word, undefined])
    }
  })

  test('a 416 answers the Range of one client and is not stored for others', async () => {
    const { client } = await start([
      get({ preset: 'rfc9111' }, (call) => ({
        headers: [['Cache-Control', 'max-age=60']],
        ...(call.header('range') === undefined ? { text: 'page' } : { status: 416, text: '' }),
      })),
    ])
    expect((await client.get('/x', { range: 'bytes=999-' })).status).toBe(416)
    expect(await client.get('/x')).toMatchObject({ status: 200, text: 'page', cache: 'MISS' })
  })

  test("a miss of a route with its own lifetime sends neither the handler's Age nor its old Date", async () => {
    const old = new Date(Date.now() - 3_600_000).toUTCString()
    const aged: Line[] = [
      ['Age', '3600'],
      ['Date', old],
    ]
    const { client } = await start([get({ ttl: 60 }, () => ({ headers: aged, text: 'x' }))])
    for (const word of ['MISS', 'HIT']) {
      const { cache, headers } = await client.get('/x')
      expect([cache, headers['age']]).toEqual([word, undefined])
      expect(Date.parse(headers['date'] ?? '')).toBeGreaterThan(Date.parse(old))
    }
  })

  test('a redirect after a POST does not evict the page it leads to; a created resource is evicted', async () => {
    let runs = 0
    const { client } = await start([
      get({ ttl: 60 }, () => `home ${(runs += 1)}`, '/'),
      get({ ttl: { 200: 60, 404: 60 } }, ({ params }) => `${params['name']} ${(runs += 1)}`, '/items/:name'),
      { method: 'POST', path: '/form', handler: () => ({ status: 303, headers: [['Location', '/']] }) },
      {
        method: 'POST',
        path: '/items',
        handler: () => ({ status: 201, headers: [['Location', '/items/cafe']], text: '' }),
      },
    ])
    await client.get('/')
    await client.get('/items/cafe')
    await client.ask('/form', { method: 'POST' })
    expect((await client.get('/')).text).toBe('home 1')
    await client.ask('/items', { method: 'POST' })
    expect((await client.get('/items/cafe')).text).toBe('cafe 3')
  })

  test('a principal may be a number or a bigint', async () => {
    const { client } = await start([
      get(
        { ttl: 60, per: (call) => Number(call.header('x-user')) },
        (call) => `for ${call.header('x-user')}`,
        '/number',
      ),
      get(
        { ttl: 60, per: (call) => BigInt(call.header('x-user') ?? 0) },
        (call) => `for ${call.header('x-user')}`,
        '/big',
      ),
    ])
    for (const path of ['/number', '/big']) {
      for (const user of ['1', '2', '1']) expect((await client.get(path, { 'x-user': user })).text).toBe(`for ${user}`)
      expect((await client.get(path, { 'x-user': '2' })).cache).toBe('HIT')
    }
  })

  test('a target with a fragment is never answered from the cache, and a write to it is one to its path', async () => {
    let runs = 0
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => `run ${++runs}` },
      { method: 'PUT', path: '/x', cachePut: { ttl: 60 }, handler: () => 'put' },
      { method: 'DELETE', path: '/x', cacheEvict: { key: 'path' }, handler: () => 'gone' },
      { method: 'POST', path: '/x', handler: () => 'done' },
    ])
    for (const cache of ['BYPASS', 'BYPASS']) expect((await client.get('/x#q=1')).cache).toBe(cache)
    for (const method of ['PUT', 'DELETE', 'POST']) {
      await client.get('/x')
      expect((await client.get('/x')).cache).toBe('HIT')
      expect((await client.ask('/x#q=1', { method })).status).toBe(200)
      expect(await client.get('/x')).toMatchObject({ cache: 'MISS', text: `run ${runs}` })
    }
  })
}
