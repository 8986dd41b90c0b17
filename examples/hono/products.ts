import { zValidator } from '@hono/zod-validator'
import { type Context, Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { cache, cacheEvict, cachePut } from 'redwell/hono'
import * as z from 'zod'
import { type Catalogue, CATEGORIES, inVersion2, type Product } from '../shop/catalogue.js'
import { requireStaff, requireUser } from './account.js'

export const productId = z.object({ id: z.string().regex(/^[0-9]{1,9}$/) })

const category = z.enum(CATEGORIES)

const search = z.object({ category: category.optional() })

const product = z.object({ name: z.string().min(1).max(100), category, cents: z.int().min(0) })

/** Entries that show a product carry this group. */
export const productGroup = (id: string) => `product:${id}`

const groupOf = (c: Context) => productGroup(c.req.param('id') ?? '')

/** Signed-in users see the same products as everybody: `shared`. */
const ITEM = { ttl: { 200: '5m', 404: '10s' }, group: groupOf, shared: true, query: { only: [] } } as const

/** The products in a version of the interface. Both versions of a product carry its group, so a write evicts both. */
export function productRoutes(catalogue: Catalogue, version: 1 | 2) {
  const shown = (one: Product): object => (version === 1 ? one : inVersion2(one))
  const changed = cacheEvict({ group: (c) => ['products', groupOf(c)] })
  // "No such product" may be cached for the new id, so it is evicted as well.
  const created = cacheEvict({ group: (_c, result) => ['products', productGroup(result.json<Product>().id)] })
  const withId = zValidator('param', productId)
  const withProduct = zValidator('json', product)

  return (
    new Hono()
      .get(
        '/products',
        zValidator('query', search),
        cache({ ttl: '1m', group: 'products', shared: true, query: { only: ['category'] } }),
        async (c) => c.json((await catalogue.list(c.req.valid('query').category)).map(shown)),
      )
      .get('/products/:id', withId, cache(ITEM), async (c) => {
        const found = await catalogue.find(c.req.valid('param').id)
        if (found === undefined) throw new HTTPException(404, { message: 'no such product' })
        return c.json(shown(found))
      })
      .post('/products', requireUser, requireStaff, withProduct, created, async (c) => {
        const made = await catalogue.create(c.req.valid('json'))
        return c.json(shown(made), 201, { location: `/v${version}/products/${made.id}` })
      })
      // The next GET of this path is a HIT with this response. Lists, carts and the other version are evicted.
      .put('/products/:id', requireUser, requireStaff, withId, withProduct, cachePut(ITEM), changed, async (c) =>
        c.json(shown(await catalogue.save({ ...c.req.valid('json'), id: c.req.valid('param').id }))),
      )
      .delete('/products/:id', requireUser, requireStaff, withId, changed, async (c) => {
        if (!(await catalogue.remove(c.req.valid('param').id)))
          throw new HTTPException(404, { message: 'no such product' })
        return c.body(null, 204)
      })
  )
}
