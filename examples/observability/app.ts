import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import redwell, { type RedwellFastifyOptions } from 'redwell/fastify'

interface One {
  Params: { id: string }
}

/** What a query of the database behind it would take. */
const QUERY_MS = 20

/** A small shop: each kind of traffic that the dashboard has a panel for. */
export async function buildApp(redis: RedwellFastifyOptions): Promise<FastifyInstance> {
  // Otherwise a connection that was busy when the server closed would hold it until its keep-alive ends.
  const app = Fastify({ forceCloseConnections: true })
  await app.register(redwell, { ...redis, otel: true })
  const stock = new Map<string, number>()

  app.get<One>(
    '/products/:id',
    { config: { cache: { ttl: '5s', staleWhileRevalidate: '10s', staleIfError: '1m', group: 'products' } } },
    async ({ params: { id } }) => {
      await sleep(QUERY_MS)
      return { id, stock: stock.get(id) ?? 10 }
    },
  )

  app.put<One>(
    '/products/:id',
    { config: { cachePut: { ttl: '5s', group: 'products' } } },
    async ({ params: { id } }) => {
      stock.set(id, (stock.get(id) ?? 10) + 1)
      return { id, stock: stock.get(id) }
    },
  )

  app.delete('/products', { config: { cacheEvict: { group: 'products' } } }, async () => {
    stock.clear()
    return { cleared: true }
  })

  // Served and not stored: it sets a cookie.
  app.get('/welcome', { config: { cache: { ttl: '1m' } } }, async (_, reply) =>
    reply.header('set-cookie', 'seen=1').send({ hello: 'visitor' }),
  )

  app.get('/search', { config: { rateLimit: { rate: ['20/minute', '2/second'] } } }, async () => ({ found: [] }))

  app.get('/total', async () => {
    const total = await app.cache.getOrSet('total', () => stock.size, { ttl: '2s', group: 'products' })
    return { total }
  })

  app.get('/cache-stats', async () => app.cache.stats())
  return app
}
