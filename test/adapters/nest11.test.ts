import { contract } from './contract.js'
import { nestHost } from './hosts/nest.js'

// With the packages of NestJS 11, which vitest.config.ts puts in the place of those of 12; all of it in the long tests.
for (const platform of ['express', 'fastify'] as const)
  contract(nestHost(platform, 'http/1.1', ' 11'), { stores: ['memory'], parts: ['reading'] })
