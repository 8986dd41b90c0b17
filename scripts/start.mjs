// npm start [-- --tour]: the example application, from nothing but a clone.
import { become, ensureBuilt, ensureInstalled, stop } from './prepare.mjs'

ensureInstalled()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')
// Browsers disagree about Secure cookies on plain HTTP to this machine.
process.env['NODE_ENV'] ??= 'development'
become(['--import', 'tsx', 'examples/places/server.ts', ...process.argv.slice(2)])
