import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { tunedClient } from './client.js'
import { ITEM_COUNT, itemBytes, type Item, makeItem, TTL, TTL_SECONDS } from './items.js'
import { listen, type Params, type Running, type Subject } from './row.js'

interface ItemRoute {
  Params: { id: string }
}

type Loader = (id: string) => Item

/** An application on redwell, on the store that `url` names. */
export async function withRedwell(
  url: string,
  declare: (app: FastifyInstance) => void,
  options: { readonly near?: { readonly maxBytes: number } } = {},
): Promise<Running> {
  const { default: redwell } = await import('redwell/fastify')
  const app = Fastify()
  // Connected before the first request: otherwise the first answers are misses that cannot be stored.
  await app.register(redwell, { url, connect: true, ...options })
  declare(app)
  return listen(app)
}

/** The cached route of the hit rows. */
export function cachedItems(
  bytes: number,
  url?: string,
  grouped = false,
  options: Parameters<typeof withRedwell>[2] = {},
): Subject {
  const declare = (app: FastifyInstance): void => {
    const group = ({ params }: FastifyRequest) => ['items', `item-${(params as ItemRoute['Params']).id}`]
    const cache = { ttl: TTL, ...(grouped && { group }) }
    app.get<ItemRoute>('/items/:id', { config: { cache } }, async (request) => makeItem(request.params.id, bytes))
  }
  return ({ redisUrl }) => withRedwell(url ?? redisUrl, declare, options)
}

/** Sends a buffer that is there already, with the header lines of the answer it imitates. */
export function prebuilt(bytes: number): Subject {
  return async ({ headers = {} }) => {
    const bodies = Array.from({ length: ITEM_COUNT }, (_, n) => itemBytes(String(n), bytes))
    const app = Fastify()
    app.get<ItemRoute>('/items/:id', async (request, reply) => {
      reply.headers(headers)
      return reply.send(bodies[Number(request.params.id)])
    })
    return listen(app)
  }
}

/** The fewest lines that read an answer from Redis and send it, with the header lines of the answer it imitates. */
export function handwrittenHit(bytes: number): Subject {
  return async ({ redisUrl, headers = {} }) => {
    const client = await tunedClient(redisUrl)
    for (let n = 0; n < ITEM_COUNT; n++) await client.set(`by-hand:${n}`, itemBytes(String(n), bytes))
    const app = Fastify()
    app.get<ItemRoute>('/items/:id', async (request, reply) => {
      const body = await client.get(`by-hand:${request.params.id}`)
      reply.headers(headers)
      return reply.send(body)
    })
    return listen(app)
  }
}

/** No cache: the handler makes and serialises its answer each time. */
export function uncached(load: Loader): Subject {
  return async () => {
    const app = Fastify()
    app.get<ItemRoute>('/items/:id', async (request) => load(request.params.id))
    return listen(app)
  }
}

/** Cache-aside by hand: GET, handler, SET, as it is usually written. */
export function handwrittenMiss(load: Loader): Subject {
  return async ({ redisUrl, headers = {} }: Params) => {
    const client = await tunedClient(redisUrl)
    const app = Fastify()
    app.get<ItemRoute>('/items/:id', async (request, reply) => {
      const key = `by-hand:${request.params.id}`
      reply.headers(headers)
      const found = await client.get(key)
      if (found !== null) return reply.send(found)
      const body = JSON.stringify(load(request.params.id))
      await client.set(key, body, { expiration: { type: 'EX', value: TTL_SECONDS } })
      return reply.send(body)
    })
    return listen(app)
  }
}
