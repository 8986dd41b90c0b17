import { contract } from './contract.js'
import { nestHost } from './hosts/nest.js'

contract(nestHost('fastify'))
