import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyReply } from 'fastify'
import type { RedisClientType } from '@redis/client'
import { expect, onTestFinished, test } from 'vitest'
import redwell from '../../src/adapters/fastify/index.js'
import type { CacheBackend, Redis } from '../../src/index.js'
import { freePort, sharedRedis } from '../support/redis-server.js'

// What is Fastify's alone; the behaviour of its routes is in test/adapters.

test('a route declared before the plugin was loaded names the fix', async () => {
  const app = Fastify()
  app.register(redwell, { url: 'memory:' })
  app.get('/early', { config: { cache: { ttl: 60 } } }, async () => 'x')
  await expect(app.ready()).rejects.toThrow(/GET \/early.*await app\.register/s)
})

test('registered twice, the plugin says so', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  app.register(redwell, { url: 'memory:' })
  await expect(app.ready()).rejects.toThrow(/register redwell once/)
})

test('registered in a child of an application that has it, the plugin says so', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  app.register(
    async (child) => void child.register(redwell, { url: 'memory:', names: { redis: 'own', cache: 'ownCache' } }),
  )
  await expect(app.ready()).rejects.toThrow(/register redwell once/)
})

test('a route beside the scope of the plugin says so', async () => {
  const app = Fastify()
  app.register(async (child) => void (await child.register(redwell, { url: 'memory:' })))
  app.register(async (child) => void child.get('/beside', { config: { cache: { ttl: 60 } } }, async () => 'x'))
  await expect(app.ready()).rejects.toThrow(/outside of the scope.*GET \/beside.*on the application itself/s)
})

test('routes of an application without the plugin are named in its log', async () => {
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: (line) => void lines.push(line) } } })
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => 'x')
  app.get('/theirs', { config: { rateLimit: '5/minute' } }, async () => 'x')
  await app.ready()
  expect(
    lines.filter((line) => /"level":40.*nothing is cached.*not registered: GET \/x, HEAD \/x\. /.test(line)),
  ).toHaveLength(1)
  await app.close()
})

test('explain takes the route that the router takes', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  const config = { cache: { ttl: 60 } }
  for (const path of ['/*', '/items/:id', '/items/:id.png', '/items/me', '/at/:hour(^\\d{2}$)', '/at/:name'])
    app.get(path, { config }, async () => path)
  app.get('/items/free', async () => 'free')
  for (const version of ['1.0.0', '2.0.0']) app.get('/v', { config, constraints: { version } }, async () => version)
  await app.ready()
  const explain = async (url: string, headers = {}) => app.cache.explain({ url, headers })
  for (const [url, path] of [
    ['/items/1', '/items/:id'],
    ['/items/1.png', '/items/:id.png'],
    ['/items/me', '/items/me'],
    ['/items/1/2', '/*'],
    ['/at/12', '/at/:hour(^\\d{2}$)'],
    ['/at/noon', '/at/:name'],
  ] as const) {
    expect((await app.inject(url)).body).toBe(path)
    expect(await explain(url)).toMatchObject({ route: `GET ${path}`, outcome: 'hit' })
  }
  await expect(explain('/items/free')).rejects.toThrow('GET /items/free answers /items/free, and is not cached')
  await app.inject({ url: '/v', headers: { 'accept-version': '1.x' } })
  expect(await explain('/v', { 'accept-version': '1.x' })).toMatchObject({ outcome: 'hit' })
  await app.close()
})

test('two children have one each', async () => {
  const app = Fastify()
  for (const name of ['a', 'b']) {
    app.register(
      async (child) => {
        await child.register(redwell, { url: 'memory:', prefix: name })
        child.get('/', { config: { cache: { ttl: 60 } } }, async () => ({ name: child.redis.settings.prefix }))
      },
      { prefix: name },
    )
  }
  for (const name of ['a', 'b', 'a', 'b']) expect((await app.inject(name)).json()).toEqual({ name })
  expect((await app.inject('/a')).headers['x-redis-cache']).toBe('HIT')
  await app.close()
})

test('a name that another plugin has is said, with the option that gives ours another', async () => {
  const app = Fastify()
  for (const name of ['redis', 'cache']) app.decorate(name as 'theirs', {})
  app.register(redwell, { url: 'memory:' })
  await expect(app.ready()).rejects.toThrow(
    /has app.redis and app.cache already.*names: { redis: 'redwellRedis', cache: 'redwellCache' }/s,
  )
})

test.each([{ max: 3, timeWindow: '1 minute' }, { timeWindow: 1000 }])(
  'a route with options of @fastify/rate-limit is told the name to give: %j',
  async (rateLimit) => {
    const app = Fastify()
    onTestFinished(() => app.close())
    await app.register(redwell, { url: 'memory:' })
    expect(() => app.put('/x', { config: { rateLimit: rateLimit as never } }, async () => ({}))).toThrow(
      /config\.rateLimit of PUT \/x has options of @fastify\/rate-limit.*names: { rateLimit: 'limit' }/,
    )
  },
)

test('names of its own are given to everything that it adds', async () => {
  const app = Fastify()
  const others = { redis: {}, cache: {}, sessions: {} }
  for (const [name, value] of Object.entries(others)) app.decorate(name as 'theirs', value)
  app.decorateReply('cacheGroups' as 'theirs', () => 'theirs')
  app.get('/early', { config: { rateLimit: { max: 1 } as never } }, async () => 'theirs')
  const names = { redis: 'ours', cache: 'kept', sessions: 'signedIn', cacheGroups: 'groups', rateLimit: 'limit' }
  await app.register(redwell, { url: 'memory:', names, rateLimit: '100/minute' })
  const limited = { limit: '1/hour', rateLimit: { max: 9 } as never }
  app.get('/limited', { config: limited }, async () => 'x')
  const free = { cache: { ttl: 60 }, limit: false } as object
  app.get('/free', { config: free }, async (_request, reply) => {
    ;(reply as never as { groups(name: string): void }).groups('g')
    return 'free'
  })
  const statuses = [await app.inject('/limited'), await app.inject('/limited')].map(({ statusCode }) => statusCode)
  expect(statuses).toEqual([200, 429])
  const { ours, kept } = app as never as { ours: Redis; kept: CacheBackend }
  expect(kept).toBe(ours.cache)
  const caches = async (): Promise<unknown> => (await app.inject('/free')).headers['x-redis-cache']
  expect([await caches(), await caches()]).toEqual(['MISS', 'HIT'])
  await kept.deleteGroup('g')
  expect(await caches()).toBe('MISS')
  expect((await app.inject('/free')).headers['ratelimit']).toBeUndefined()
  for (const [name, value] of Object.entries(others)) expect(app[name as 'redis']).toBe(value)
  await app.close()
})

test.each([
  [{ redys: 'x' }, /names of the redwell plugin:\n.*redys: there is no such option.*did you mean `redis`/],
  [{ redis: '' }, /redis: '' is not a name/],
  [{ cache: 1 }, /cache: 1 is not a name/],
])('names %j are refused', async (names, message) => {
  const app = Fastify()
  app.register(redwell, { url: 'memory:', names: names as never })
  await expect(app.ready()).rejects.toThrow(message)
})

test('the raw client can be used in onReady and in the first request', async () => {
  const server = await sharedRedis()
  onTestFinished(() => server.close())
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(redwell, { url: server.url })
  const ping = async (): Promise<string> => (app.redis.client as RedisClientType).ping()
  let first: string | undefined
  app.addHook('onReady', async () => void (first = await ping()))
  app.get('/ping', ping)
  expect((await app.inject('/ping')).body).toBe('PONG')
  expect(first).toBe('PONG')
})

test('a Redis that is not there does not hold up the start', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(redwell, { url: `redis://127.0.0.1:${await freePort()}`, connectTimeout: '60s' })
  await app.ready()
  expect(app.redis.status).toBe('unavailable')
})

test('insisting on Redis at start fails with its address, and without the password', async () => {
  const port = await freePort()
  const app = Fastify()
  app.register(redwell, { url: `redis://user:secret@127.0.0.1:${port}`, connect: true, connectTimeout: '100ms' })
  const error = await app.ready().then(
    () => undefined,
    (reason: Error) => reason,
  )
  expect(error?.message).toContain(`127.0.0.1:${port}`)
  expect(JSON.stringify([error?.message, error?.stack])).not.toContain('secret')
  await app.close().catch(() => {})
})

test('app.inject goes through the cache as a request from outside does', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => 'x')
  const answers = [await app.inject('/x'), await app.inject('/x')]
  expect(answers.map(({ headers }) => headers['x-redis-cache'])).toEqual(['MISS', 'HIT'])
  await app.close()
})

test('what an error handler answers counts by its status, as its client sees it', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(redwell, { url: 'memory:' })
  app.setErrorHandler((_, __, reply) => reply.code(200).send('made good'))
  const fail = async (): Promise<string> => {
    throw new Error('hidden')
  }
  app.get('/x', { config: { cache: { ttl: 60, group: 'g' } } }, async () => 'x')
  app.get('/failing', { config: { cache: { ttl: 60 } } }, fail)
  app.put('/x', { config: { cacheEvict: { group: 'g' } } }, fail)
  for (const cache of ['MISS', 'HIT']) {
    const { body, headers } = await app.inject('/failing')
    expect([body, headers['x-redis-cache']]).toEqual(['made good', cache])
  }
  await app.inject('/x')
  expect((await app.inject({ method: 'PUT', url: '/x' })).body).toBe('made good')
  expect((await app.inject('/x')).headers['x-redis-cache']).toBe('MISS')
})

test('a stored answer that stands in for a failure keeps the fields that were set before the handler ran', async () => {
  const app = Fastify()
  let now = Date.now()
  let fails = false
  await app.register(redwell, { url: 'memory:', now: () => now })
  app.addHook('onRequest', async (_, reply) => void reply.header('access-control-allow-origin', '*'))
  app.get('/x', { config: { cache: { ttl: 1, staleIfError: 60 } } }, async () => {
    if (fails) throw new Error('down')
    return 'x'
  })
  await app.inject('/x')
  fails = true
  now += 2000
  const { statusCode, headers, body } = await app.inject('/x')
  expect([statusCode, body, headers['access-control-allow-origin']]).toEqual([200, 'x', '*'])
  await app.close()
})

test('a streamed answer has no ETag of ours, on the miss and on the hit', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => Readable.from(['a', 'b']))
  const answers = [await app.inject('/x'), await app.inject('/x')]
  expect(answers.map(({ headers }) => [headers['x-redis-cache'], headers.etag])).toEqual([
    ['MISS', undefined],
    ['HIT', undefined],
  ])
  await app.close()
})

test.each([
  ['setCookie of @fastify/cookie', (reply: FastifyReply) => withCookies(reply).setCookie('a', '1')],
  ['clearCookie of @fastify/cookie', (reply: FastifyReply) => withCookies(reply).clearCookie('a')],
  ['a header', (reply: FastifyReply) => reply.header('set-cookie', 'a=1')],
])('a cookie that the handler sets by %s keeps its response from being stored', async (_, set) => {
  const app = await withSessions()
  app.get('/x', { config: { cache: { ttl: 60 } } }, async (_request, reply) => {
    set(reply)
    return 'x'
  })
  const answers = [await app.inject('/x'), await app.inject('/x')]
  expect(answers.map(({ headers }) => headers['x-redis-cache'])).toEqual(['BYPASS', 'BYPASS'])
})

test('a cookie of a web Response keeps it from being stored', async () => {
  const app = await withSessions()
  const headers = { 'set-cookie': 'a=1' }
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => new Response('x', { headers }))
  const answers = [await app.inject('/x'), await app.inject('/x')]
  expect(answers.map(({ headers: fields }) => fields['x-redis-cache'])).toEqual(['BYPASS', 'BYPASS'])
})

test('a cookie that a hook sets after the handler is of its response, and never of the entry', async () => {
  const app = await withSessions()
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => 'x')
  const answers = [await app.inject('/x'), await app.inject('/x'), await app.inject('/x')]
  expect(answers.map(({ headers }) => headers['x-redis-cache'])).toEqual(['MISS', 'HIT', 'HIT'])
  const cookies = answers.map(({ headers }) => headers['set-cookie'])
  expect(cookies.every((cookie) => typeof cookie === 'string')).toBe(true)
  expect(new Set(cookies).size).toBe(3)
})

test.each([
  ['succeeds', 200, 'new'],
  ['fails', 500, 'old'],
])('a write that hijacks its reply and %s: its eviction', async (_, status, then) => {
  let value = 'old'
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(redwell, { url: 'memory:' })
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => value)
  app.put('/x', { config: { cacheEvict: { key: 'path' } } }, (_request, reply) => {
    reply.hijack()
    value = 'new'
    reply.raw.writeHead(status).end('written')
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const get = async () => (await fetch(`${url}/x`)).text()
  expect(await get()).toBe('old')
  expect(await (await fetch(`${url}/x`, { method: 'PUT' })).text()).toBe('written')
  await expect.poll(get).toBe(then)
})

test.each(['host', 'x-tenant'])('a URL that `rewriteUrl` makes by %s is part of the key', async (field) => {
  const app = Fastify({ rewriteUrl: ({ url, headers }) => `/${String(headers[field])}${url}` })
  onTestFinished(() => app.close())
  await app.register(redwell, { url: 'memory:' })
  const versions = new Map<string, number>()
  const read = (tenant: string) => `${tenant} ${versions.get(tenant) ?? 0}`
  const params = (request: { params: unknown }) => (request.params as { tenant: string }).tenant
  app.get('/:tenant/account', { config: { cache: { ttl: 60 } } }, async (request) => read(params(request)))
  app.put('/:tenant/account', { config: { cachePut: { ttl: 60 } } }, async (request) => {
    versions.set(params(request), 1)
    return read(params(request))
  })
  const ask = async (tenant: string, method: 'GET' | 'PUT' = 'GET') => {
    const { body, headers } = await app.inject({ method, url: '/account', headers: { [field]: tenant } })
    return `${body} ${String(headers['x-redis-cache'])}`
  }
  expect([await ask('acme'), await ask('evil'), await ask('acme')]).toEqual([
    'acme 0 MISS',
    'evil 0 MISS',
    'acme 0 HIT',
  ])
  await ask('evil', 'PUT')
  expect([await ask('evil'), await ask('acme')]).toEqual(['evil 1 HIT', 'acme 0 MISS'])
})

/** An application whose session plugin sets a cookie on every response. */
async function withSessions(): Promise<FastifyInstance> {
  const load = createRequire(import.meta.url)
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(load('@fastify/cookie') as FastifyPluginAsync)
  const session = load('@fastify/session') as FastifyPluginAsync<Readonly<Record<string, unknown>>>
  await app.register(session, { secret: 'a secret of at least 32 characters', cookie: { secure: false } })
  await app.register(redwell, { url: 'memory:' })
  return app
}

function withCookies(reply: FastifyReply) {
  return reply as unknown as { setCookie(name: string, value: string): void; clearCookie(name: string): void }
}
