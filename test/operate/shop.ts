/** An application with one route of each kind that an operator looks at; run as a process: `tsx shop.ts <port>`. */
import Fastify, { type FastifyInstance } from 'fastify'
import redwell, { type RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'

export async function buildShop(options: RedwellFastifyOptions): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(redwell, options)
  const cache = { ttl: '1m', staleWhileRevalidate: '1m', group: 'products' } as const
  app.get<{ Params: { id: string } }>('/products/:id', { config: { cache } }, async ({ params }) => ({ id: params.id }))
  const owners = { ttl: '1m', group: ['owner:3', 'my group'] } as const
  app.get('/owners', { config: { cache: owners } }, async () => [])
  app.get('/basket', { config: { cache: { ttl: '1m' } } }, async (request) => ({
    cookie: request.headers.cookie ?? '',
  }))
  app.get('/limited', { config: { rateLimit: { rate: '5/minute' } } }, async () => 'ok')
  const users = app.cache.namespace<number, { name: string }>('users', { ttl: '10m', group: 'people' })
  app.get<{ Params: { id: string } }>('/users/:id', async ({ params }) =>
    users.getOrSet(Number(params.id), async () => ({ name: `user ${params.id}` })),
  )
  app.delete<{ Params: { id: string } }>(
    '/products/:id',
    { config: { cacheEvict: { group: 'products' } } },
    async () => '',
  )
  if (options.sessions !== undefined) {
    app.get<{ Params: { user: string } }>('/login/:user', async ({ params, session }) => {
      Object.assign(session.data, { userId: params.user })
      return 'welcome'
    })
  }
  return app
}

if (process.argv[1]?.endsWith('shop.ts') === true) {
  const app = await buildShop({ prefix: process.env['REDIS_PREFIX'] ?? 'shop' })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  process.send?.(typeof address === 'object' ? address?.port : undefined)
  process.once('disconnect', () => void app.close())
  process.once('SIGTERM', () => void app.close())
}
