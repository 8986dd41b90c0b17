// npm test [-- filter]: every test but the long ones, from nothing but a clone. Arguments are vitest's.
import { ensureRedis } from './ensure-redis.mjs'
import { become, ensureBuilt, ensureInstalled, say } from './prepare.mjs'

ensureInstalled()
ensureRedis()
// Type tests and the tests of the package as a whole import it by its name, which means dist.
if (!ensureBuilt()) say('the build failed; the tests of the sources run all the same')
become(['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)])
