// npm run proxy [-- hono]: the reverse proxy of examples/reverse-proxy, from nothing but a clone.
import { become, ensureBuilt, ensureInstalled, stop } from './prepare.mjs'

const FILES = { fastify: 'server.ts', hono: 'hono.ts' }

const [variant = 'fastify'] = process.argv.slice(2)
if (FILES[variant] === undefined) stop(`${variant} is not one of ${Object.keys(FILES).join(', ')}.`)
ensureInstalled()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')
become(['--import', 'tsx', `examples/reverse-proxy/${FILES[variant]}`])
