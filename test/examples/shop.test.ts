import { test } from 'vitest'
import { expressShop, fastifyShop, honoShop } from './shop-hosts.js'
import { compareShops } from './walk.js'

test.each([
  ['Fastify', fastifyShop],
  ['Hono', honoShop],
  ['Express', expressShop],
])('the shop on %s answers with the cache as without it', (_, host) => compareShops(host, 200))
