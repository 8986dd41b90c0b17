import { test } from 'vitest'
import { nestShop } from './shop-hosts.js'
import { compareShops } from './walk.js'

// With the packages of NestJS 11, which vitest.config.ts puts in the place of those of 12.
test.each(['express', 'fastify'] as const)(
  'the shop on Nest 11 with %s answers with the cache as without it',
  (platform) => compareShops(nestShop(platform), 200),
)
