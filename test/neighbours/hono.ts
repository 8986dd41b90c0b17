import { serve } from '@hono/node-server'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { compress } from 'hono/compress'
import { cors } from 'hono/cors'
import { etag } from 'hono/etag'
import { jwt, sign } from 'hono/jwt'
import { secureHeaders } from 'hono/secure-headers'
import { timeout } from 'hono/timeout'
import { CookieStore, type Session, sessionMiddleware } from 'hono-sessions'
import { cache, cacheEvict, redwell } from '../../src/adapters/hono/index.js'
import { silentLogger } from '../support/logger.js'
import type { Neighbour, Start } from './compare.js'
import { LONG } from './long.js'

type HonoNeighbour = Neighbour<Hono, Context, Context>

const SECRET = 'a secret of at least 32 characters, for tests'

const verified = jwt({ secret: SECRET, alg: 'HS256' })

const sessionOf = (c: Context): Session => c.get('session') as unknown as Session

export const honoNeighbours: readonly HonoNeighbour[] = [
  { name: 'hono/cors', add: (app) => app.use(cors({ origin: (origin) => origin, credentials: true })) },
  {
    name: 'hono/jwt',
    add: (app) => app.use((c, next) => (c.req.header('authorization') === undefined ? next() : verified(c, next))),
    user: (c) => (c.get('jwtPayload') as { user: string } | undefined)?.user,
    login: async (_c, _, user) => `token:${await sign({ user }, SECRET, 'HS256')}`,
  },
  { name: 'hono/timeout', add: (app) => app.use(timeout(60_000)) },
  { name: 'hono/compress', add: (app) => app.use(compress({ threshold: 0 })) },
  { name: 'hono/etag', add: (app) => app.use(etag()), changes: ['etag'] },
  { name: 'hono/secure-headers', add: (app) => app.use(secureHeaders()) },
  {
    name: 'hono-sessions',
    add: (app) =>
      app.use(
        sessionMiddleware({
          store: new CookieStore(),
          encryptionKey: SECRET,
          cookieOptions: { path: '/' },
        }),
      ),
    user: (c) => sessionOf(c).get('user'),
    login: (c, _, user) => sessionOf(c).set('user', user),
  },
]

export const startHono: Start<Hono, Context, Context> = async (neighbours, order) => {
  const app = new Hono()
  const cached = redwell({ url: 'memory:', logger: silentLogger })
  if (order === 'after') app.use(cached)
  for (const { add } of neighbours) add(app)
  if (order === 'before') app.use(cached)
  declare(app, neighbours, order !== 'none')
  app.onError((_error, c) => c.json({ failed: true }, 500))
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server
  if (!server.listening) await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.close()
      server.closeAllConnections()
      await cached.close()
    },
  }
}

const pass: MiddlewareHandler = (_c, next) => next()

function declare(app: Hono, neighbours: readonly HonoNeighbour[], isCached: boolean): void {
  let version = 1
  const kept = isCached ? cache({ ttl: 60, group: 'items' }) : pass
  app.get('/items', kept, (c) => c.json({ version }))
  app.get('/long', kept, (c) => c.json({ text: LONG }))
  app.get('/missing', kept, (c) => c.json({ found: false }, 404))
  app.get('/fails', kept, () => {
    throw new Error('no database')
  })
  app.get('/me', kept, (c) => c.json({ users: neighbours.map(({ user }) => user?.(c) ?? null) }))
  app.post('/items', isCached ? cacheEvict({ group: 'items' }) : pass, (c) => c.json({ version: (version += 1) }))
  app.post('/login/:user', async (c) => {
    const user = c.req.param('user')
    const tokens = await Promise.all(neighbours.map(({ login }) => login?.(c, c, user)))
    return c.text(tokens.find((token): token is string => typeof token === 'string') ?? 'signed in')
  })
}
