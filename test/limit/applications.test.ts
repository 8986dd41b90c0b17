import { once } from 'node:events'
import { connect, type IncomingHttpHeaders } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import express from 'express'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { Hono } from 'hono'
import { expect, onTestFinished, test } from 'vitest'
import { rateLimit, redwell } from '../../src/adapters/express/index.js'
import fastifyRedwell, { type RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'
import { rateLimit as honoLimit, redwell as honoRedwell } from '../../src/adapters/hono/index.js'
import { createRedis, RateLimitError } from '../../src/index.js'
import { silentLogger } from '../support/logger.js'

const MEMORY = { url: 'memory:', logger: silentLogger } as const

async function fastify(options: RedwellFastifyOptions = {}): Promise<FastifyInstance> {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(fastifyRedwell, { ...(options.redis === undefined && MEMORY), ...options })
  return app
}

/** An Express application on a port; returns a function that asks it. */
async function onPort(build: (app: express.Express) => void) {
  const app = express()
  const cached = redwell(MEMORY)
  app.use(cached)
  build(app)
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await cached.close()
  })
  const { port } = server.address() as AddressInfo
  return (path: string, init: RequestInit = {}) => fetch(`http://127.0.0.1:${port}${path}`, init)
}

test('login lockout: only failed logins count, attempts under way as well, and a button unlocks', async () => {
  const redis = createRedis(MEMORY)
  onTestFinished(() => redis.close())
  const app = await fastify({ redis })
  app.post<{ Body: { email: string; password: string } }>(
    '/login',
    {
      config: {
        rateLimit: {
          rate: '3/hour',
          scope: 'login',
          per: (request) => (request.body as { email: string }).email,
          countWhen: ({ status }) => status === 401,
        },
      },
    },
    async ({ body }, reply) => reply.code(body.password === 'right' ? 200 : 401).send(),
  )
  const login = async (password: string, email = 'ann@example.org') =>
    (await app.inject({ method: 'POST', url: '/login', payload: { email, password } })).statusCode
  for (let turn = 0; turn < 5; turn += 1) expect(await login('right')).toBe(200)
  const wrong = await Promise.all(Array.from({ length: 10 }, () => login('wrong')))
  expect(wrong.filter((status) => status === 401)).toHaveLength(3)
  expect(await login('right')).toBe(429)
  expect(await login('right', 'bob@example.org')).toBe(200)
  await redis.rateLimiter('login', { rate: '3/hour' }).reset('ann@example.org')
  expect(await login('right')).toBe(200)
})

test('the limit of an application counts unknown routes, and neither preflights nor what a route leaves out', async () => {
  const app = await fastify({ rateLimit: '3/hour' })
  app.get('/free', { config: { rateLimit: false } }, async () => 'free')
  app.options('/a', async (_, reply) => reply.code(204).send())
  app.get('/a', { config: { rateLimit: '9/minute' } }, async () => 'a')
  const first = await app.inject('/a')
  expect(first.headers['ratelimit-policy']).toBe('"global-hour";q=3;w=3600, "minute";q=9;w=60')
  expect(first.headers['ratelimit']).toMatch(/^"global-hour";r=2;t=\d+, "minute";r=8;t=\d+$/)
  const missing = await app.inject('/missing')
  expect([missing.statusCode, missing.headers['ratelimit']]).toEqual([404, expect.stringContaining('r=1')])
  const preflight = { method: 'OPTIONS', url: '/a', headers: { 'access-control-request-method': 'GET' } } as const
  expect((await app.inject(preflight)).headers['ratelimit']).toBeUndefined()
  expect((await app.inject('/free')).headers['ratelimit']).toBeUndefined()
  const head = await app.inject({ method: 'HEAD', url: '/a' })
  expect([head.statusCode, head.headers['ratelimit']]).toEqual([200, expect.stringContaining('"global-hour";r=0')])
  expect((await app.inject('/missing')).statusCode).toBe(429)
  expect((await app.inject('/free')).statusCode).toBe(200)
})

test('a limit of the application from the settings', async () => {
  const app = await fastify({ rateLimitDefaultLimit: 1, rateLimitIetfHeaders: false })
  const { headers } = await app.inject('/x')
  expect([headers['x-ratelimit-limit'], headers['x-ratelimit-remaining']]).toEqual(['1', '0'])
  expect((await app.inject('/x')).statusCode).toBe(429)
})

test("`onLimited: 'throw'` reaches the framework's own error handling, without a stack", async () => {
  const app = await fastify()
  app.get('/', { config: { rateLimit: { rate: '1/hour', onLimited: 'throw' } } }, async () => 'x')
  const seen: unknown[] = []
  app.setErrorHandler((error, _, reply) => {
    seen.push(error)
    return reply.code(429).send({ own: true })
  })
  await app.inject('/')
  const refused = await app.inject('/')
  expect([refused.statusCode, refused.json(), refused.headers['ratelimit']]).toEqual([
    429,
    { own: true },
    expect.any(String),
  ])
  expect(seen[0]).toBeInstanceOf(RateLimitError)
  expect(seen[0]).toMatchObject({
    statusCode: 429,
    code: 'ERR_REDWELL_RATE_LIMIT',
    stack: expect.not.stringContaining('at '),
  })

  const ask = await onPort((own) =>
    own.get('/', rateLimit({ rate: '1/hour', onLimited: 'throw' }), (_, res) => void res.send('x')),
  )
  await ask('/')
  expect((await ask('/')).status).toBe(429)
})

test('Express: a limit of everything, one of a router and one of a route', async () => {
  const ask = await onPort((app) => {
    const api = express.Router()
    api.use(rateLimit('2/hour'))
    api.get('/a', (_, res) => void res.send('a'))
    api.get('/b', rateLimit('1/hour'), (_, res) => void res.send('b'))
    app.use('/api', api)
    app.post(
      '/tenants',
      express.json(),
      rateLimit({ rate: '1/hour', per: (req) => (req.body as { tenant: string }).tenant }),
      (_, res) => void res.send('x'),
    )
  })
  expect([(await ask('/api/a')).status, (await ask('/api/b')).status, (await ask('/api/a')).status]).toEqual([
    200, 200, 429,
  ])
  const post = async (tenant: string) =>
    (
      await ask('/tenants', {
        method: 'POST',
        body: JSON.stringify({ tenant }),
        headers: { 'content-type': 'application/json' },
      })
    ).status
  expect([await post('one'), await post('two'), await post('one')]).toEqual([200, 200, 429])
})

test('Express: a client cannot choose its budget by how it writes the path of a router', async () => {
  const ask = await onPort((app) => {
    const ofTenant = express.Router({ mergeParams: true })
    ofTenant.get('/items/:id', rateLimit('2/hour'), (_, res) => void res.send('x'))
    app.use('/Tenants/:tenant', ofTenant)
    app.use('/all/:tenant', rateLimit('2/hour'), (_, res) => void res.send('x'))
  })
  const statuses = async (...paths: string[]) => {
    const all = []
    for (const path of paths) all.push((await ask(path)).status)
    return all
  }
  expect(await statuses('/tenants/a/items/1', '/TENANTS/b/ITEMS/2', '/tenants/Tenants/items/3')).toEqual([
    200, 200, 429,
  ])
  expect(await statuses('/all/a', '/All/b%2Fc', '/all/all')).toEqual([200, 200, 429])
})

test('Express: the parameters of a router that keeps them to itself do not make budgets without end', async () => {
  const ask = await onPort((app) => {
    const ofTenant = express.Router()
    ofTenant.get('/', rateLimit('1/hour'), (_, res) => void res.send('x'))
    app.use('/tenants/:tenant', ofTenant)
  })
  let passed = 0
  for (let tenant = 0; tenant < 30; tenant += 1) if ((await ask(`/tenants/${tenant}`)).status === 200) passed += 1
  expect(passed).toBeLessThan(10)
})

test('Hono: behind a proxy the application names the client; without a name nobody is counted together', async () => {
  const app = new Hono()
  const connected = honoRedwell(MEMORY)
  onTestFinished(() => connected.close())
  app.use(connected)
  app.get('/', honoLimit({ rate: '1/hour', per: (c) => c.req.header('cf-connecting-ip') }), (c) => c.text('x'))
  app.get('/bare', honoLimit('1/hour'), (c) => c.text('x'))
  const ask = async (path: string, address?: string) =>
    (await app.request(path, address === undefined ? {} : { headers: { 'cf-connecting-ip': address } })).status
  expect([await ask('/', 'a'), await ask('/', 'a'), await ask('/', 'b')]).toEqual([200, 429, 200])
  // No connection, so no address: the limiter is not available.
  expect([await ask('/bare'), await ask('/bare')]).toEqual([200, 200])
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const statuses = [await fetch(`http://127.0.0.1:${port}/bare`), await fetch(`http://127.0.0.1:${port}/bare`)]
  expect(statuses.map(({ status }) => status)).toEqual([200, 429])
})

test('HTTP/2: requests of one connection are limited as others', async () => {
  const app = Fastify({ http2: true })
  onTestFinished(() => app.close())
  await app.register(fastifyRedwell, MEMORY)
  app.get('/', { config: { rateLimit: '1/hour' } }, async () => 'x')
  const session = connect(await app.listen({ port: 0, host: '127.0.0.1' }))
  onTestFinished(() => void session.destroy())
  const ask = async (): Promise<IncomingHttpHeaders & { ':status'?: number }> => {
    const request = session.request({ ':path': '/' })
    request.resume()
    const [[headers]] = (await Promise.all([once(request, 'response'), once(request, 'end')])) as [
      [IncomingHttpHeaders],
      unknown,
    ]
    return headers
  }
  expect([(await ask())[':status'], (await ask())[':status']]).toEqual([200, 429])
})

test('wrong rates and options are errors where they are declared', async () => {
  expect(() => rateLimit('5/ms' as never)).toThrow(/'5\/ms' is not a rate/)
  expect(() => rateLimit({ rate: '5/minute', cost: 6 })).toThrow(/above the limit 5/)
  expect(() => rateLimit({ rate: '5/minute', scop: 'x' } as never)).toThrow(/scop/)
  expect(() => honoLimit({ rate: ['5/minute', '6/60s'] })).toThrow(/same window/)
  const app = await fastify()
  expect(() => app.get('/', { config: { rateLimit: '0/minute' } }, async () => 'x')).toThrow(
    /config.rateLimit of GET \//,
  )
})

test('in Fastify a limit with `at: request` counts what the guards of its route refuse', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(fastifyRedwell, { url: 'memory:', logger: silentLogger, sessions: {} })
  const atRequest = { rate: '2/minute', at: 'request' } as const
  app.get('/session', { config: { session: 'required', rateLimit: atRequest } }, async () => 'content')
  const onRequest = async (_: unknown, reply: FastifyReply) => reply.code(401).send('no')
  app.get('/own', { config: { rateLimit: atRequest }, onRequest }, async () => 'content')
  for (const path of ['/session', '/own']) {
    const statuses = []
    for (let turn = 0; turn < 4; turn += 1) statuses.push((await app.inject(path)).statusCode)
    expect([path, ...statuses]).toEqual([path, 401, 401, 429, 429])
  }
})
