import { contract } from './contract.js'
import { fastifyHost } from './hosts/fastify.js'

contract(fastifyHost)
