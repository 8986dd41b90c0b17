import { contract } from './contract.js'
import { nestHost } from './hosts/nest.js'

for (const platform of ['express', 'fastify'] as const) contract(nestHost(platform), { stores: ['redis'] })
