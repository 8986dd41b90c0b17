import { contract } from './contract.js'
import { expressHost } from './hosts/express.js'

contract(expressHost)
