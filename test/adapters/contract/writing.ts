import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { startRedis } from '../../support/redis-server.js'
import type { CacheEvictOptions, CacheOptions } from '../../../src/index.js'
import type { Bed } from '../contract.js'
import type { Call, Route } from '../host.js'

function products(): Route[] {
  const names = new Map([['1', 'one']])
  let runs = 0
  return [
    {
      method: 'GET',
      path: '/products/:id',
      cache: { ttl: '5m', group: 'products' },
      handler: ({ params: { id = '' } }) => {
        const name = names.get(id)
        return name === undefined
          ? { status: 404, json: { error: 'no such product' } }
          : { json: { id, name, runs: ++runs } }
      },
    },
    {
      method: 'PUT',
      path: '/products/:id',
      cachePut: { ttl: '5m', group: 'products' },
      handler: async (call) => {
        const { id = '' } = call.params
        const { name } = (await call.json()) as { name: string }
        names.set(id, name)
        return { json: { id, name } }
      },
    },
    {
      method: 'DELETE',
      path: '/products/:id',
      cacheEvict: { key: 'path', group: 'lists' },
      handler: ({ params: { id = '' } }) => {
        names.delete(id)
        return { status: 204 }
      },
    },
    {
      method: 'POST',
      path: '/clear',
      cacheEvict: { group: 'products' },
      handler: async (call) => {
        const { outcome } = (await call.json()) as { outcome: string }
        if (outcome === 'throw') throw new Error('not cleared')
        return outcome === 'refuse' ? { status: 409, text: 'no' } : 'done'
      },
    },
  ]
}

export function writing({ host, store, start, after }: Bed): void {
  test('a write-through is what the next GET is answered with', async () => {
    const { client, redis } = await start(products())
    await client.get('/products/1')
    const put = await client.ask('/products/1', { method: 'PUT', json: { name: 'uno' } })
    expect([put.status, put.text, put.cache]).toEqual([200, '{"id":"1","name":"uno"}', 'MISS'])
    const hit = await client.get('/products/1')
    expect([hit.cache, hit.status, hit.text]).toEqual(['HIT', 200, '{"id":"1","name":"uno"}'])
    expect(hit.headers['content-type']).toMatch(/^application\/json/)
    expect(hit.headers['etag']).toBeDefined()
    await redis.cache.deleteGroup('products')
    expect((await client.get('/products/1')).cache).toBe('MISS')
  })

  test('a delete evicts the path before its response is released', async () => {
    const { client } = await start(products())
    await client.get('/products/1')
    expect((await client.get('/products/1')).cache).toBe('HIT')
    const gone = await client.ask('/products/1', { method: 'DELETE' })
    expect([gone.status, gone.cache, gone.text]).toEqual([204, undefined, ''])
    expect((await client.get('/products/1')).status).toBe(404)
  })

  test.each(['refuse', 'throw'])('nothing is evicted when the handler answers with an error: %s', async (outcome) => {
    const { client } = await start(products())
    await client.get('/products/1')
    expect((await client.ask('/clear', { method: 'POST', json: { outcome } })).status).toBeGreaterThanOrEqual(400)
    expect((await client.get('/products/1')).cache).toBe('HIT')
    await client.ask('/clear', { method: 'POST', json: { outcome: 'done' } })
    expect((await client.get('/products/1')).cache).toBe('MISS')
  })

  test.each(['refuse', 'throw'])('a write-through whose handler fails stores nothing: %s', async (outcome) => {
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'read' },
      {
        method: 'PUT',
        path: '/x',
        cachePut: { ttl: 60 },
        handler: () => {
          if (outcome === 'throw') throw new Error('not written')
          return { status: 422, text: 'no' }
        },
      },
    ])
    expect((await client.ask('/x', { method: 'PUT' })).status).toBe(outcome === 'throw' ? 500 : 422)
    expect([(await client.get('/x')).text, (await client.get('/x')).cache]).toEqual(['read', 'HIT'])
  })

  test('a write may invalidate a group and store its own entry in it', async () => {
    const { client } = await start([
      { method: 'GET', path: '/a', cache: { ttl: 60, group: 'g' }, handler: () => 'a' },
      { method: 'GET', path: '/b', cache: { ttl: 60, group: 'g' }, handler: () => 'b' },
      {
        method: 'PUT',
        path: '/a',
        cachePut: { ttl: 60, group: 'g' },
        cacheEvict: { group: 'g' },
        handler: () => 'new a',
      },
    ])
    await client.get('/a')
    await client.get('/b')
    await client.ask('/a', { method: 'PUT' })
    const a = await client.get('/a')
    expect([a.cache, a.text, (await client.get('/b')).cache]).toEqual(['HIT', 'new a', 'MISS'])
  })

  test.runIf(store === 'redis')(
    'the first such write of a server that knows none of our scripts is stored',
    async () => {
      const server = await startRedis()
      after(() => server.close())
      const { client } = await start(
        [
          { method: 'GET', path: '/list', cache: { ttl: 60, group: 'lists' }, handler: () => 'list' },
          { method: 'GET', path: '/a', cache: { ttl: 60 }, handler: () => 'a' },
          {
            method: 'PUT',
            path: '/a',
            cachePut: { ttl: 60 },
            cacheEvict: { group: 'lists' },
            handler: () => 'new a',
          },
        ],
        { redis: { url: server.url } },
      )
      await client.get('/list')
      expect((await client.ask('/a', { method: 'PUT' })).cache).toBe('MISS')
      expect(await client.get('/a')).toMatchObject({ text: 'new a', cache: 'HIT' })
    },
  )

  test("a write-through that knows nothing of its path's variants ends them all, and they are made anew", async () => {
    let version = 1
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, vary: 'x-tenant' },
        handler: (call) => `${call.header('x-tenant')} ${version}`,
      },
      { method: 'PUT', path: '/x', cachePut: { ttl: 60 }, handler: () => `put ${++version}` },
    ])
    const ask = (tenant: string) => client.get('/x', { 'x-tenant': tenant })
    await ask('a')
    expect((await ask('a')).cache).toBe('HIT')
    await client.ask('/x', { method: 'PUT' })
    expect([(await ask('a')).text, (await ask('b')).text]).toEqual(['a 2', 'b 2'])
    expect([(await ask('a')).cache, (await ask('b')).cache]).toEqual(['HIT', 'HIT'])
  })

  test('keys and groups may come from the request and the result', async () => {
    const idOf = (result: { json(): unknown }) => (result.json() as { id: string }).id
    const { client } = await start([
      {
        method: 'GET',
        path: '/u/:id',
        cache: {
          ttl: 60,
          key: async (call) => ['user', call.params['id'] ?? ''],
          group: (call) => `user:${call.params['id']}`,
        },
        handler: ({ params }) => params['id'] ?? '',
      },
      {
        method: 'POST',
        path: '/by-key',
        cacheEvict: { key: (_, result) => ['user', idOf(result)] },
        handler: () => ({ json: { id: '1' } }),
      },
      {
        method: 'POST',
        path: '/by-group',
        cacheEvict: { group: async (_, result) => [`user:${idOf(result)}`] },
        handler: () => ({ json: { id: '2' } }),
      },
    ])
    for (const id of ['1', '2']) await client.get(`/u/${id}`)
    expect((await client.ask('/by-key', { method: 'POST' })).text).toBe('{"id":"1"}')
    expect([(await client.get('/u/1')).cache, (await client.get('/u/2')).cache]).toEqual(['MISS', 'HIT'])
    expect((await client.ask('/by-group', { method: 'POST' })).text).toBe('{"id":"2"}')
    expect([(await client.get('/u/1')).cache, (await client.get('/u/2')).cache]).toEqual(['HIT', 'MISS'])
  })

  const ENTRIES = [
    ['plain', {}],
    ['host', { host: true }],
    ['vary', { vary: 'accept-language' }],
    ['vary and host', { vary: 'accept-language', host: true }],
    ['per', { per: (call: Call) => call.header('x-user') ?? 'nobody' }],
    ['per and host', { per: (call: Call) => call.header('x-user') ?? 'nobody', host: true }],
  ] as readonly [string, Pick<CacheOptions<Call>, 'host' | 'vary' | 'per'>][]
  // On Redis the kind that has them all.
  describe.each(store === 'memory' ? ENTRIES : ENTRIES.slice(-1))(
    'the queries of a path, entries %s',
    (_kind, keyed) => {
      const { per, vary } = keyed
      const whose = { host: keyed.host, per } as Pick<CacheEvictOptions<Call>, 'host' | 'per'>
      const cache = { ttl: 60, host: keyed.host, vary, per } as CacheOptions<Call>

      test.each([
        ['a write that declares nothing', {}, '/x/1'],
        ['a write that declares nothing, with a query', {}, '/x/1?force=1'],
        ['cacheEvict of the path', { cacheEvict: { ...whose, key: 'path' } }, '/x/1'],
        ['cacheEvict of the path, with a query', { cacheEvict: { ...whose, key: 'path' } }, '/x/1?force=1'],
        ['cachePut', { cachePut: cache }, '/x/1'],
        ['cachePut, with a query', { cachePut: cache }, '/x/1?view=b'],
        ['deletePath', undefined, '/x/1'],
      ] as readonly [string, Pick<Route, 'cachePut' | 'cacheEvict'> | undefined, string][])(
        'end with %s',
        async (_, write, target) => {
          let state = 0
          const show = ({ params }: Call): string => `${params['id']} ${state}`
          const { client, redis } = await start([
            { method: 'GET', path: '/x/:id', cache, handler: show },
            { method: 'PUT', path: '/x/:id', ...write, handler: (call) => (state++, show(call)) },
          ])
          const paths = ['/x/1', '/x/1?view=a', '/x/1?view=b&page=2', '/x/1?', '/x/2?view=a']
          const ask = async () => {
            const replies = await Promise.all(paths.map((path) => client.get(path)))
            await redis.cache.settled()
            return replies
          }
          await ask()
          expect((await ask()).map((reply) => reply.cache)).toEqual(paths.map(() => 'HIT'))
          if (write === undefined) {
            state += 1
            await redis.cache.deletePath(target)
          } else await client.ask(target, { method: 'PUT' })
          const cachedNow = write?.cachePut === undefined ? 'MISS' : 'HIT'
          expect(await client.get(target)).toMatchObject({ cache: cachedNow, text: '1 1' })
          const replies = await ask()
          expect(replies.map(({ text }) => text)).toEqual(['1 1', '1 1', '1 1', '1 1', '2 0'])
          expect(replies.at(-1)?.cache).toBe('HIT')
        },
      )
    },
  )

  test('RFC 9111 4.4: a successful unsafe request invalidates its URI, whatever its route says', async () => {
    let fails = true
    const { client } = await start([
      { method: 'GET', path: '/p/:id', cache: { ttl: 60 }, handler: ({ params }) => `${params['id']}` },
      {
        method: 'POST',
        path: '/p/:id',
        handler: () => {
          if (fails) throw new Error('not written')
          return 'written'
        },
      },
      { method: 'PUT', path: '/p/:id', cacheEvict: { group: 'other' }, handler: () => 'written' },
    ])
    for (const id of ['1', '2']) await client.get(`/p/${id}`)
    expect((await client.ask('/p/1', { method: 'POST' })).status).toBe(500)
    expect((await client.get('/p/1')).cache).toBe('HIT')
    fails = false
    expect(await client.ask('/p/1', { method: 'POST' })).toMatchObject({ text: 'written', cache: undefined })
    expect([(await client.get('/p/1')).cache, (await client.get('/p/2')).cache]).toEqual(['MISS', 'HIT'])
    expect((await client.ask('/p/2', { method: 'PUT' })).text).toBe('written')
    expect([(await client.get('/p/1')).cache, (await client.get('/p/2')).cache]).toEqual(['HIT', 'MISS'])
  })

  test('groups that only the handler knows invalidate its entry too', async () => {
    const { client, redis } = await start([
      {
        method: 'GET',
        path: '/helper',
        cache: { ttl: 60, group: 'own' },
        handler: (call) => {
          call.cacheGroups('late', 'later')
          return 'x'
        },
      },
      {
        method: 'GET',
        path: '/field',
        cache: { ttl: 60 },
        handler: () => ({ headers: [['cache-groups', '"late", "other"']], text: 'y' }),
      },
    ])
    const caches = async () => [(await client.get('/helper')).cache, (await client.get('/field')).cache]
    expect([await caches(), await caches()]).toEqual([
      ['MISS', 'MISS'],
      ['HIT', 'HIT'],
    ])
    await redis.cache.deleteGroup('late')
    expect(await caches()).toEqual(['MISS', 'MISS'])
    await redis.cache.deleteGroup('own')
    expect(await caches()).toEqual(['MISS', 'HIT'])
  })

  test('the helper for groups harms no route without a cache', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        handler: (call) => {
          call.cacheGroups('g')
          return 'x'
        },
      },
    ])
    expect(await client.get('/x')).toMatchObject({ status: 200, text: 'x', cache: undefined })
  })

  test('soft eviction serves what is stale while it is refreshed', async () => {
    let runs = 0
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, group: 'g', staleWhileRevalidate: 60 },
        handler: () => `run ${++runs}`,
      },
      { method: 'POST', path: '/touch', cacheEvict: { group: 'g', mode: 'soft' }, handler: () => 'ok' },
    ])
    await client.get('/x')
    await client.ask('/touch', { method: 'POST' })
    await client.get('/x')
    await expect.poll(async () => (await client.get('/x')).text).toBe('run 2')
  })

  test.each([100, 5000, 100_000])(
    'a streamed answer of %i bytes behind compression ends after the invalidation',
    async (size) => {
      async function* pieces(): AsyncGenerator<string> {
        yield 'x'.repeat(size)
      }
      const { client } = await start(
        [
          { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'x' },
          {
            method: 'PUT',
            path: '/x',
            cacheEvict: { group: 'g' },
            handler: () => ({ headers: [['content-type', 'text/plain']], stream: pieces() }),
          },
        ],
        { compression: 'outside' },
      )
      const { status, bytes } = await client.ask('/x', { method: 'PUT', headers: { 'accept-encoding': 'gzip' } })
      const text = bytes[0] === 0x1f ? gunzipSync(bytes).toString() : bytes.toString()
      expect([status, text.length]).toEqual([200, size])
    },
  )

  const soft = { group: 'g', mode: 'soft' } as const
  test.each([
    ['in the group', { cacheEvict: soft }, 'g', 'MISS'],
    ['outside of it', { cacheEvict: soft }, 'other', 'MISS'],
    ['named itself', { cacheEvict: { key: 'path', mode: 'soft' } }, 'g', 'HIT'],
    ['written through', { cacheEvict: soft, cachePut: { ttl: 60, group: 'g' } }, 'g', 'HIT'],
    ['not written through', { cacheEvict: soft, cachePut: { ttl: 60, storeWhen: () => false } }, 'g', 'MISS'],
  ] as const)(
    'a soft eviction makes others stale; the own path, %s, is as after any write',
    async (_, options, group, own) => {
      let value = 'old'
      const stale = { ttl: 60, staleWhileRevalidate: 60 }
      const { client } = await start([
        { method: 'GET', path: '/x', cache: { ...stale, group }, handler: () => value },
        { method: 'GET', path: '/list', cache: { ...stale, group: 'g' }, handler: () => `list ${value}` },
        {
          method: 'PUT',
          path: '/x',
          ...options,
          handler() {
            value = 'new'
            return value
          },
        },
      ])
      await client.get('/x')
      await client.get('/list')
      await client.ask('/x', { method: 'PUT' })
      const isNamed = 'key' in options.cacheEvict
      expect(await client.get('/x')).toMatchObject({
        cache: own,
        text: isNamed && host.traits.refreshes ? 'old' : 'new',
      })
      const list = isNamed || host.traits.refreshes ? 'list old' : 'list new'
      expect((await client.get('/list')).text).toBe(list)
    },
  )

  test('a write may evict more groups than an entry can have', async () => {
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60, group: 'g199' }, handler: () => 'x' },
      {
        method: 'POST',
        path: '/many',
        cacheEvict: { group: () => Array.from({ length: 200 }, (_, index) => `g${index}`) },
        handler: () => 'ok',
      },
    ])
    await client.get('/x')
    expect((await client.get('/x')).cache).toBe('HIT')
    expect((await client.ask('/many', { method: 'POST' })).status).toBe(200)
    expect((await client.get('/x')).cache).toBe('MISS')
  })

  test('a write through stores no field that was set before its handler', async () => {
    let count = 0
    const { client } = await start(
      [
        { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'old' },
        { method: 'PUT', path: '/x', cachePut: { ttl: 60 }, handler: () => 'new' },
      ],
      {
        ambient: () => [
          ['x-request-id', `id-${++count}`],
          ['set-cookie', `seen=${count}`],
        ],
      },
    )
    const put = await client.ask('/x', { method: 'PUT' })
    const got = await client.get('/x')
    expect(got).toMatchObject({ text: 'new', cache: 'HIT' })
    for (const name of ['x-request-id', 'set-cookie']) {
      expect(got.headers[name]).toBeDefined()
      expect(got.headers[name]).not.toEqual(put.headers[name])
    }
  })
}
