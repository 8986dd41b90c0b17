import { Hono } from 'hono'
import { compress } from 'hono/compress'
import { cors } from 'hono/cors'
import { HTTPException } from 'hono/http-exception'
import { secureHeaders } from 'hono/secure-headers'
import { cache, type RedwellMiddleware } from 'redwell/hono'
import type { Catalogue } from '../shop/catalogue.js'
import { startPage } from '../shop/page.js'
import { accountRoutes, authenticate } from './account.js'
import { cartRoutes } from './cart.js'
import { productRoutes } from './products.js'

/** `connected`: `redwell({ url, principal })`. Whoever made it closes it. */
export function buildApp(catalogue: Catalogue, connected: RedwellMiddleware): Hono {
  const app = new Hono()
  app.use(connected)
  // Outside of the cache: what is stored is plain, and these fields are set anew for each response.
  app.use(secureHeaders(), cors({ origin: 'https://shop.example', credentials: true }), compress())
  // Before the cache, which asks who is signed in.
  app.use(authenticate)

  // Each signed-in user has an entry, and all anonymous visitors share one.
  app.get('/', cache({ ttl: '1m', per: true, group: 'products' }), async (c) =>
    c.html(startPage(c.var.account, await catalogue.list())),
  )
  // The shop works without Redis, only slower, so its state is no reason to answer 503.
  app.get('/health', (c) => c.json({ redis: c.var.redis.status }))

  app.route('/', accountRoutes())
  app.route('/', cartRoutes(catalogue))
  for (const version of [1, 2] as const) app.route(`/v${version}`, productRoutes(catalogue, version))
  app.onError((error, c) => {
    if (error instanceof HTTPException) return c.json({ message: error.message }, error.status)
    console.error(error)
    return c.json({ message: 'something failed on our side' }, 500)
  })
  return app
}
