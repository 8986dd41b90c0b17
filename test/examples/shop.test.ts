import { test } from 'vitest'
import { expressShop, fastifyShop, honoShop, nestShop } from './shop-hosts.js'
import { compareShops } from './walk.js'

test.each([
  ['Fastify', fastifyShop],
  ['Hono', honoShop],
  ['Express', expressShop],
  ['Nest with Express', nestShop('express')],
  ['Nest with Fastify', nestShop('fastify')],
])('the shop on %s answers with the cache as without it', (_, host) => compareShops(host, 200))
