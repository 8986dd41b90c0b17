import { once } from 'node:events'
import type { Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import express, { type Express, type Request, type RequestHandler, type Response } from 'express'
import { cache, cacheEvict, redwell } from '../../src/adapters/express/index.js'
import { silentLogger } from '../support/logger.js'
import type { Neighbour, Start } from './compare.js'
import { LONG } from './long.js'

// Without their types: that of express-session declares `req.session` for the whole program.
const load = createRequire(import.meta.url)
const middleware = (name: string, options?: object): RequestHandler =>
  (load(name) as (options?: object) => RequestHandler)(options)

type ExpressNeighbour = Neighbour<Express, Request, Response>

interface WithSession {
  session: { user?: string }
}

interface WithUser {
  user?: { name: string }
  login(user: object, done: (error?: Error) => void): void
}

interface Passport {
  serializeUser(to: (user: { name: string }, done: (error: null, id: string) => void) => void): void
  deserializeUser(to: (id: string, done: (error: null, user: object) => void) => void): void
  initialize(): RequestHandler
  session(): RequestHandler
}

const session = (name: string): RequestHandler =>
  middleware('express-session', { name, secret: 'for tests', resave: false, saveUninitialized: false })

function passport(): Passport {
  const { Passport: Constructor } = load('passport') as { Passport: new () => Passport }
  const own = new Constructor()
  own.serializeUser((user, done) => done(null, user.name))
  own.deserializeUser((name, done) => done(null, { name }))
  return own
}

export const expressNeighbours: readonly ExpressNeighbour[] = [
  {
    name: 'express-session',
    kind: 'session',
    add: (app) => app.use(session('sid')),
    user: (req) => (req as unknown as WithSession).session.user,
    login: (req, _, user) => void ((req as unknown as WithSession).session.user = user),
  },
  {
    name: 'passport',
    kind: 'session',
    add(app) {
      const own = passport()
      app.use(session('sid'), own.initialize(), own.session())
    },
    user: (req) => (req as unknown as WithUser).user?.name,
    login: (req, _, name) =>
      new Promise<void>((resolve, reject) =>
        (req as unknown as WithUser).login({ name }, (error) => (error === undefined ? resolve() : reject(error))),
      ),
  },
  { name: 'cors', add: (app) => app.use(middleware('cors', { origin: true, credentials: true })) },
  {
    name: 'helmet',
    add: (app) => app.use((load('helmet') as { default: () => RequestHandler }).default()),
  },
  { name: 'compression', add: (app) => app.use(middleware('compression', { threshold: 0 })) },
  {
    name: 'vhost',
    add: () => {},
    routes(app) {
      const site = express()
      const vhost = load('vhost') as (host: string, to: Express) => RequestHandler
      app.use(vhost('*.example', site))
      return site
    },
  },
]

export const startExpress =
  (version: 4 | 5): Start<Express, Request, Response> =>
  async (neighbours, order) => {
    const create = version === 5 ? express : (load('express4') as typeof express)
    const app = create()
    const cached = redwell({ url: 'memory:', logger: silentLogger })
    if (order === 'after') app.use(cached)
    for (const { add } of neighbours) add(app)
    if (order === 'before') app.use(cached)
    const routes = neighbours.find((one) => one.routes !== undefined)?.routes?.(app) ?? app
    declare(routes, neighbours, order !== 'none')
    app.use(
      (_error: unknown, _req: Request, res: Response, _next: unknown) => void res.status(500).json({ failed: true }),
    )
    const server: Server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      port: (server.address() as AddressInfo).port,
      async close() {
        server.close()
        server.closeAllConnections()
        await cached.close()
      },
    }
  }

const pass: RequestHandler = (_req, _res, next) => next()

function declare(app: Express, neighbours: readonly ExpressNeighbour[], isCached: boolean): void {
  let version = 1
  const kept = isCached ? cache({ ttl: 60, group: 'items' }) : pass
  app.get('/items', kept, (_req, res) => void res.json({ version }))
  app.get('/long', kept, (_req, res) => void res.json({ text: LONG }))
  app.get('/missing', kept, (_req, res) => void res.status(404).json({ found: false }))
  app.get('/fails', kept, () => {
    throw new Error('no database')
  })
  app.get('/me', kept, (req, res) => void res.json({ users: neighbours.map(({ user }) => user?.(req)) }))
  app.post('/items', isCached ? cacheEvict({ group: 'items' }) : pass, (_req, res) => {
    version += 1
    res.json({ version })
  })
  app.post('/login/:user', (req, res, next) => {
    const user = req.params['user']
    Promise.all(neighbours.map(({ login }) => login?.(req, res, user))).then(() => res.send('signed in'), next)
  })
}
