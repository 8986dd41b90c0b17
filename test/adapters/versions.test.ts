import express4 from 'express4'
import { contract } from './contract.js'
import { expressOf } from './hosts/express.js'
import { fastifyOver } from './hosts/fastify.js'
import { honoOver } from './hosts/hono.js'
import { nestHost } from './hosts/nest.js'

// All of the contract on these is in the long tests.
const hosts = [
  expressOf('Express 4', express4),
  fastifyOver('h2c'),
  fastifyOver('h2'),
  honoOver('h2c'),
  honoOver('h2'),
  nestHost('fastify', 'h2c'),
]

for (const host of hosts) contract(host, { stores: ['memory'], parts: ['reading'] })
