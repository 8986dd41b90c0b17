import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { basicAuth, dashboard } from 'redwell/dashboard'
import redwell, { type RedwellFastifyOptions } from 'redwell/fastify'
import { accountRoutes, sessions } from './account/routes.js'
import type { Database } from './database.js'
import { answerErrors } from './errors.js'
import { countryRoutes } from './routes/countries.js'
import { favouriteRoutes } from './routes/favourites.js'
import { operationRoutes } from './routes/operations.js'
import { placeRoutes } from './routes/places.js'

export interface AppOptions {
  db: Database
  /** Settings of the cache. `url: 'memory:'` is the embedded store. */
  redis: RedwellFastifyOptions
  /** What `POST /admin/clear/:group` asks for, and the password of `admin` for the dashboard. */
  adminToken?: string
  logger?: FastifyServerOptions['logger']
}

/** For the demonstration. A real one comes from the environment and nowhere else. */
export const DEMO_ADMIN_TOKEN = 'demo-admin'

/** The application, not listening yet: a server listens, a test injects. Whoever opened the database closes it. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { db, redis, adminToken = DEMO_ADMIN_TOKEN, logger = false } = options
  const app = Fastify({ logger })
  answerErrors(app)
  await app.register(redwell, { sessions, ...redis })
  placeRoutes(app, db)
  countryRoutes(app, db)
  await app.register(favouriteRoutes, { db })
  await app.register(accountRoutes)
  await app.register(operationRoutes, { db, adminToken })
  const panel = dashboard(app.redis, { guard: basicAuth({ username: 'admin', password: adminToken }) })
  await app.register(panel.fastify, { prefix: '/ops' })
  return app
}
