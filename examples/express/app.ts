import express, { type Express, type NextFunction, type Request, type Response } from 'express'
import type { Redis } from 'redwell'
import { cache, cacheEvict, cacheGroups, cachePut, redwell } from 'redwell/express'

export interface Product {
  readonly id: string
  readonly name: string
  readonly owner: string
}

/** A shop of a few products. Tests give a Redis of their own. */
export function buildApp(redis: Redis): Express {
  const products = new Map<string, Product>([
    ['1', { id: '1', name: 'Lamp', owner: 'ann' }],
    ['2', { id: '2', name: 'Chair', owner: 'bob' }],
  ])
  const app = express()
  app.use(redwell({ redis }))
  app.use(express.json())

  app.get('/products', cache({ ttl: '1m', group: 'lists' }), (_req, res) => {
    res.json([...products.values()])
  })

  app.get('/products/:id', cache({ ttl: '5m', group: 'products', statuses: [200, 404] }), (req, res) => {
    const product = products.get(req.params.id)
    if (product === undefined) return void res.status(404).json({ error: 'no such product' })
    cacheGroups(res, `owner:${product.owner}`)
    res.json(product)
  })

  // The next GET of this path is a HIT with this body, and lists are made anew.
  app.put(
    '/products/:id',
    cachePut({ ttl: '5m', group: (req) => ['products', `owner:${(req.body as Product).owner}`] }),
    cacheEvict({ group: 'lists' }),
    (req: Request<{ id: string }, unknown, Pick<Product, 'name' | 'owner'>>, res) => {
      const product = { id: req.params.id, name: req.body.name, owner: req.body.owner }
      products.set(product.id, product)
      res.json(product)
    },
  )

  app.delete('/products/:id', cacheEvict({ key: 'path', group: 'lists' }), (req, res) => {
    products.delete(req.params.id)
    res.status(204).end()
  })

  app.delete(
    '/owners/:owner/products',
    cacheEvict<{ owner: string }>({ group: (req) => [`owner:${req.params.owner}`, 'lists'] }),
    (req, res) => {
      for (const { id, owner } of products.values()) if (owner === req.params.owner) products.delete(id)
      res.status(204).end()
    },
  )

  app.get('/count', async (_req, res) => {
    res.json(await res.locals.cache.getOrSet('count', () => products.size, { ttl: '1m', group: 'lists' }))
  })

  app.get('/health', (_req, res) => {
    const { status } = res.locals.redis
    res.status(status === 'ready' ? 200 : 503).json({ redis: status })
  })

  return app.use(answerError)
}

function answerError(error: Error, _req: Request, res: Response, next: NextFunction): void {
  if (res.headersSent) return next(error)
  res.status(500).json({ error: error.message })
}
