import { contract } from './contract.js'
import { honoHost } from './hosts/hono.js'

contract(honoHost)
