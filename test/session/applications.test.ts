import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import cookies from '@fastify/cookie'
import cors from '@fastify/cors'
import csrf from '@fastify/csrf-protection'
import helmet from '@fastify/helmet'
import websocket from '@fastify/websocket'
import { doubleCsrf } from 'csrf-csrf'
import expressCors from 'cors'
import express, { type Express } from 'express'
import express4 from 'express4'
import Fastify from 'fastify'
import expressHelmet from 'helmet'
import { Hono } from 'hono'
import passport from 'passport'
import { Strategy as LocalStrategy } from 'passport-local'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { cache, redwell, requireSession, sessionOfRequest, sessions } from '../../src/adapters/express/index.js'
import fastifyRedwell from '../../src/adapters/fastify/index.js'
import {
  redwell as honoRedwell,
  requireSession as requireHonoSession,
  sessions as honoSessions,
} from '../../src/adapters/hono/index.js'
import { createRedis, type SessionOptions } from '../../src/index.js'
import { recordingLogger, silentLogger } from '../support/logger.js'
import { startRedis } from '../support/redis-server.js'

const MEMORY = { url: 'memory:', logger: silentLogger } as const

async function listen(app: Express | Server): Promise<number> {
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

/** A browser at an origin of this machine: keeps cookies, sends JSON. */
class Visitor {
  cookies = new Map<string, string>()

  constructor(readonly port: number) {}

  get cookie(): string {
    return Array.from(this.cookies, ([name, value]) => `${name}=${value}`).join('; ')
  }

  async ask(path: string, body?: object, fields: Record<string, string> = {}) {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { cookie: this.cookie, 'content-type': 'application/json', ...fields },
      ...(body && { body: JSON.stringify(body) }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: jsonOr(text) }
  }
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

test.each([
  ['Express 5', express],
  ['Express 4', express4],
])('passport-local signs in, keeps, and signs out, with another id at each step, on %s', async (_, framework) => {
  const app = framework()
  const connected = redwell(MEMORY)
  onTestFinished(() => connected.close())
  const authenticator = new passport.Passport()
  authenticator.use(
    new LocalStrategy((username, password, done) => {
      if (password === 'right') done(null, { id: username })
      else done(null, false, { message: 'wrong' })
    }),
  )
  authenticator.serializeUser((user, done) => done(null, user.id))
  authenticator.deserializeUser((id: string, done) => done(null, { id }))
  app.use(connected, express.json(), sessions({ principal: (session) => session.passport?.user as string | undefined }))
  app.use(authenticator.initialize(), authenticator.session())
  app.get('/visit', (req, res) => {
    req.session.theme = 'dark'
    res.json(req.session)
  })
  const options = { failureMessage: true }
  app.post('/login', authenticator.authenticate('local', options), (req, res) => void res.json({ user: req.user }))
  app.post(
    '/keep',
    authenticator.authenticate('local', { keepSessionInfo: true }),
    (req, res) => void res.json(req.session),
  )
  app.get('/me', requireSession(), (req, res) => void res.json({ user: req.user, own: Object.keys(req.session) }))
  app.post('/logout', (req, res, next) => req.logout((error) => (error === undefined ? res.json({}) : next(error))))
  app.get('/names', (req, res) => {
    expect(() => Object.assign(req.session, { save: 1 })).toThrow(/is a method of the session/)
    const names: string[] = []
    for (const name in req.session) names.push(name)
    res.json(names)
  })
  const browser = new Visitor(await listen(app))
  const { redis } = connected
  expect((await browser.ask('/visit')).body).toEqual({ theme: 'dark' })
  const anonymous = browser.cookie
  expect((await browser.ask('/me')).status).toBe(401)
  expect((await browser.ask('/login', { username: 'ann', password: 'wrong' })).status).toBe(401)
  // What Passport says about the failure is in the session, which stays anonymous and keeps its id.
  expect(browser.cookie).toBe(anonymous)
  expect((await browser.ask('/visit')).body).toEqual({ theme: 'dark', messages: ['wrong'] })
  expect((await browser.ask('/login', { username: 'ann', password: 'right' })).body).toEqual({ user: { id: 'ann' } })
  const signedIn = browser.cookie
  expect(signedIn).not.toBe(anonymous)
  expect((await browser.ask('/me')).body).toEqual({ user: { id: 'ann' }, own: ['passport'] })
  expect(await redis.sessions.list('ann')).toHaveLength(1)
  expect((await browser.ask('/names')).body).toEqual(['passport'])
  // The id that was planted before the sign-in opens nothing.
  const thief = new Visitor(browser.port)
  thief.cookies.set('session', anonymous.slice('session='.length))
  expect((await thief.ask('/me')).status).toBe(401)
  expect((await browser.ask('/logout', {})).status).toBe(200)
  expect((await browser.ask('/me')).status).toBe(401)
  thief.cookies.set('session', signedIn.slice('session='.length))
  expect((await thief.ask('/me')).status).toBe(401)
  expect(await redis.sessions.list('ann')).toEqual([])
  await browser.ask('/visit')
  expect((await browser.ask('/keep', { username: 'bob', password: 'right' })).body).toEqual({
    ...{ theme: 'dark', passport: { user: 'bob' } },
  })
})

test('Passport signs out while Redis hangs: the cookie goes, and the answer says that the session may still be there', async () => {
  const server = await startRedis()
  onTestFinished(() => server.close())
  const connected = redwell({ url: server.url, commandTimeout: '300ms', logger: silentLogger })
  onTestFinished(() => connected.close())
  await connected.redis.connect()
  const authenticator = new passport.Passport()
  authenticator.serializeUser((user, done) => done(null, user.id))
  authenticator.deserializeUser((id: string, done) => done(null, { id }))
  const app = express()
  app.use(connected, express.json(), sessions({ principal: (session) => session.passport?.user as string | undefined }))
  app.use(authenticator.session())
  app.post('/login', (req, res, next) => req.login({ id: 'ann' }, (error) => (error ? next(error) : res.json({}))))
  app.post('/logout', (req, res, next) => req.logout((error) => (error ? next(error) : res.json({}))))
  const browser = new Visitor(await listen(app))
  expect((await browser.ask('/login', {})).status).toBe(200)
  server.pause()
  onTestFinished(() => server.resume())
  // Who signs in keeps the cookie of before.
  expect([(await browser.ask('/login', {})).status, browser.cookies.size]).toEqual([503, 1])
  expect([(await browser.ask('/logout', {})).status, browser.cookies.size]).toEqual([503, 0])
})

test('other options on the same handle fail every request, in Express and Hono', async () => {
  const redis = createRedis(MEMORY)
  onTestFinished(() => redis.close())
  const [one, two, three] = [express(), express(), new Hono()]
  one.use(redwell({ redis }), sessions({ idleTtl: '1m' }))
  two.use(redwell({ redis }), sessions({ principal: ({ theme }) => theme }))
  three.use(honoRedwell({ redis }), honoSessions({ principal: ({ theme }) => theme }))
  for (const app of [one, two]) app.get('/', (req, res) => void res.json({ user: req.session.subject ?? null }))
  three.get('/', (c) => c.json({ user: c.var.session.subject ?? null }))
  three.onError((error, c) => c.text(error.message, 500))
  expect(await new Visitor(await listen(one)).ask('/')).toMatchObject({ status: 200, body: { user: null } })
  const browser = new Visitor(await listen(two))
  for (let turn = 0; turn < 3; turn += 1) {
    expect(await browser.ask('/')).toMatchObject({ status: 500, body: expect.stringContaining('already configured') })
    expect(await (await three.request('/')).text()).toContain('already configured')
  }
})

test('options of createRedis count before the first request; that those of `sessions` came after a use is logged', async () => {
  const storage = createRedis(MEMORY)
  onTestFinished(() => storage.close())
  const own: SessionOptions = {
    cookie: { name: 'sid' },
    principal: ({ theme }) => theme,
    store: storage.sessions.storage,
  }
  const started = async (atStart: SessionOptions | undefined, late: SessionOptions | undefined) => {
    const logger = recordingLogger()
    const redis = createRedis({ ...MEMORY, logger, sessions: atStart })
    onTestFinished(() => redis.close())
    const app = express()
    app.use(redwell({ redis }), sessions(late))
    app.get('/', (req, res) => {
      req.session.theme = 'dark'
      res.json({})
    })
    return { redis, browser: new Visitor(await listen(app)), logger }
  }
  const { browser, logger } = await started(own, undefined)
  await browser.ask('/')
  // Another process, before its first request.
  const { redis } = await started(own, undefined)
  expect((await redis.sessions.load(browser.cookie)).subject).toBe('dark')
  const late = await started(undefined, own)
  expect((await late.redis.sessions.load(browser.cookie)).subject).toBeUndefined()
  for (let turn = 0; turn < 2; turn += 1) await late.browser.ask('/')
  const said = (lines: readonly string[]) => lines.filter((line) => line.includes('createRedis({ sessions })'))
  expect([said(late.logger.lines), said(logger.lines)]).toEqual([[expect.stringMatching(/^warn/)], []])
})

test('`ws` has the session of its upgrade, by the cookie that plain HTTP gets; one that is revoked is refused', async () => {
  const redis = createRedis(MEMORY)
  onTestFinished(() => redis.close())
  const app = express()
  app.use(redwell({ redis }), sessions())
  app.post('/login', (req, res) => {
    Object.assign(req.session, { userId: 'ann', count: 1 })
    res.json({})
  })
  const server = createServer(app)
  const sockets = new WebSocketServer({ noServer: true })
  const upgrade = async (...[request, socket, head]: Parameters<WebSocketServer['handleUpgrade']>): Promise<void> => {
    const session = await redis.sessions.load(request.headers.cookie)
    if (session.subject === undefined) return void socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
    sockets.handleUpgrade(request, socket, head, (ws) => {
      ws.on('message', () => {
        session.data.count = (session.data.count ?? 0) + 1
        session.save().then(
          () => ws.send(String(session.data.count)),
          (error: { reason: string }) => ws.close(4401, error.reason),
        )
      })
    })
  }
  server.on('upgrade', (...args) => void upgrade(...(args as unknown as Parameters<typeof upgrade>)))
  const port = await listen(server)
  const browser = new Visitor(port)
  await browser.ask('/login', {})
  expect(browser.cookie).toMatch(/^session=/)
  const load = () => redis.sessions.load(browser.cookie)
  const open = async (cookie: string | undefined): Promise<WebSocket> => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, { headers: { cookie: cookie ?? '' } })
    onTestFinished(() => ws.terminate())
    await once(ws, 'open')
    return ws
  }
  await expect(open(undefined)).rejects.toThrow('401')
  const ws = await open(browser.cookie)
  const answered = once(ws, 'message') as Promise<[Buffer]>
  ws.send('x')
  expect(String((await answered)[0])).toBe('2')
  expect((await load()).data.count).toBe(2)
  await redis.sessions.revokeAll('ann')
  const closed = once(ws, 'close') as Promise<[number, Buffer]>
  ws.send('x')
  const [code, reason] = await closed
  expect([code, String(reason), (await load()).data]).toEqual([4401, 'ended', {}])
  await expect(open(browser.cookie)).rejects.toThrow('401')
})

test('Passport: pages per user whose handlers read req.user are cached where it is the principal', async () => {
  const app = express()
  const connected = redwell({ ...MEMORY, principal: (req) => req.user?.id })
  onTestFinished(() => connected.close())
  const authenticator = new passport.Passport()
  authenticator.use(new LocalStrategy((username, _, done) => done(null, { id: username })))
  authenticator.serializeUser((user, done) => done(null, user.id))
  authenticator.deserializeUser((id: string, done) => done(null, { id }))
  app.use(connected, express.json(), sessions({ principal: (session) => session.passport?.user as string | undefined }))
  app.use(authenticator.initialize(), authenticator.session())
  app.post('/login', authenticator.authenticate('local'), (_, res) => void res.json({}))
  app.get('/home', cache({ ttl: 60, per: true }), (req, res) => void res.json({ user: req.user }))
  const port = await listen(app)
  const [ann, bob] = [new Visitor(port), new Visitor(port)]
  await ann.ask('/login', { username: 'ann', password: 'x' })
  await bob.ask('/login', { username: 'bob', password: 'x' })
  const home = async (visitor: Visitor) => {
    const { headers, body } = await visitor.ask('/home')
    await connected.redis.cache.settled()
    return [headers.get('x-redis-cache'), (body as { user: { id: string } }).user.id]
  }
  expect([await home(ann), await home(bob), await home(ann), await home(bob)]).toEqual([
    ...[
      ['MISS', 'ann'],
      ['MISS', 'bob'],
    ],
    ...[
      ['HIT', 'ann'],
      ['HIT', 'bob'],
    ],
  ])
})

test('each sign-in that the docs and the examples show asks for another id', () => {
  const pages = readdirSync('docs', { recursive: true, encoding: 'utf8' }).map((name) => `docs/${name}`)
  const examples = readdirSync('examples', { recursive: true, encoding: 'utf8' }).map((name) => `examples/${name}`)
  const own = [...pages, ...examples].filter((name) => /\.(md|ts)$/.test(name) && !name.includes('node_modules'))
  const signIns = own.flatMap((name) =>
    [...readFileSync(name, 'utf8').matchAll(/(\w+)(\.data)?\.userId = .*\n(.*)/g)].map(([, of = '', , next = '']) => ({
      ...{ name, of, next },
    })),
  )
  expect(signIns.length).toBeGreaterThan(5)
  for (const { name, of, next } of signIns) expect(`${name}: ${next.trim()}`).toContain(`${of}.rotate()`)
})

test('helmet, CORS and csrf-csrf on Express: tokens belong to the session and its user, and die with them', async () => {
  const app = express()
  const connected = redwell(MEMORY)
  onTestFinished(() => connected.close())
  app.use(expressHelmet(), expressCors({ origin: 'https://example.org', credentials: true }))
  app.use(connected, express.json(), readCookies, sessions())
  const { doubleCsrfProtection, generateCsrfToken } = doubleCsrf({
    ...{ getSecret: () => 'a secret of the application', cookieName: 'csrf', cookieOptions: { secure: false } },
    getSessionIdentifier: (req) => `${sessionOfRequest(req).handle} ${sessionOfRequest(req).subject}`,
  })
  app.use(doubleCsrfProtection)
  app.get('/form', async (req, res) => {
    // A session has a handle once it is saved.
    req.session.views = (req.session.views ?? 0) + 1
    await req.session.save()
    res.json({ token: generateCsrfToken(req, res) })
  })
  app.post('/login', (req, res) => {
    req.session.userId = 'ann'
    res.json({})
  })
  app.post('/logout', async (req, res) => {
    await req.session.end()
    res.json({})
  })
  const [browser, other] = [new Visitor(await listen(app)), new Visitor(0)]
  Object.assign(other, { port: browser.port })
  const { body, headers } = await browser.ask('/form', undefined, { origin: 'https://example.org' })
  const { token } = body as { token: string }
  expect([headers.get('x-content-type-options'), headers.get('access-control-allow-credentials')]).toEqual([
    ...['nosniff', 'true'],
  ])
  expect(headers.get('vary')).toBe('Origin, Cookie')
  expect((await browser.ask('/login', {})).status).toBe(403)
  // An anonymous session that somebody has planted, with its token, is of no use once its victim has signed in.
  const planted = new Map(browser.cookies)
  expect((await browser.ask('/login', {}, { 'x-csrf-token': token })).status).toBe(200)
  browser.cookies.set('csrf', planted.get('csrf') ?? '')
  expect((await browser.ask('/logout', {}, { 'x-csrf-token': token })).status).toBe(403)
  const signedIn = (await browser.ask('/form')).body as { token: string }
  expect((await browser.ask('/logout', {}, { 'x-csrf-token': signedIn.token })).status).toBe(200)
  // Another session, and the same browser signed out, have no use for it.
  await other.ask('/form')
  for (const visitor of [other, browser])
    expect((await visitor.ask('/login', {}, { 'x-csrf-token': token })).status).toBe(403)
})

test('@fastify/csrf-protection binds tokens to who is signed in', async () => {
  const app = Fastify()
  onTestFinished(() => app.close())
  await app.register(cookies)
  await app.register(fastifyRedwell, { ...MEMORY, sessions: {} })
  await app.register(csrf, {
    ...{ cookieOpts: { path: '/' }, csrfOpts: { hmacKey: 'a key of the application' } },
    getUserInfo: (request) => request.session.subject ?? '',
  })
  app.get('/form', async (request, reply) => ({
    token: reply.generateCsrf({ userInfo: request.session.subject ?? '' }),
  }))
  app.post('/login', async (request) => {
    request.session.data.userId = 'ann'
    return {}
  })
  app.post('/pay', { onRequest: app.csrfProtection, config: { session: 'required' } }, async () => ({ paid: true }))
  const browser = new Visitor(Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port))
  const tokenOf = async (): Promise<Record<string, string>> => ({
    'csrf-token': ((await browser.ask('/form')).body as { token: string }).token,
  })
  const before = await tokenOf()
  await browser.ask('/login', {})
  expect((await browser.ask('/pay', {}, before)).status).toBe(403)
  expect((await browser.ask('/pay', {})).status).toBe(403)
  expect((await browser.ask('/pay', {}, await tokenOf())).body).toEqual({ paid: true })
})

test('another session middleware before ours is an error that says so, in Express and Hono; behind ours it rests', async () => {
  const connected = redwell(MEMORY)
  onTestFinished(() => connected.close())
  const other = (req: express.Request, _: express.Response, next: () => void): void => {
    // As express-session, cookie-session and koa-session do.
    if (!('session' in req)) Object.assign(req, { session: {} })
    next()
  }
  const before = express()
  before.use(other, connected, sessions())
  before.use((error: Error, _: express.Request, res: express.Response, next: () => void) => {
    res.status(500).send(error.message)
    void next
  })
  const refused = await new Visitor(await listen(before)).ask('/')
  expect([refused.status, refused.body]).toEqual([500, expect.stringMatching(/req\.session is already set by another/)])
  const behind = express()
  behind.use(connected, sessions(), other)
  behind.get('/', (req, res) => void res.json((req.session.theme = 'dark')))
  expect((await new Visitor(await listen(behind)).ask('/')).body).toBe('dark')

  const redis = createRedis(MEMORY)
  onTestFinished(() => redis.close())
  const hono = new Hono()
  hono.use(honoRedwell({ redis }), async (c, next) => {
    c.set('session', {} as never)
    await next()
  })
  hono.use(honoSessions(), requireHonoSession())
  hono.onError((error, c) => c.text(error.message, 500))
  expect(await (await hono.request('/')).text()).toMatch(/c\.var\.session is already set by another/)
})

/** What cookie-parser does. */
function readCookies(req: express.Request, _: express.Response, next: () => void): void {
  const pairs = (req.headers.cookie ?? '').split('; ').map((pair) => pair.split('='))
  req.cookies = Object.fromEntries(pairs.map(([name, value]) => [name, decodeURIComponent(value ?? '')]))
  next()
}

test('a WebSocket has the session of its upgrade, beside helmet and CORS', async () => {
  const app = Fastify({ forceCloseConnections: true })
  onTestFinished(() => app.close())
  await app.register(helmet)
  await app.register(cors, { origin: ['https://example.org'], credentials: true })
  await app.register(websocket)
  await app.register(fastifyRedwell, { ...MEMORY, sessions: {} })
  app.post('/login', async (request) => {
    request.session.data.userId = 'ann'
    return 'in'
  })
  app.get('/socket', { websocket: true, config: { session: 'required' } }, (socket, request) => {
    socket.on('message', (message: Buffer) => {
      request.session.data.theme = message.toString()
      void request.session.save().then(() => socket.send(String(request.session.subject)))
    })
  })
  app.get('/theme', async ({ session }) => session.data.theme ?? '')
  await app.ready()
  const signedIn = await app.inject({ method: 'POST', url: '/login', headers: { origin: 'https://example.org' } })
  expect(signedIn.headers['x-content-type-options']).toBe('nosniff')
  expect(signedIn.headers['vary']).toBe('Origin, Cookie')
  const cookie = String(signedIn.headers['set-cookie']).split(';')[0] ?? ''
  await expect(app.injectWS('/socket', {})).rejects.toThrow('401')
  const socket = await app.injectWS('/socket', { headers: { cookie } })
  const answer = once(socket, 'message') as Promise<[Buffer]>
  socket.send('dark')
  expect(String((await answer)[0])).toBe('ann')
  socket.terminate()
  const upgraded = await app.redis.sessions.load(cookie)
  expect([upgraded.subject, upgraded.data.theme]).toEqual(['ann', 'dark'])
  expect((await app.inject({ url: '/theme', headers: { cookie } })).body).toBe('dark')
})
