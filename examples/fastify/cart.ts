import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { FastifyCacheEvictOptions, FastifyCacheOptions } from 'redwell/fastify'
import type { Catalogue } from '../shop/catalogue.js'
import { productGroup, productId } from './products.js'

const cartGroup = ({ session }: FastifyRequest) => `cart:${session.subject}`

const cache: FastifyCacheOptions = { ttl: '10m', per: true, group: cartGroup }
const cacheEvict: FastifyCacheEvictOptions = { group: cartGroup }

interface InCart {
  count: number
}

const inCart = {
  type: 'object',
  properties: { count: { type: 'integer', minimum: 0, maximum: 99 } },
  required: ['count'],
} as const

export async function cartRoutes(app: FastifyInstance, { catalogue }: { catalogue: Catalogue }): Promise<void> {
  // The guard runs before the cache, so a hit never skips it.
  app.get('/cart', { config: { session: 'required', cache } }, async ({ session }, reply) => {
    const lines = await catalogue.cartOf(String(session.subject))
    reply.cacheGroups(...lines.map(({ id }) => productGroup(id))) // a new price shows in every cart
    return lines
  })

  const options = { schema: { params: productId, body: inCart }, config: { session: 'required', cacheEvict } } as const
  app.put<{ Params: { id: string }; Body: InCart }>('/cart/:id', options, async ({ params, body, session }, reply) => {
    await catalogue.putIntoCart(String(session.subject), params.id, body.count)
    return reply.code(204).send()
  })
}
