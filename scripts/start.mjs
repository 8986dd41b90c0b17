// npm start [-- --tour]: the example application, from nothing but a clone.
// npm start -- fastify | hono | express | nestjs: the shop of that framework.
import { become, ensureBuilt, ensureInstalled, stop } from './prepare.mjs'

ensureInstalled()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')
// Browsers disagree about Secure cookies on plain HTTP to this machine.
process.env['NODE_ENV'] ??= 'development'
const [first = '', ...rest] = process.argv.slice(2)
const isShop = ['fastify', 'hono', 'express', 'nestjs'].includes(first)
const args = isShop ? rest : process.argv.slice(2)
become(['--import', 'tsx', `examples/${isShop ? first : 'places'}/server.ts`, ...args])
