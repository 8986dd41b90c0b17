import Fastify from 'fastify'
import { expect, test } from 'vitest'

// Apart, because redwell must not have been imported.

test('in an application that is older than redwell, hooks that are registered behind it see hits and misses alike', async () => {
  const app = Fastify()
  const { default: redwell } = await import('../../src/adapters/fastify/index.js')
  await app.register(redwell, { url: 'memory:' })
  app.addHook('onSend', async (request, _, payload) => String(payload).replace('%', String(request.headers['x-name'])))
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => 'for %')
  for (const [name, cache] of [
    ['ann', 'MISS'],
    ['bob', 'HIT'],
  ] as const) {
    const { body, headers } = await app.inject({ url: '/x', headers: { 'x-name': name } })
    expect([body, headers['x-redis-cache']]).toEqual([`for ${name}`, cache])
  }
  await app.close()
})
