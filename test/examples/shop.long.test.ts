import { test } from 'vitest'
import { PATIENCE_MS, shopRuns } from './shop-process.js'

test.each([
  ['fastify', '/products', {}],
  ['hono', '/v1/products', {}],
  ['express', '/v1/products', {}],
  ['nestjs', '/api/v1/products', {}],
  ['nestjs', '/api/v1/products', { PLATFORM: 'fastify' }],
])(
  'the shop in examples/%s starts, caches %s and ends on SIGTERM %j',
  (folder, path, env) => shopRuns(folder, path, env),
  PATIENCE_MS,
)
