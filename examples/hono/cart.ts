import { zValidator } from '@hono/zod-validator'
import { type Context, Hono } from 'hono'
import { cache, cacheEvict, cacheGroups } from 'redwell/hono'
import * as z from 'zod'
import type { Catalogue } from '../shop/catalogue.js'
import { requireUser } from './account.js'
import { productGroup, productId } from './products.js'

const cartGroup = (c: Context) => `cart:${c.var.account}`

const inCart = z.object({ count: z.int().min(0).max(99) })

export function cartRoutes(catalogue: Catalogue) {
  return (
    new Hono()
      // The guard stands before the cache, so a hit never skips it.
      .get('/cart', requireUser, cache({ ttl: '10m', per: true, group: cartGroup }), async (c) => {
        const lines = await catalogue.cartOf(String(c.var.account))
        cacheGroups(c, ...lines.map(({ id }) => productGroup(id))) // a new price shows in every cart
        return c.json(lines)
      })
      .put(
        '/cart/:id',
        requireUser,
        zValidator('param', productId),
        zValidator('json', inCart),
        cacheEvict({ group: cartGroup }),
        async (c) => {
          await catalogue.putIntoCart(String(c.var.account), c.req.valid('param').id, c.req.valid('json').count)
          return c.body(null, 204)
        },
      )
  )
}
