import { contract } from './contract.js'
import { expressHost } from './hosts/express.js'
import { fastifyHost } from './hosts/fastify.js'
import { honoHost } from './hosts/hono.js'
import { nestHost } from './hosts/nest.js'

for (const host of [fastifyHost, expressHost, honoHost, nestHost('express'), nestHost('fastify')])
  contract(host, { stores: ['memory'], parts: ['leaks'] })
