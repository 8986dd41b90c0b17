import { type Request, Router } from 'express'
import { cache, cacheEvict, cacheGroups } from 'redwell/express'
import * as z from 'zod'
import type { Catalogue } from '../shop/catalogue.js'
import { requireUser } from './account.js'
import { productGroup, productId } from './products.js'

const cartGroup = (req: Request) => `cart:${req.user?.id}`

const inCart = z.object({ count: z.int().min(0).max(99) })

export function cartRoutes(catalogue: Catalogue): Router {
  return (
    Router()
      // The guard stands before the cache, so a hit never skips it.
      .use(requireUser)
      .get('/', cache({ ttl: '10m', per: true, group: cartGroup }), async (req, res) => {
        const lines = await catalogue.cartOf(String(req.user?.id))
        cacheGroups(res, ...lines.map(({ id }) => productGroup(id))) // a new price shows in every cart
        res.json(lines)
      })
      .put('/:id', cacheEvict({ group: cartGroup }), async (req, res) => {
        const { count } = inCart.parse(req.body)
        await catalogue.putIntoCart(String(req.user?.id), productId.parse(req.params.id), count)
        res.status(204).end()
      })
  )
}
