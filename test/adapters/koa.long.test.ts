import { contract } from './contract.js'
import { koaHost } from './hosts/koa.js'

contract(koaHost)
