import { contract } from './contract.js'
import { fastifyOver } from './hosts/fastify.js'
import { honoOver } from './hosts/hono.js'
import { nestHost } from './hosts/nest.js'

for (const [protocol, store] of [
  ['h2c', 'redis'],
  ['h2', 'memory'],
] as const) {
  for (const host of [fastifyOver(protocol), honoOver(protocol), nestHost('fastify', protocol)])
    contract(host, { stores: [store] })
}
