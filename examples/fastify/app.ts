import compress from '@fastify/compress'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import redwell, { type RedwellFastifyOptions } from 'redwell/fastify'
import type { Catalogue } from '../shop/catalogue.js'
import { startPage } from '../shop/page.js'
import { accountRoutes, sessions } from './account.js'
import { cartRoutes } from './cart.js'
import { productRoutes } from './products.js'

export interface AppOptions {
  readonly catalogue: Catalogue
  /** Settings of redwell. Tests use `url: 'memory:'`. */
  readonly redis?: RedwellFastifyOptions
  readonly logger?: FastifyServerOptions['logger']
}

/** The application, not listening yet. */
export async function buildApp({ catalogue, redis = {}, logger = false }: AppOptions): Promise<FastifyInstance> {
  const app = Fastify({ logger })
  // Before the routes, and with `await`. With `sessions`, the signed-in user is the principal of the cache.
  await app.register(redwell, { sessions, ...redis })
  await app.register(helmet)
  await app.register(cors, { origin: ['https://shop.example'], credentials: true })
  await app.register(compress)

  // Each signed-in user has an entry, and all anonymous visitors share one.
  app.get('/', { config: { cache: { ttl: '1m', per: true, group: 'products' } } }, async ({ session }, reply) =>
    reply.type('text/html; charset=utf-8').send(startPage(session.subject, await catalogue.list())),
  )
  // The shop works without Redis, only slower, so its state is no reason to answer 503.
  app.get('/health', async () => ({ redis: app.redis.status }))

  await app.register(productRoutes, { catalogue })
  await app.register(cartRoutes, { catalogue })
  await app.register(accountRoutes)
  return app
}
