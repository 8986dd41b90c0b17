// npm start [-- --tour]: the example application, from nothing but a clone.
import { become, ensureBuilt, ensureInstalled, stop } from './prepare.mjs'

ensureInstalled()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')
become(['--import', 'tsx', 'examples/places/server.ts', ...process.argv.slice(2)])
