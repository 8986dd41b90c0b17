import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { etag } from 'hono/etag'
import { HTTPException } from 'hono/http-exception'
import { mount } from 'hono/mount'
import { requestId } from 'hono/request-id'
import { secureHeaders } from 'hono/secure-headers'
import { stream, streamSSE } from 'hono/streaming'
import { timing } from 'hono/timing'
import { afterEach, describe, expect, test } from 'vitest'
import { cache, cacheEvict, cachePut, redwell, type RedwellHonoOptions } from '../../src/adapters/hono/index.js'
import { createRedis, UsageError } from '../../src/index.js'
import { memoryStores } from '../../src/testing/index.js'
import { Client } from '../adapters/client.js'
import { recordingLogger, silentLogger } from '../support/logger.js'

// What is Hono's alone; what all adapters do is in test/adapters.

const MEMORY: RedwellHonoOptions = { url: 'memory:', logger: silentLogger }

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function serve(app: Hono): Promise<Client> {
  const server = createAdaptorServer({ fetch: app.fetch })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => server.close())
  return new Client((server.address() as AddressInfo).port)
}

async function ask(app: Hono, path: string, init: RequestInit = {}) {
  const answer = await app.request(path, init)
  return { status: answer.status, cache: answer.headers.get('x-redis-cache'), text: await answer.text() }
}

describe('app.request, as tests use it', () => {
  test('goes through the cache: MISS, HIT, HEAD, 304', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/x', cache({ ttl: 60 }), (c) => c.json({ a: 1 }))
    expect((await ask(app, '/x')).cache).toBe('MISS')
    expect(await ask(app, '/x')).toEqual({ status: 200, cache: 'HIT', text: '{"a":1}' })
    const head = await app.request('/x', { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '7', ''])
    const tag = String(head.headers.get('etag'))
    expect((await ask(app, '/x', { headers: { 'if-none-match': tag } })).status).toBe(304)
  })

  test('a fragment is no part of the request', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/x', cache({ ttl: 60 }), (c) => c.text('x'))
    await ask(app, '/x?a=1#top')
    expect((await ask(app, '/x?a=1')).cache).toBe('HIT')
  })
})

describe('set-up', () => {
  test('a variable that is there already is kept, so that tests bring their own', async () => {
    const own = createRedis(MEMORY)
    cleanups.push(() => own.close())
    const inner = new Hono()
    inner.use(redwell(MEMORY))
    inner.get('/x', cache({ ttl: 60 }), (c) => c.text(String(c.var.redis === own && c.var.cache === own.cache)))
    const app = new Hono()
    app.use(async (c, next) => {
      c.set('redis', own)
      await next()
    })
    app.route('/', inner)
    expect(await ask(app, '/x')).toMatchObject({ text: 'true', cache: 'MISS' })
    await own.cache.clear()
    expect((await ask(app, '/x')).cache).toBe('MISS')
  })

  test.each([
    ['cache', 'GET', cache({ ttl: 60 })],
    ['cachePut', 'PUT', cachePut({ ttl: 60 })],
    ['cacheEvict', 'DELETE', cacheEvict({ key: 'path' })],
  ] as const)('%s before redwell() is an error that names the fix', async (word, method, middleware) => {
    const errors: Error[] = []
    const app = new Hono()
    app.on(method, '/x', middleware, (c) => c.text('x'))
    app.onError((error, c) => {
      errors.push(error)
      return c.text('', 500)
    })
    await ask(app, '/x', { method })
    expect(errors[0]).toBeInstanceOf(UsageError)
    expect(errors[0]?.message).toMatch(new RegExp(`for ${word} of ${method} /x.*app\\.use\\(redwell`))
  })

  test('await using ends what it began; a handle that was given stays open', async () => {
    const given = createRedis(MEMORY)
    cleanups.push(() => given.close())
    let own
    {
      await using connected = redwell(MEMORY)
      await using borrowed = redwell({ redis: given })
      own = connected.redis
      expect(borrowed.redis).toBe(given)
    }
    expect([own.status, given.status]).toEqual(['closed', 'ready'])
  })

  test('middlewares have names, as logs of routes show them', () => {
    const names = [redwell(MEMORY), cache({ ttl: 1 }), cachePut({ ttl: 1 }), cacheEvict({ key: 'path' })]
    expect(names.map(({ name }) => name)).toEqual(['redwellVariables', 'redwellCache', 'redwellWrite', 'redwellWrite'])
  })
})

describe('applications of several parts', () => {
  function part(name: string): Hono {
    const app = new Hono()
    let runs = 0
    app.get('/x/:id', cache({ ttl: 60, group: name }), (c) => c.text(`${name} ${c.req.param('id')} ${++runs}`))
    app.put('/x/:id', cachePut({ ttl: 60, group: name }), cacheEvict({ group: name }), (c) => c.text(`put ${name}`))
    return app
  }

  test('app.route and basePath: the key is the whole path', async () => {
    const app = new Hono().basePath('/v1')
    app.use(redwell(MEMORY))
    app.route('/a', part('a'))
    app.route('/b', part('b'))
    expect([(await ask(app, '/v1/a/x/1')).text, (await ask(app, '/v1/b/x/1')).text]).toEqual(['a 1 1', 'b 1 1'])
    expect((await ask(app, '/v1/a/x/1')).cache).toBe('HIT')
    await ask(app, '/v1/a/x/2', { method: 'PUT' })
    expect([(await ask(app, '/v1/a/x/1')).cache, (await ask(app, '/v1/b/x/1')).cache]).toEqual(['MISS', 'HIT'])
    expect(await ask(app, '/v1/a/x/2')).toMatchObject({ cache: 'HIT', text: 'put a' })
  })

  test('a cachePut and a cacheEvict are one write in either order', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/x', cache({ ttl: 60, group: 'g' }), (c) => c.text('read'))
    app.get('/list', cache({ ttl: 60, group: 'g' }), (c) => c.text('list'))
    app.put('/x', cacheEvict({ group: 'g' }), cachePut({ ttl: 60, group: 'g' }), (c) => c.text('put'))
    app.patch('/x', cachePut({ ttl: 60, group: 'g' }), cacheEvict({ group: 'g' }), (c) => c.text('patched'))
    for (const [method, text] of [
      ['PUT', 'put'],
      ['PATCH', 'patched'],
    ] as const) {
      await ask(app, '/list')
      expect((await ask(app, '/x', { method })).cache).toBe('MISS')
      expect(await ask(app, '/x')).toMatchObject({ text, cache: 'HIT' })
      expect((await ask(app, '/list')).cache).toBe('MISS')
    }
  })

  test("a part with error handling of its own: words still work together, and a handler's failure is one", async () => {
    const inner = part('a')
    let fails = false
    inner.get('/s', cache({ ttl: { 200: 1 }, staleIfError: 60 }), (c) => {
      if (fails) throw new Error('down')
      return c.text('good')
    })
    inner.onError((error, c) => c.text(`inner: ${error.message}`, 500))
    let now = Date.now()
    const app = new Hono()
    app.use(redwell({ ...MEMORY, now: () => now }))
    app.route('/', inner)
    await ask(app, '/x/1')
    await ask(app, '/x/1', { method: 'PUT' })
    expect(await ask(app, '/x/1')).toMatchObject({ cache: 'HIT', text: 'put a' })
    await ask(app, '/s')
    fails = true
    now += 5000
    expect(await ask(app, '/s')).toEqual({ status: 200, cache: 'HIT', text: 'good' })
    now += 100_000
    expect(await ask(app, '/s')).toMatchObject({ status: 500, text: 'inner: down' })
  })

  test('mounted applications that share a Redis keep their routes apart', async () => {
    const store = memoryStores()
    const mounted = (name: string) => new Hono().use(redwell({ store, logger: silentLogger })).route('/', part(name))
    const app = new Hono()
    app.all('/a/*', mount(mounted('a').fetch))
    app.all('/b/*', mount(mounted('b').fetch))
    const client = await serve(app)
    for (const outcome of ['MISS', 'HIT']) {
      expect(await client.get('/a/x/1')).toMatchObject({ text: 'a 1 1', cache: outcome })
      expect(await client.get('/b/x/1')).toMatchObject({ text: 'b 1 1', cache: outcome })
      expect((await client.get('/b/x/%C3%A9?q=1')).cache).toBe(outcome)
    }
  })

  test('cache for a whole tree: writes pass, and an inner cache decides about its own route', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.use('/api/*', cache({ ttl: 60 }))
    app.get('/api/a', (c) => c.text('a'))
    app.post('/api/a', (c) => c.text('written'))
    app.get('/api/me', cache({ ttl: 60, per: (c) => c.req.header('x-user') }), (c) =>
      c.text(`you are ${c.req.header('x-user')}`),
    )
    for (const outcome of ['MISS', 'HIT']) expect((await ask(app, '/api/a')).cache).toBe(outcome)
    expect(await ask(app, '/api/a', { method: 'POST' })).toMatchObject({ status: 200, text: 'written', cache: null })
    for (const outcome of ['MISS', 'HIT']) {
      for (const user of ['ann', 'bob']) {
        const answer = await ask(app, '/api/me', { headers: { 'x-user': user } })
        expect(answer).toEqual({ status: 200, text: `you are ${user}`, cache: outcome })
      }
    }
  })
})

describe('paths as Hono routes them', () => {
  test('with strict: false, /items/ and /items are one', async () => {
    const app = new Hono({ strict: false })
    app.use(redwell(MEMORY))
    app.get('/items', cache({ ttl: 60 }), (c) => c.text('x'))
    await ask(app, '/items')
    expect((await ask(app, '/items/')).cache).toBe('HIT')
  })

  test.each(['/a%20b', '/caf%C3%A9', '/a%2Fb', '/100%25', '/a%2520b', '/a%25%20b'])(
    'with strict: false, %s with and without a last slash is one entry, and a write to either ends it',
    async (path) => {
      const app = new Hono({ strict: false })
      const connected = redwell(MEMORY)
      app.use(connected)
      app.get('/:name', cache({ ttl: 60 }), (c) => c.text(c.req.param('name')))
      app.delete('/:name', cacheEvict({ key: 'path' }), (c) => c.text('gone'))
      app.post('/:name', (c) => c.text('done'))
      const client = await serve(app)
      const change = [
        () => client.ask(path, { method: 'DELETE' }),
        () => client.ask(`${path}/`, { method: 'DELETE' }),
        () => client.ask(path, { method: 'POST' }),
        () => client.ask(`${path}/`, { method: 'POST' }),
        () => connected.redis.cache.deletePath(path),
      ]
      for (const write of change) {
        expect((await client.get(path)).cache).toBe('MISS')
        expect((await client.get(`${path}/`)).cache).toBe('HIT')
        await write()
      }
    },
  )

  test('a getPath that routes by host keeps hosts apart', async () => {
    const app = new Hono({ getPath: (request) => `/${request.headers.get('host')}${new URL(request.url).pathname}` })
    app.use('*', redwell(MEMORY))
    app.get('/:host/x', cache({ ttl: 60 }), (c) => c.text(`on ${c.req.param('host')}`))
    for (const outcome of ['MISS', 'HIT']) {
      for (const host of ['a.example', 'b.example'])
        expect(await ask(app, '/x', { headers: { host } })).toMatchObject({ text: `on ${host}`, cache: outcome })
    }
  })

  test('spellings that reach the same route with the same parameters are one entry, and evicted as one', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/u/:name', cache({ ttl: 60 }), (c) => c.text(c.req.param('name')))
    app.delete('/u/:name', cacheEvict({ key: 'path' }), (c) => c.text('gone'))
    const client = await serve(app)
    for (const path of ['/u/Abc', '/u/%41bc', '/a/../u/Abc', '/u/./Abc']) await client.get(path)
    expect((await client.get('/a/../u/%41bc')).cache).toBe('HIT')
    await client.ask('/u/Abc', { method: 'DELETE' })
    for (const path of ['/u/%41bc', '/a/../u/Abc']) {
      expect((await client.get(path)).cache).toBe('MISS')
      await client.ask('/u/Abc', { method: 'DELETE' })
    }
  })
})

test('I5: a target that names its own host is neither answered from the cache nor stored', async () => {
  const app = new Hono()
  app.use(redwell(MEMORY))
  app.get('/x', cache({ ttl: 60 }), (c) => c.text(`from ${new URL(c.req.url).host}`))
  const client = await serve(app)
  expect(await client.get('http://evil.example/x')).toMatchObject({ cache: 'BYPASS', text: 'from evil.example' })
  expect((await client.get('/x')).cache).toBe('MISS')
  expect((await client.get('http://evil.example/x')).cache).toBe('BYPASS')
})

describe("beside Hono's own middlewares", () => {
  test('fields of outer middlewares are on hits and misses alike, and are not stored', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.use(requestId({ generator: () => `id-${++requests}` }), secureHeaders(), timing())
    app.use(cors({ origin: (origin) => origin, credentials: true }))
    let requests = 0
    app.get('/x', cache({ ttl: 60, vary: 'origin' }), (c) => c.json({ a: 1 }))
    const client = await serve(app)
    for (const origin of ['https://a.example', 'https://b.example']) {
      const answers = [await client.get('/x', { origin }), await client.get('/x', { origin })]
      for (const [n, { headers, cache: outcome }] of answers.entries()) {
        expect([outcome, headers['access-control-allow-origin']]).toEqual([['MISS', 'HIT'][n], origin])
        expect(headers['x-request-id']).toBe(`id-${requests - 1 + n}`)
        expect(headers['x-frame-options']).toBe('SAMEORIGIN')
      }
    }
  })

  test('an etag middleware outside finds the tag that is there', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/x', etag(), cache({ ttl: 60 }), (c) => c.text('x'))
    const client = await serve(app)
    const [miss, hit] = [await client.get('/x'), await client.get('/x')]
    expect([hit.cache, hit.headers['etag']]).toEqual(['HIT', miss.headers['etag']])
    expect((await client.get('/x', { 'if-none-match': String(miss.headers['etag']) })).status).toBe(304)
  })

  test('an etag middleware inside sees no condition of the client, and its tag is kept', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/x', cache({ ttl: 60 }), etag(), (c) => c.text('x'))
    const client = await serve(app)
    const { headers } = await client.get('/x')
    expect(headers['etag']).toMatch(/^"/)
    await client.ask('/x', { method: 'POST' })
    const answer = await client.get('/x', { 'if-none-match': String(headers['etag']) })
    expect([answer.status, answer.cache]).toEqual([304, 'HIT'])
  })

  test('an HTTPException is an answer by its status', async () => {
    let runs = 0
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/gone', cache({ ttl: { 404: 10 } }), () => {
      runs += 1
      throw new HTTPException(404, { message: 'no such thing' })
    })
    for (const outcome of ['MISS', 'HIT'])
      expect(await ask(app, '/gone')).toEqual({ status: 404, text: 'no such thing', cache: outcome })
    expect(runs).toBe(1)
  })

  test('an error that its handler makes a success of is not stored', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.onError((error, c) => c.json({ error: error.message }))
    app.get('/x', cache({ ttl: 60 }), () => {
      throw new Error('hidden')
    })
    app.put('/x', cacheEvict({ group: 'g' }), () => {
      throw new Error('hidden')
    })
    app.get('/y', cache({ ttl: 60, group: 'g' }), (c) => c.text('y'))
    for (let round = 0; round < 2; round += 1)
      expect(await ask(app, '/x')).toMatchObject({ status: 200, text: '{"error":"hidden"}', cache: null })
    await ask(app, '/y')
    await ask(app, '/x', { method: 'PUT' })
    expect((await ask(app, '/y')).cache).toBe('HIT')
  })

  test('a handler that answers past Hono leaves no lease', async () => {
    const app = new Hono<{ Bindings: HttpBindings }>()
    const connected = redwell(MEMORY)
    app.use(connected)
    app.get('/raw', cache({ ttl: 60 }), (c) => {
      c.env.outgoing.writeHead(200, { 'content-type': 'text/plain' }).end('raw')
      return RESPONSE_ALREADY_SENT
    })
    const client = await serve(app as unknown as Hono)
    for (let round = 0; round < 2; round += 1) expect(await client.get('/raw')).toMatchObject({ text: 'raw' })
    expect(connected.redis.scope.fills.size).toBe(0)
  })

  test('a write that answers past Hono invalidates nothing by itself', async () => {
    const app = new Hono<{ Bindings: HttpBindings }>()
    app.use(redwell(MEMORY))
    app.get('/x', cache({ ttl: 60 }), (c) => c.text('x'))
    app.put('/x', cacheEvict({ key: 'path' }), async (c) => {
      if (c.req.query('told') === '1') await c.var.cache.deletePath('/x')
      c.env.outgoing.end('raw')
      return RESPONSE_ALREADY_SENT
    })
    const client = await serve(app as unknown as Hono)
    await client.get('/x')
    expect((await client.ask('/x', { method: 'PUT' })).text).toBe('raw')
    expect((await client.get('/x')).cache).toBe('HIT')
    await client.ask('/x?told=1', { method: 'PUT' })
    expect((await client.get('/x')).cache).toBe('MISS')
  })

  test('the stream helper: what it wrote is what a hit gives', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/s', cache({ ttl: 60 }), (c) =>
      stream(c, async (out) => {
        await out.write('one ')
        await out.write('two')
      }),
    )
    const client = await serve(app)
    const [miss, hit] = [await client.get('/s'), await client.get('/s')]
    expect([miss.cache, miss.text, hit.cache, hit.text]).toEqual(['MISS', 'one two', 'HIT', 'one two'])
  })

  test('the helper for server-sent events says no-cache, and is not stored', async () => {
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/s', cache({ ttl: 60 }), (c) => streamSSE(c, (out) => out.writeSSE({ data: 'one' })))
    const client = await serve(app)
    for (let round = 0; round < 2; round += 1)
      expect(await client.get('/s')).toMatchObject({ cache: 'BYPASS', text: 'data: one\n\n' })
  })

  test('a client that leaves an event stream ends it', async () => {
    let aborted = false
    const app = new Hono()
    const connected = redwell(MEMORY)
    app.use(connected)
    app.get('/events', cache({ ttl: 60 }), (c) =>
      streamSSE(c, async (out) => {
        out.onAbort(() => {
          aborted = true
        })
        await out.writeSSE({ data: 'one' })
        while (!out.aborted) await out.sleep(5)
      }),
    )
    const client = await serve(app)
    const events = await client.open('/events')
    expect(await events.next()).toBe('data: one\n\n')
    events.abort()
    await expect.poll(() => aborted).toBe(true)
    await expect.poll(() => connected.redis.scope.fills.size).toBe(0)
  })

  test('backpressure: no more is read of a stream than its reader takes', async () => {
    let made = 0
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/big', cache({ ttl: 60, maxBodyBytes: 1000 }), (c) =>
      c.body(
        new ReadableStream({
          async pull(controller) {
            await new Promise((resolve) => setImmediate(resolve))
            made += 1
            controller.enqueue(new Uint8Array(1024))
          },
        }),
      ),
    )
    const { body } = await app.request('/big')
    const reader = (body as ReadableStream<Uint8Array>).getReader()
    for (let reads = 0; reads < 10; reads += 1) await reader.read()
    // One more waits in the source's own queue.
    expect(made).toBeLessThanOrEqual(12)
    await reader.cancel()
  })
})

describe('in the background', () => {
  test('without app.fetch, the first request that meets a stale entry pays for its refresh', async () => {
    let now = Date.now()
    let runs = 0
    const app = new Hono()
    app.use(redwell({ ...MEMORY, now: () => now }))
    app.get('/x', cache({ ttl: 10, staleWhileRevalidate: 60 }), (c) => c.text(`run ${++runs}`))
    await ask(app, '/x')
    now += 20_000
    expect(await ask(app, '/x')).toMatchObject({ text: 'run 2', cache: 'MISS' })
    expect(await ask(app, '/x')).toMatchObject({ text: 'run 2', cache: 'HIT' })
  })

  test('a refresh passes other caches by, and its answer is the whole one', async () => {
    let now = Date.now()
    let runs = 0
    const app = new Hono()
    app.use(redwell({ ...MEMORY, now: () => now, fetch: app.fetch }))
    app.use(cache({ ttl: 10, staleWhileRevalidate: 60 }))
    app.get('/x', cache({ ttl: 10, staleWhileRevalidate: 60 }), (c) =>
      stream(c, async (out) => void (await out.write(`run ${++runs}`))),
    )
    await ask(app, '/x')
    expect((await ask(app, '/x')).cache).toBe('HIT')
    now += 20_000
    expect(await ask(app, '/x')).toMatchObject({ text: 'run 1', cache: 'HIT' })
    await expect.poll(async () => (await ask(app, '/x')).text).toBe('run 2')
    expect(runs).toBe(2)
  })

  test('close waits for it', async () => {
    let now = Date.now()
    let runs = 0
    let ended = 0
    const app = new Hono()
    const connected = redwell({ ...MEMORY, now: () => now, fetch: app.fetch })
    app.use(connected)
    app.get('/x', cache({ ttl: 10, staleWhileRevalidate: 60 }), async (c) => {
      runs += 1
      await new Promise((resolve) => setTimeout(resolve, 10))
      ended += 1
      return c.text('x')
    })
    await ask(app, '/x')
    now += 20_000
    await ask(app, '/x')
    await expect.poll(() => runs).toBe(2)
    await connected.close()
    expect(ended).toBe(2)
  })

  test('a platform that ends work with the answer is asked to wait', async () => {
    const waited: Promise<unknown>[] = []
    const executionCtx = {
      waitUntil: (work: Promise<unknown>) => void waited.push(work),
      passThroughOnException: () => {},
      props: {},
    }
    const app = new Hono()
    app.use(redwell(MEMORY))
    app.get('/x', cache({ ttl: 10 }), (c) => c.text('x'))
    await app.request('/x', {}, {}, executionCtx)
    expect(waited).toHaveLength(1)
    await Promise.all(waited)
    expect((await ask(app, '/x')).cache).toBe('HIT')
  })
})

test('a cache of all routes and one of a route are not two of one path', async () => {
  const logger = recordingLogger()
  const app = new Hono()
  app.use(redwell({ ...MEMORY, logger }))
  app.use(cache({ ttl: 60 })).get('/x', cache({ ttl: 60 }), (c) => c.text('x'))
  for (let turn = 0; turn < 3; turn += 1) await ask(app, '/x')
  expect(logger.lines).toEqual([])
})
