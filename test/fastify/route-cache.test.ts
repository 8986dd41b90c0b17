import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import redwell, { type RedwellFastifyOptions } from '../../src/fastify/index.js'
import { sharedRedis } from '../support/redis-server.js'

const apps: FastifyInstance[] = []
let server: Awaited<ReturnType<typeof sharedRedis>>

beforeAll(async () => {
  server = await sharedRedis()
})

afterAll(() => server.close())

describe.each(['memory', 'redis'])('on %s', (store) => {
  async function makeApp(
    declare: (app: FastifyInstance) => void,
    options: RedwellFastifyOptions = {},
  ): Promise<FastifyInstance> {
    const app = Fastify()
    apps.push(app)
    const where: RedwellFastifyOptions =
      store === 'memory'
        ? { url: 'memory:' }
        : { url: server.url, prefix: `test:${randomUUID()}`, commandTimeout: 5, connect: true }
    await app.register(redwell, { ...where, ...options })
    declare(app)
    await app.ready()
    return app
  }

  afterEach(async () => {
    await Promise.all(apps.splice(0).map((app) => app.close()))
  })

  async function get(app: FastifyInstance, url: string, headers: InjectOptions['headers'] = {}) {
    const answer = await app.inject({ method: 'GET', url, headers })
    return {
      status: answer.statusCode,
      cache: answer.headers['x-redis-cache'],
      body: answer.body,
      headers: answer.headers,
      raw: answer.rawPayload,
    }
  }

  describe('a cached GET', () => {
    function counting(app: FastifyInstance): void {
      let runs = 0
      app.get<{ Params: { id: string } }>(
        '/items/:id',
        { config: { cache: { ttl: '1m', group: 'items' } } },
        async (request) => ({ id: request.params.id, runs: ++runs }),
      )
    }

    test('is a MISS, then a HIT with the same bytes, status and fields', async () => {
      const app = await makeApp(counting)
      const miss = await get(app, '/items/1')
      const hit = await get(app, '/items/1')
      expect([miss.cache, hit.cache]).toEqual(['MISS', 'HIT'])
      expect(hit.raw).toEqual(miss.raw)
      expect(hit.headers['content-type']).toBe(miss.headers['content-type'])
      expect(hit.headers.etag).toBe(miss.headers.etag)
      expect(Object.keys(hit.headers).filter((name) => name !== 'date')).toEqual(
        Object.keys(miss.headers).filter((name) => name !== 'date'),
      )
      expect(miss.headers['cache-control']).toBe('max-age=60')
    })

    test('other paths and queries are other entries, the order of a query is not', async () => {
      const app = await makeApp(counting)
      await get(app, '/items/1?a=1&b=2')
      expect((await get(app, '/items/1?b=2&a=1')).cache).toBe('HIT')
      expect((await get(app, '/items/1?a=1')).cache).toBe('MISS')
      expect((await get(app, '/items/2?a=1&b=2')).cache).toBe('MISS')
    })

    test.each([
      ['the tag', (etag: string) => etag],
      ['a list with the tag', (etag: string) => `"x", ${etag}`],
      ['the tag as a strong one', (etag: string) => etag.slice(2)],
      ['*', () => '*'],
    ])('RFC 9110 13.1.2: answers 304 to If-None-Match with %s', async (_, condition) => {
      const app = await makeApp(counting)
      const { headers } = await get(app, '/items/1')
      const answer = await get(app, '/items/1', { 'if-none-match': condition(String(headers.etag)) })
      expect([answer.status, answer.cache, answer.body]).toEqual([304, 'HIT', ''])
      expect(answer.headers['content-type']).toBeUndefined()
      expect(answer.headers.etag).toBe(headers.etag)
    })

    test('a conditional request that misses is still stored, and answered with 304', async () => {
      const app = await makeApp(counting)
      const { headers } = await get(app, '/items/1')
      await app.cache.deleteGroup('items')
      const other = await makeApp((fresh) => {
        fresh.get('/seen', { config: { cache: { ttl: 60 } } }, async (request) => ({
          seen: request.headers['if-none-match'] ?? null,
        }))
      })
      const first = await get(other, '/seen', { 'if-none-match': '"other"' })
      expect([first.status, first.cache, first.body]).toEqual([200, 'MISS', '{"seen":null}'])
      const tag = String((await get(other, '/seen')).headers.etag)
      await other.cache.clear()
      const again = await get(other, '/seen', { 'if-none-match': tag })
      expect([again.status, again.cache]).toEqual([304, 'MISS'])
      expect((await get(other, '/seen')).cache).toBe('HIT')
      expect(headers.etag).toBeDefined()
    })

    test('no-store bypasses, no-cache runs the handler and stores, max-age limits the age', async () => {
      let now = Date.now()
      const app = await makeApp(counting, { now: () => now })
      await get(app, '/items/1')
      expect((await get(app, '/items/1', { 'cache-control': 'no-store' })).cache).toBe('BYPASS')
      expect((await get(app, '/items/1', { 'cache-control': 'no-cache' })).cache).toBe('MISS')
      const refreshed = await get(app, '/items/1')
      expect([refreshed.cache, JSON.parse(refreshed.body)]).toEqual(['HIT', { id: '1', runs: 3 }])
      now += 10_000
      expect((await get(app, '/items/1', { 'cache-control': 'max-age=20' })).cache).toBe('HIT')
      expect((await get(app, '/items/1', { 'cache-control': 'max-age=5' })).cache).toBe('MISS')
    })

    test('tells the lifetime that is left, and ends with it', async () => {
      let now = Date.now()
      const app = await makeApp(counting, { now: () => now })
      await get(app, '/items/1')
      now += 15_000
      expect((await get(app, '/items/1')).headers['cache-control']).toBe('max-age=45')
      now += 45_000
      expect((await get(app, '/items/1')).cache).toBe('MISS')
    })

    test('ttl 0 keeps an entry until it is evicted and says no-cache', async () => {
      const app = await makeApp((fresh) =>
        fresh.get('/x', { config: { cache: { ttl: 0, group: 'g' } } }, async () => 'x'),
      )
      expect((await get(app, '/x')).headers['cache-control']).toBe('no-cache')
      expect((await get(app, '/x')).cache).toBe('HIT')
      await app.cache.deleteGroup('g')
      expect((await get(app, '/x')).cache).toBe('MISS')
    })

    test('RFC 9110 9.3.2: HEAD is answered from the GET, and stores nothing', async () => {
      const app = await makeApp(counting)
      const cold = await app.inject({ method: 'HEAD', url: '/items/1' })
      expect([cold.statusCode, cold.headers['x-redis-cache']]).toEqual([200, 'BYPASS'])
      const miss = await get(app, '/items/1')
      expect(miss.cache).toBe('MISS')
      const head = await app.inject({ method: 'HEAD', url: '/items/1' })
      expect([head.headers['x-redis-cache'], head.body, head.headers['content-length']]).toEqual([
        'HIT',
        '',
        String(miss.raw.length),
      ])
    })

    test('RFC 9110 14.2: a range of a stored answer is cut from it, one outside it is 416', async () => {
      const app = await makeApp((fresh) =>
        fresh.get('/r', { config: { cache: { ttl: 60 } } }, async (_, reply) =>
          reply.type('text/plain').send('0123456789'),
        ),
      )
      await get(app, '/r')
      const part = await get(app, '/r', { range: 'bytes=2-4' })
      expect([part.status, part.body, part.headers['content-range'], part.cache]).toEqual([
        206,
        '234',
        'bytes 2-4/10',
        'HIT',
      ])
      expect((await get(app, '/r', { range: 'bytes=50-' })).status).toBe(416)
    })

    test('RFC 9111 5.2.1.7: only-if-cached never runs the handler', async () => {
      const app = await makeApp(counting)
      expect((await get(app, '/items/1', { 'cache-control': 'only-if-cached' })).status).toBe(504)
      expect(JSON.parse((await get(app, '/items/1')).body)).toMatchObject({ runs: 1 })
      expect((await get(app, '/items/1', { 'cache-control': 'only-if-cached' })).cache).toBe('HIT')
    })

    test('RFC 9211: Cache-Status tells what the cache did, where it is switched on', async () => {
      const app = await makeApp((fresh) =>
        fresh.get('/s', { config: { cache: { ttl: 60, cacheStatus: 'shop' } } }, async () => 'x'),
      )
      expect((await get(app, '/s')).headers['cache-status']).toBe('shop; fwd=uri-miss; stored')
      expect((await get(app, '/s')).headers['cache-status']).toMatch(/^shop; hit; ttl=(59|60)$/)
    })

    test('a lifetime of the handler counts where the route declares none (RFC 9111 4.2.1)', async () => {
      let now = Date.now()
      const app = await makeApp(
        (fresh) =>
          fresh.get('/h', { config: { cache: {} } }, async (_, reply) =>
            reply.header('cache-control', 'public, max-age=30').send('x'),
          ),
        { now: () => now },
      )
      await get(app, '/h')
      now += 10_000
      const hit = await get(app, '/h')
      expect([hit.cache, hit.headers['cache-control'], hit.headers.age]).toEqual(['HIT', 'public, max-age=30', '10'])
      now += 25_000
      expect((await get(app, '/h')).cache).toBe('MISS')
    })

    test('binary bodies and repeated fields come back as they were', async () => {
      const bytes = Buffer.from([0, 1, 255, 254, 10, 13])
      const app = await makeApp((fresh) =>
        fresh.get('/b', { config: { cache: { ttl: 60 } } }, async (_, reply) =>
          reply.type('image/png').header('x-two', ['1', '2']).send(bytes),
        ),
      )
      const miss = await get(app, '/b')
      const hit = await get(app, '/b')
      expect(hit.raw).toEqual(bytes)
      expect([hit.cache, hit.headers['x-two'], hit.headers['content-type']]).toEqual([
        'HIT',
        miss.headers['x-two'],
        'image/png',
      ])
    })

    test('a stream is passed on while it is captured, and then a HIT', async () => {
      const app = await makeApp((fresh) =>
        fresh.get('/s', { config: { cache: { ttl: 60 } } }, async (_, reply) =>
          reply.type('text/plain').send(Readable.from(['one ', 'two'])),
        ),
      )
      const miss = await get(app, '/s')
      const hit = await get(app, '/s')
      expect([miss.body, miss.cache, hit.body, hit.cache]).toEqual(['one two', 'MISS', 'one two', 'HIT'])
    })

    test('fields that were set before the handler ran belong to the answer, not to the entry', async () => {
      const app = await makeApp((fresh) => {
        fresh.addHook('onRequest', async (request, reply) => void reply.header('x-request-id', request.id))
        fresh.get('/x', { config: { cache: { ttl: 60 } } }, async () => 'x')
      })
      const miss = await get(app, '/x')
      const hit = await get(app, '/x')
      expect(hit.cache).toBe('HIT')
      expect(hit.headers['x-request-id']).not.toBe(miss.headers['x-request-id'])
    })
  })

  describe('what is never shared', () => {
    test('I5: a request with Authorization bypasses', async () => {
      const app = await makeApp((fresh) =>
        fresh.get(
          '/x',
          { config: { cache: { ttl: 60 } } },
          async (request) => request.headers.authorization ?? 'nobody',
        ),
      )
      await get(app, '/x')
      const answer = await get(app, '/x', { authorization: 'Bearer ann' })
      expect([answer.cache, answer.body]).toEqual(['BYPASS', 'Bearer ann'])
      expect((await get(app, '/x')).body).toBe('nobody')
    })

    test('each principal of a private route has its own entry', async () => {
      const app = await makeApp((fresh) =>
        fresh.get(
          '/me',
          { config: { cache: { ttl: 60, private: true, per: (request) => request.headers.authorization } } },
          async (request) => `hello ${request.headers.authorization}`,
        ),
      )
      for (const cache of ['MISS', 'HIT']) {
        for (const who of ['ann', 'bob']) {
          const answer = await get(app, '/me', { authorization: who })
          expect([answer.cache, answer.body]).toEqual([cache, `hello ${who}`])
          expect(answer.headers['cache-control']).toMatch(/^private, max-age=(60|59)$/)
        }
      }
      expect((await get(app, '/me')).cache).toBe('BYPASS')
    })

    test('a hit never skips what guards the route', async () => {
      const app = await makeApp((fresh) =>
        fresh.get(
          '/g',
          {
            config: { cache: { ttl: 60 } },
            preHandler: async (request, reply) =>
              request.headers['x-key'] === '1' ? undefined : reply.code(401).send('no'),
          },
          async () => 'secret',
        ),
      )
      expect((await get(app, '/g', { 'x-key': '1' })).cache).toBe('MISS')
      const refused = await get(app, '/g')
      expect([refused.status, refused.body, refused.cache]).toEqual([401, 'no', undefined])
      expect((await get(app, '/g', { 'x-key': '1' })).cache).toBe('HIT')
    })

    test.each([
      ['Set-Cookie', { 'set-cookie': 'a=1' }],
      ['Cache-Control: no-store', { 'cache-control': 'no-store' }],
      ['Cache-Control: private', { 'cache-control': 'private, max-age=5' }],
      ['Vary: *', { vary: '*' }],
      ['Content-Encoding', { 'content-encoding': 'gzip' }],
    ])('a response with %s is served unchanged and not stored', async (_, headers) => {
      const app = await makeApp((fresh) =>
        fresh.get('/x', { config: { cache: { ttl: 60 } } }, async (__, reply) => reply.headers(headers).send('x')),
      )
      for (let round = 0; round < 2; round += 1) {
        const answer = await get(app, '/x')
        expect([answer.status, answer.body, answer.cache]).toEqual([200, 'x', 'BYPASS'])
        for (const [name, value] of Object.entries(headers)) expect([answer.headers[name]].flat()).toEqual([value])
      }
    })

    test('RFC 9111 4.1: responses that name Vary are told apart by those fields, learned from the first', async () => {
      const app = await makeApp((fresh) =>
        fresh.get('/x', { config: { cache: { ttl: 60 } } }, async (request, reply) =>
          reply.header('vary', 'Accept-Language').send(`in ${request.headers['accept-language'] ?? 'none'}`),
        ),
      )
      const ask = (language?: string) => get(app, '/x', language === undefined ? {} : { 'accept-language': language })
      expect([(await ask('en')).cache, (await ask('en')).cache]).toEqual(['MISS', 'HIT'])
      expect([(await ask('fr')).body, (await ask('fr')).cache]).toEqual(['in fr', 'HIT'])
      expect([(await ask()).body, (await ask()).cache, (await ask('en')).body]).toEqual(['in none', 'HIT', 'in en'])
    })

    test('a declared vary selects from the start, and evicting the path ends all variants', async () => {
      const app = await makeApp((fresh) => {
        fresh.get(
          '/x',
          { config: { cache: { ttl: 60, vary: 'x-tenant' } } },
          async (request) => `for ${String(request.headers['x-tenant'])}`,
        )
        fresh.delete('/x', { config: { cacheEvict: { key: 'path' } } }, async () => 'gone')
      })
      const ask = (tenant: string) => get(app, '/x', { 'x-tenant': tenant })
      expect([(await ask('a')).cache, (await ask('b')).cache, (await ask('a')).cache, (await ask('b')).body]).toEqual([
        'MISS',
        'MISS',
        'HIT',
        'for b',
      ])
      await app.inject({ method: 'DELETE', url: '/x' })
      expect([(await ask('a')).cache, (await ask('b')).cache]).toEqual(['MISS', 'MISS'])
    })
  })

  describe('writes', () => {
    test("a write-through that knows nothing of its path's variants ends them all, and they are made anew", async () => {
      let version = 1
      const app = await makeApp((fresh) => {
        fresh.get(
          '/x',
          { config: { cache: { ttl: 60, vary: 'x-tenant' } } },
          async (request) => `${String(request.headers['x-tenant'])} ${version}`,
        )
        fresh.put('/x', { config: { cachePut: { ttl: 60 } } }, async () => `put ${++version}`)
      })
      const ask = (tenant: string) => get(app, '/x', { 'x-tenant': tenant })
      await ask('a')
      expect((await ask('a')).cache).toBe('HIT')
      await app.inject({ method: 'PUT', url: '/x' })
      expect([(await ask('a')).body, (await ask('b')).body]).toEqual(['a 2', 'b 2'])
      expect([(await ask('a')).cache, (await ask('b')).cache]).toEqual(['HIT', 'HIT'])
    })

    function products(app: FastifyInstance): void {
      const names = new Map([['1', 'one']])
      let runs = 0
      app.get<{ Params: { id: string } }>(
        '/products/:id',
        { config: { cache: { ttl: '5m', group: 'products' } } },
        async (request, reply) => {
          const name = names.get(request.params.id)
          return name === undefined
            ? reply.code(404).send({ error: 'no such product' })
            : { id: request.params.id, name, runs: ++runs }
        },
      )
      app.put<{ Params: { id: string }; Body: { name: string } }>(
        '/products/:id',
        { config: { cachePut: { ttl: '5m', group: 'products' } } },
        async (request) => {
          names.set(request.params.id, request.body.name)
          return { id: request.params.id, name: request.body.name }
        },
      )
      app.delete<{ Params: { id: string } }>(
        '/products/:id',
        { config: { cacheEvict: { key: 'path', group: 'lists' } } },
        async (request, reply) => {
          names.delete(request.params.id)
          return reply.code(204).send()
        },
      )
      app.post<{ Body: { fail?: boolean } }>(
        '/products/clear',
        { config: { cacheEvict: { group: 'products' } } },
        async (request, reply) => {
          if (request.body.fail === true) return reply.code(409).send('no')
          return 'done'
        },
      )
    }

    test('a write-through is what the next GET is answered with', async () => {
      const app = await makeApp(products)
      await get(app, '/products/1')
      const put = await app.inject({ method: 'PUT', url: '/products/1', payload: { name: 'uno' } })
      expect([put.statusCode, put.headers['x-redis-cache']]).toEqual([200, 'MISS'])
      const hit = await get(app, '/products/1')
      expect([hit.cache, hit.status, hit.body]).toEqual(['HIT', 200, '{"id":"1","name":"uno"}'])
      expect(hit.headers.etag).toBeDefined()
      await app.cache.deleteGroup('products')
      expect((await get(app, '/products/1')).cache).toBe('MISS')
    })

    test('a delete evicts the path before its response is released', async () => {
      const app = await makeApp(products)
      await get(app, '/products/1')
      const gone = await app.inject({ method: 'DELETE', url: '/products/1' })
      expect([gone.statusCode, gone.headers['x-redis-cache']]).toEqual([204, undefined])
      expect((await get(app, '/products/1')).status).toBe(404)
    })

    test('nothing is evicted when the write failed', async () => {
      const app = await makeApp(products)
      await get(app, '/products/1')
      await app.inject({ method: 'POST', url: '/products/clear', payload: { fail: true } })
      expect((await get(app, '/products/1')).cache).toBe('HIT')
      await app.inject({ method: 'POST', url: '/products/clear', payload: {} })
      expect((await get(app, '/products/1')).cache).toBe('MISS')
    })

    test('a write may invalidate a group and store its own entry in it', async () => {
      const app = await makeApp((fresh) => {
        fresh.get('/a', { config: { cache: { ttl: 60, group: 'g' } } }, async () => 'a')
        fresh.get('/b', { config: { cache: { ttl: 60, group: 'g' } } }, async () => 'b')
        fresh.put(
          '/a',
          { config: { cachePut: { ttl: 60, group: 'g' }, cacheEvict: { group: 'g' } } },
          async () => 'new a',
        )
      })
      await get(app, '/a')
      await get(app, '/b')
      await app.inject({ method: 'PUT', url: '/a' })
      const a = await get(app, '/a')
      expect([a.cache, a.body, (await get(app, '/b')).cache]).toEqual(['HIT', 'new a', 'MISS'])
    })

    test('a function of the options that throws after the write fails its request, and leaves nothing behind', async () => {
      const app = await makeApp((fresh) => {
        fresh.get('/x', { config: { cache: { ttl: 60 } } }, async () => 'x')
        const group = (): string => {
          throw new Error('no group')
        }
        fresh.put('/x', { config: { cachePut: { ttl: 60 }, cacheEvict: { group } } }, async () => 'y')
      })
      expect((await app.inject({ method: 'PUT', url: '/x' })).statusCode).toBe(500)
      expect([(await get(app, '/x')).cache, (await get(app, '/x')).cache]).toEqual(['MISS', 'HIT'])
    })

    test('groups and keys may come from the request and the result', async () => {
      const app = await makeApp((fresh) => {
        fresh.get<{ Params: { id: string } }>(
          '/u/:id',
          {
            config: {
              cache: {
                ttl: 60,
                key: (request) => ['user', (request.params as { id: string }).id],
                group: (request) => `user:${(request.params as { id: string }).id}`,
              },
            },
          },
          async (request) => request.params.id,
        )
        fresh.post(
          '/by-key',
          { config: { cacheEvict: { key: (_, result) => ['user', (result.json() as { id: string }).id] } } },
          async () => ({ id: '1' }),
        )
        fresh.post(
          '/by-group',
          { config: { cacheEvict: { group: (_, result) => [`user:${(result.json() as { id: string }).id}`] } } },
          async () => ({ id: '2' }),
        )
      })
      for (const id of ['1', '2']) await get(app, `/u/${id}`)
      await app.inject({ method: 'POST', url: '/by-key' })
      expect([(await get(app, '/u/1')).cache, (await get(app, '/u/2')).cache]).toEqual(['MISS', 'HIT'])
      await app.inject({ method: 'POST', url: '/by-group' })
      expect([(await get(app, '/u/1')).cache, (await get(app, '/u/2')).cache]).toEqual(['HIT', 'MISS'])
    })

    test('groups that only the handler knows invalidate its entry too', async () => {
      const app = await makeApp((fresh) => {
        fresh.get('/helper', { config: { cache: { ttl: 60 } } }, async (_, reply) =>
          reply.cacheGroups('late').send('x'),
        )
        fresh.get('/field', { config: { cache: { ttl: 60 } } }, async (_, reply) =>
          reply.header('cache-groups', '"late", "other"').send('y'),
        )
      })
      for (const cache of ['MISS', 'HIT'])
        for (const url of ['/helper', '/field']) expect((await get(app, url)).cache).toBe(cache)
      await app.cache.deleteGroup('late')
      for (const url of ['/helper', '/field']) expect((await get(app, url)).cache).toBe('MISS')
    })
  })

  describe('stale', () => {
    test('staleWhileRevalidate serves the old entry and refreshes it without the credentials of who asked', async () => {
      let now = Date.now()
      const seen: (string | undefined)[] = []
      const app = await makeApp(
        (fresh) =>
          fresh.get(
            '/x',
            { config: { cache: { ttl: 10, staleWhileRevalidate: 60, vary: 'x-keyed', unkeyedReads: 'ignore' } } },
            async (request) => {
              seen.push([request.headers.cookie, request.headers['x-keyed']].join())
              return `run ${seen.length}`
            },
          ),
        { now: () => now },
      )
      const ask = () => get(app, '/x', { cookie: 'sid=secret', 'x-keyed': 'k' })
      expect([(await ask()).cache, (await ask()).cache]).toEqual(['MISS', 'HIT'])
      now += 20_000
      const stale = await ask()
      expect([stale.body, stale.cache]).toEqual(['run 1', 'HIT'])
      await expect.poll(async () => (await ask()).body).toBe('run 2')
      expect(seen).toEqual(['sid=secret,k', ',k'])
    })

    test('staleIfError answers for a failing handler until its span ends', async () => {
      let now = Date.now()
      let fails = false
      const app = await makeApp(
        (fresh) =>
          fresh.get('/x', { config: { cache: { ttl: 10, staleIfError: 60 } } }, async () => {
            if (fails) throw new Error('origin is down')
            return 'good'
          }),
        { now: () => now },
      )
      await get(app, '/x')
      fails = true
      now += 20_000
      const standIn = await get(app, '/x')
      expect([standIn.status, standIn.body, standIn.cache]).toEqual([200, 'good', 'HIT'])
      now += 60_000
      expect((await get(app, '/x')).status).toBe(500)
    })
  })

  describe('mistakes are told at the earliest moment', () => {
    test.each([
      ['an evict that evicts nothing', { method: 'DELETE', config: { cacheEvict: {} } }, /nothing to evict/],
      ['private without per', { method: 'GET', config: { cache: { ttl: 60, private: true } } }, /`per`/],
      ['a duration without meaning', { method: 'GET', config: { cache: { ttl: '5 minutes' } } }, /not a duration/],
      [
        'an option that does not exist',
        { method: 'GET', config: { cache: { tll: 60 } } },
        /tll: there is no such option/,
      ],
      ['an empty group', { method: 'GET', config: { cache: { ttl: 1, group: '' } } }, /not empty/],
      ['cache on a write', { method: 'POST', config: { cache: { ttl: 60 } } }, /only GET/],
      ['cachePut on a read', { method: 'GET', config: { cachePut: { ttl: 60 } } }, /writes/],
    ])('%s', async (_, route, message) => {
      const app = Fastify()
      await app.register(redwell, { url: 'memory:' })
      expect(() => app.route({ url: '/x', handler: async () => 'x', ...route } as never)).toThrow(message)
      await app.close()
    })

    test('a route declared before the plugin was loaded names the fix', async () => {
      const app = Fastify()
      app.register(redwell, { url: 'memory:' })
      app.get('/early', { config: { cache: { ttl: 60 } } }, async () => 'x')
      await expect(app.ready()).rejects.toThrow(/GET \/early.*await app\.register/s)
    })

    test("a key function that throws fails its request with the framework's own error handling", async () => {
      const app = await makeApp((fresh) => {
        fresh.setErrorHandler((error, _, reply) => reply.code(418).send((error as Error).message))
        fresh.get(
          '/sync',
          {
            config: {
              cache: {
                ttl: 60,
                key: () => {
                  throw new Error('no key')
                },
              },
            },
          },
          async () => 'x',
        )
        fresh.get(
          '/async',
          {
            config: {
              cache: {
                ttl: 60,
                key: async () => {
                  throw new Error('no key')
                },
              },
            },
          },
          async () => 'x',
        )
      })
      for (const url of ['/sync', '/async']) {
        const answer = await get(app, url)
        expect([answer.status, answer.body]).toEqual([418, 'no key'])
      }
    })

    test('a body over the limit is served whole and not stored', async () => {
      const big = 'x'.repeat(2000)
      const app = await makeApp((fresh) => {
        fresh.get('/whole', { config: { cache: { ttl: 60, maxBodyBytes: 1000 } } }, async () => big)
        fresh.get('/stream', { config: { cache: { ttl: 60, maxBodyBytes: 1000 } } }, async (_, reply) =>
          reply.send(Readable.from([big.slice(0, 600), big.slice(600)])),
        )
      })
      for (let round = 0; round < 2; round += 1) {
        const whole = await get(app, '/whole')
        expect([whole.body, whole.cache]).toEqual([big, 'BYPASS'])
        expect((await get(app, '/stream')).body).toBe(big)
      }
    })
  })
})
