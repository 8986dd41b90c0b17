import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { FastifyCacheOptions } from 'redwell/fastify'
import { type Catalogue, CATEGORIES, type Category, inVersion2, type NewProduct } from '../shop/catalogue.js'
import { isStaff } from '../shop/users.js'

interface One {
  Params: { id: string }
}

export const productId = {
  type: 'object',
  properties: { id: { type: 'string', pattern: '^[0-9]{1,9}$' } },
  required: ['id'],
} as const

const category = { type: 'string', enum: CATEGORIES } as const

const search = { type: 'object', properties: { category } } as const

const product = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 100 },
    category,
    cents: { type: 'integer', minimum: 0 },
  },
  required: ['name', 'category', 'cents'],
  additionalProperties: false,
} as const

/** Entries that show a product carry this group. */
export const productGroup = (id: string) => `product:${id}`

const groupOf = ({ params }: FastifyRequest<One>) => productGroup(params.id)

/** Signed-in users see the same products as everybody: `shared`. */
const LIST: FastifyCacheOptions = { ttl: '1m', group: 'products', shared: true, query: { only: ['category'] } }
const ITEM: FastifyCacheOptions = {
  ttl: { 200: '5m', 404: '10s' },
  group: groupOf,
  shared: true,
  query: { only: [] },
}

async function requireStaff({ session }: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  return isStaff(session.subject) ? undefined : reply.code(403).send({ message: 'only staff may change products' })
}

export async function productRoutes(app: FastifyInstance, { catalogue }: { catalogue: Catalogue }): Promise<void> {
  const notFound = (reply: FastifyReply) => reply.code(404).send({ message: 'no such product' })
  const staff = { config: { session: 'required' }, preHandler: requireStaff } as const

  app.get<{ Querystring: { category?: Category } }>(
    '/products',
    { schema: { querystring: search }, config: { cache: LIST } },
    async ({ query }) => catalogue.list(query.category),
  )

  const item = { schema: { params: productId }, config: { cache: ITEM } }
  app.get<One>('/products/:id', item, async ({ params }, reply) => {
    return (await catalogue.find(params.id)) ?? notFound(reply)
  })

  // For `Accept-Version: 2.x`. The version is part of the key without being asked for.
  const version2 = { ...item, constraints: { version: '2.0.0' } }
  app.get<One>('/products/:id', version2, async ({ params }, reply) => {
    const found = await catalogue.find(params.id)
    return found === undefined ? notFound(reply) : inVersion2(found)
  })

  app.post<{ Body: NewProduct }>(
    '/products',
    { ...staff, schema: { body: product }, config: { ...staff.config, cacheEvict: { group: 'products' } } },
    async ({ body }, reply) => {
      const created = await catalogue.create(body)
      return reply.code(201).header('location', `/products/${created.id}`).send(created)
    },
  )

  // The next GET of this path is a HIT with this response. Lists, carts and version 2 are evicted.
  const changed = { group: (request: FastifyRequest<One>) => ['products', groupOf(request)] }
  app.put<One & { Body: NewProduct }>(
    '/products/:id',
    {
      ...staff,
      schema: { params: productId, body: product },
      config: { ...staff.config, cachePut: ITEM, cacheEvict: changed },
    },
    async ({ params, body }) => catalogue.save({ ...body, id: params.id }),
  )

  app.delete<One>(
    '/products/:id',
    { ...staff, schema: { params: productId }, config: { ...staff.config, cacheEvict: changed } },
    async ({ params }, reply) => {
      return (await catalogue.remove(params.id)) ? reply.code(204).send() : notFound(reply)
    },
  )
}
