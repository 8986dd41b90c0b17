import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import websocket from '@fastify/websocket'
import express from 'express'
import Fastify from 'fastify'
import passport from 'passport'
import { expect, onTestFinished, test } from 'vitest'
import { redwell, requireSession, sessions } from '../../src/adapters/express/index.js'
import fastifyRedwell from '../../src/adapters/fastify/index.js'
import { silentLogger } from '../support/logger.js'

const MEMORY = { url: 'memory:', logger: silentLogger } as const

/** A strategy as passport-local is one: a name and a password of the body. */
class Local extends passport.Strategy {
  override name = 'local'
  override authenticate(req: express.Request): void {
    const { username, password } = req.body as { username: string; password: string }
    if (password === 'right') this.success({ id: username })
    else this.fail({ message: 'wrong' }, 401)
  }
}

test('Passport signs in, keeps, and signs out, with another id at each step', async () => {
  const app = express()
  const connected = redwell(MEMORY)
  const authenticator = new passport.Passport()
  authenticator.use(new Local())
  authenticator.serializeUser((user, done) => done(null, (user as { id: string }).id))
  authenticator.deserializeUser((id: string, done) => done(null, { id }))
  app.use(connected, express.json(), sessions({ principal: (session) => session.passport?.user as string | undefined }))
  app.use(authenticator.initialize(), authenticator.session())
  app.get('/visit', (req, res) => {
    req.session.theme = 'dark'
    res.json(req.session)
  })
  app.post('/login', authenticator.authenticate('local'), (req, res) => void res.json({ user: req.user }))
  app.get('/me', requireSession(), (req, res) => void res.json({ user: req.user, own: Object.keys(req.session) }))
  app.post('/logout', (req, res, next) => req.logout((error) => (error === undefined ? res.json({}) : next(error))))
  app.get('/names', (req, res) => {
    expect(() => Object.assign(req.session, { save: 1 })).toThrow(/is a method of the session/)
    const names: string[] = []
    for (const name in req.session) names.push(name)
    res.json(names)
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await connected.close()
  })
  const { port } = server.address() as AddressInfo
  let cookie = ''
  const ask = async (path: string, body?: object) => {
    const headers = { cookie, 'content-type': 'application/json' }
    const method = body === undefined ? 'GET' : 'POST'
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers,
      ...(body && { body: JSON.stringify(body) }),
    })
    const [line] = response.headers.getSetCookie()
    if (line !== undefined) cookie = line.split(';')[0] ?? ''
    return { status: response.status, body: await response.json().catch(() => undefined) }
  }
  expect((await ask('/visit')).body).toEqual({ theme: 'dark' })
  const anonymous = cookie
  expect((await ask('/me')).status).toBe(401)
  expect((await ask('/login', { username: 'ann', password: 'wrong' })).status).toBe(401)
  expect((await ask('/login', { username: 'ann', password: 'right' })).body).toEqual({ user: { id: 'ann' } })
  const signedIn = cookie
  expect(signedIn).not.toBe(anonymous)
  expect((await ask('/me')).body).toEqual({ user: { id: 'ann' }, own: ['passport'] })
  expect(await connected.redis.sessions.list('ann')).toHaveLength(1)
  expect((await ask('/names')).body).toEqual(['passport'])
  expect((await ask('/logout', {})).status).toBe(200)
  expect((await ask('/me')).status).toBe(401)
  cookie = signedIn
  expect((await ask('/me')).status).toBe(401)
  expect(await connected.redis.sessions.list('ann')).toEqual([])
})

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
