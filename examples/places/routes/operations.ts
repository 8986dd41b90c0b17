import type { FastifyInstance } from 'fastify'
import type { Database } from '../database.js'
import { requireToken } from '../users.js'

interface GroupParams {
  group: string
}

const groupParams = {
  type: 'object',
  properties: { group: { type: 'string', minLength: 1, maxLength: 200 } },
  required: ['group'],
} as const

export interface OperationOptions {
  db: Database
  adminToken: string
}

/** For those who run the service. */
export async function operationRoutes(app: FastifyInstance, { db, adminToken }: OperationOptions): Promise<void> {
  // The service answers without Redis, only slower: that is no reason to take it out of service.
  app.get('/health', async () => {
    const [places, pingMs] = await Promise.all([db.count(), app.redis.ping().catch(() => null)])
    return { status: 'ok', places, redis: { status: app.redis.status, pingMs } }
  })

  const options = { schema: { params: groupParams }, onRequest: requireToken(adminToken) }
  app.post<{ Params: GroupParams }>('/admin/clear/:group', options, async ({ params }, reply) => {
    const { confirmed } = await app.cache.deleteGroup(params.group)
    // Not confirmed: Redis is away. Nothing of this prefix is served from the cache until it has been told.
    return reply.code(confirmed ? 200 : 202).send({ group: params.group, confirmed })
  })
}
