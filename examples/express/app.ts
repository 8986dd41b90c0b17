import compression from 'compression'
import cors from 'cors'
import express, { type ErrorRequestHandler, type Express } from 'express'
import helmet from 'helmet'
import { cache, type RedwellMiddleware } from 'redwell/express'
import { ZodError } from 'zod'
import type { Catalogue } from '../shop/catalogue.js'
import { startPage } from '../shop/page.js'
import { accountRoutes, authenticate } from './account.js'
import { cartRoutes } from './cart.js'
import { productRoutes } from './products.js'

/** `connected`: `redwell({ url })`. Whoever made it closes it. */
export function buildApp(catalogue: Catalogue, connected: RedwellMiddleware): Express {
  const app = express()
  app.use(connected)
  // Outside of the cache: what is stored is plain, and these fields are set anew for each response.
  app.use(helmet(), cors({ origin: 'https://shop.example', credentials: true }), compression(), express.json())
  // Before the cache, which asks whose session it is.
  app.use(authenticate())

  // Each signed-in user has an entry, and all anonymous visitors share one.
  app.get('/', cache({ ttl: '1m', per: true, group: 'products' }), async (req, res) => {
    res.send(startPage(req.user?.id, await catalogue.list()))
  })
  // The shop works without Redis, only slower, so its state is no reason to answer 503.
  app.get('/health', (_req, res) => void res.json({ redis: res.locals.redis.status }))

  app.use(accountRoutes())
  app.use('/cart', cartRoutes(catalogue))
  for (const version of [1, 2] as const) app.use(`/v${version}/products`, productRoutes(catalogue, version))
  return app.use(answerError)
}

const answerError: ErrorRequestHandler = (error: unknown, _req, res, next) => {
  if (res.headersSent) return next(error)
  if (error instanceof ZodError) return void res.status(400).json({ message: 'invalid request', issues: error.issues })
  console.error(error)
  res.status(500).json({ message: 'something failed on our side' })
}
