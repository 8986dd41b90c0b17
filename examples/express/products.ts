import { Router } from 'express'
import { cache, cacheEvict, cachePut } from 'redwell/express'
import * as z from 'zod'
import { type Catalogue, CATEGORIES, inVersion2, type Product } from '../shop/catalogue.js'
import { requireStaff, requireUser } from './account.js'

export const productId = z.string().regex(/^[0-9]{1,9}$/)

const category = z.enum(CATEGORIES)

const product = z.object({ name: z.string().min(1).max(100), category, cents: z.int().min(0) })

/** Entries that show a product carry this group. */
export const productGroup = (id: string) => `product:${id}`

interface One {
  id: string
}

/** The products in a version of the interface. Both versions of a product carry its group, so a write evicts both. */
export function productRoutes(catalogue: Catalogue, version: 1 | 2): Router {
  const shown = (one: Product): object => (version === 1 ? one : inVersion2(one))
  const changed = cacheEvict<One>({ group: (req) => ['products', productGroup(req.params.id)] })
  // "No such product" may be cached for the new id, so it is evicted as well.
  const created = cacheEvict({ group: (_req, result) => ['products', productGroup(result.json<Product>().id)] })
  // Signed-in users see the same products as everybody: `shared`.
  const item = {
    ttl: { 200: '5m', 404: '10s' },
    group: (req: { params: One }) => productGroup(req.params.id),
    shared: true,
    query: { only: [] },
  } as const

  return (
    Router()
      .get(
        '/',
        cache({ ttl: '1m', group: 'products', shared: true, query: { only: ['category'] } }),
        async (req, res) => {
          const list = await catalogue.list(category.optional().parse(req.query['category']))
          res.json(list.map(shown))
        },
      )
      .get('/:id', cache(item), async (req, res) => {
        const found = await catalogue.find(productId.parse(req.params.id))
        if (found === undefined) res.status(404).json({ message: 'no such product' })
        else res.json(shown(found))
      })
      .post('/', requireUser, requireStaff, created, async (req, res) => {
        const made = await catalogue.create(product.parse(req.body))
        res.status(201).location(`/v${version}/products/${made.id}`).json(shown(made))
      })
      // The next GET of this path is a HIT with this response. Lists, carts and the other version are evicted.
      .put('/:id', requireUser, requireStaff, cachePut(item), changed, async (req, res) => {
        res.json(shown(await catalogue.save({ ...product.parse(req.body), id: productId.parse(req.params['id']) })))
      })
      .delete('/:id', requireUser, requireStaff, changed, async (req, res) => {
        if (await catalogue.remove(productId.parse(req.params['id']))) res.status(204).end()
        else res.status(404).json({ message: 'no such product' })
      })
  )
}
