import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyPluginAsync, type FastifyReply, type FastifyRequest } from 'fastify'
import redwell from '../../src/adapters/fastify/index.js'
import { silentLogger } from '../support/logger.js'
import { LONG } from './long.js'
import type { Neighbour, Start } from './compare.js'

// Without their types, which declare the same names as redwell for the whole program.
const load = createRequire(import.meta.url)
const plugin = (name: string) => load(name) as FastifyPluginAsync<Readonly<Record<string, unknown>>>

type FastifyNeighbour = Neighbour<FastifyInstance, FastifyRequest, FastifyReply>

/** What the plugins add to requests and replies. */
interface Extras {
  readonly cookies: Readonly<Record<string, string | undefined>>
  readonly session: { user?: string; get(name: string): unknown; set(name: string, value: unknown): void }
  setCookie(name: string, value: string, options: object): unknown
  jwtVerify(): Promise<{ user: string }>
  jwtSign(payload: object): Promise<string>
}
const extras = (of: object): Extras => of as Extras

const SECRET = 'a secret of at least 32 characters, for tests'

/** @fastify/session needs it, too. */
async function addCookie(app: FastifyInstance): Promise<void> {
  if (!app.hasReplyDecorator('setCookie')) await app.register(plugin('@fastify/cookie'))
}

export const fastifyNeighbours = (redisUrl: () => string): readonly FastifyNeighbour[] => [
  {
    name: '@fastify/cookie',
    add: addCookie,
    user: (request) => extras(request).cookies['user'],
    login: (_, reply, user) => void extras(reply).setCookie('user', user, { path: '/' }),
  },
  {
    name: '@fastify/session',
    kind: 'session',
    async add(app) {
      await addCookie(app)
      await app.register(plugin('@fastify/session'), { secret: SECRET, cookie: { secure: false } })
    },
    user: (request) => extras(request).session.user,
    login: (request, _, user) => void (extras(request).session.user = user),
  },
  {
    name: '@fastify/secure-session',
    kind: 'session',
    add: (app) => app.register(plugin('@fastify/secure-session'), { key: Buffer.alloc(32, 1), cookie: { path: '/' } }),
    user: (request) => extras(request).session.get('user'),
    login: (request, _, user) => extras(request).session.set('user', user),
  },
  {
    name: '@fastify/jwt',
    add: (app) => app.register(plugin('@fastify/jwt'), { secret: SECRET }),
    user: async (request) =>
      request.headers.authorization === undefined ? undefined : (await extras(request).jwtVerify()).user,
    login: async (_, reply, user) => `token:${await extras(reply).jwtSign({ user })}`,
  },
  {
    name: '@fastify/redis',
    add: (app) => app.register(plugin('@fastify/redis'), { url: redisUrl() }),
    names: { redis: 'redwellRedis' },
  },
  {
    name: '@fastify/caching',
    add: (app) => app.register(plugin('@fastify/caching'), { privacy: 'public', expiresIn: 300 }),
    names: { cache: 'redwellCache' },
    changes: ['cache-control'],
  },
  {
    name: '@fastify/rate-limit',
    add: (app) => app.register(plugin('@fastify/rate-limit'), { max: 1000, timeWindow: '1 hour' }),
    names: { rateLimit: 'limit' },
  },
  { name: '@fastify/cors', add: (app) => app.register(plugin('@fastify/cors'), { origin: true, credentials: true }) },
  { name: '@fastify/helmet', add: (app) => app.register(plugin('@fastify/helmet')) },
  { name: '@fastify/compress', add: (app) => app.register(plugin('@fastify/compress'), { threshold: 0 }) },
  { name: '@fastify/etag', add: (app) => app.register(plugin('@fastify/etag')), changes: ['etag'] },
]

export const startFastify: Start<FastifyInstance, FastifyRequest, FastifyReply> = async (neighbours, order) => {
  const app = Fastify()
  const names = Object.assign({}, ...neighbours.map((one) => one.names ?? {})) as object
  const cache = () => app.register(redwell, { url: 'memory:', logger: silentLogger, names })
  if (order === 'after') await cache()
  for (const { add } of neighbours) await add(app)
  if (order === 'before') await cache()
  declare(app, neighbours, order !== 'none')
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
}

function declare(app: FastifyInstance, neighbours: readonly FastifyNeighbour[], isCached: boolean): void {
  let version = 1
  const config = isCached ? { cache: { ttl: 60, group: 'items' } } : {}
  app.get('/items', { config }, async () => ({ version }))
  app.get('/long', { config }, async () => ({ text: LONG }))
  app.get('/missing', { config }, async (_, reply) => reply.code(404).send({ found: false }))
  app.get('/fails', { config }, async () => {
    throw new Error('no database')
  })
  app.get('/me', { config }, async (request) => {
    const users = await Promise.all(neighbours.map(({ user }) => user?.(request)))
    return { users }
  })
  app.post('/items', isCached ? { config: { cacheEvict: { group: 'items' } } } : {}, async () => ({
    version: (version += 1),
  }))
  app.post<{ Params: { user: string } }>('/login/:user', async (request, reply) => {
    const tokens = await Promise.all(neighbours.map(({ login }) => login?.(request, reply, request.params.user)))
    return tokens.find((token) => typeof token === 'string') ?? 'signed in'
  })
}
