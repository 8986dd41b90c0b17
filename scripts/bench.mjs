// npm run bench [-- B2 B3] [--rounds N]: see bench/README.md.
import { ensureRedis } from './ensure-redis.mjs'
import { become, ensureBuilt, ensureInstalled, stop } from './prepare.mjs'

ensureInstalled()
ensureRedis()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')
become(['--import', 'tsx', 'bench/run.ts', ...process.argv.slice(2)])
