import { test } from 'vitest'
import { PATIENCE_MS, shopWorks } from './shop.js'

test.each(['express', 'fastify'])(
  'the shop on Nest with %s caches and invalidates',
  (platform) => shopWorks('nestjs', { PLATFORM: platform }),
  PATIENCE_MS,
)
