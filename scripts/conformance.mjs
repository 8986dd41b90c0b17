// npm run conformance [-- --preset app --store redis --variant hono --id <test>]: see docs/conformance.md.
import { ensureRedis } from './ensure-redis.mjs'
import { become, ensureBuilt, ensureInstalled, stop } from './prepare.mjs'

ensureInstalled()
ensureRedis()
if (!ensureBuilt()) stop('the build failed; the messages above say where.')
become(['--import', 'tsx', 'conformance/run.mjs', ...process.argv.slice(2)])
