import { contract } from './contract.js'
import { nestHost } from './hosts/nest.js'

// On Redis in nest.long.test.ts: what is between NestJS and Redis is that of its platform.
contract(nestHost('fastify'), { stores: ['memory'] })
