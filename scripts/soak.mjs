// npm run soak [-- seconds]: ten minutes of traffic with random faults; fails on a wrong, stale or lost answer, or a leak.
import { ensureRedis } from './ensure-redis.mjs'
import { become, ensureInstalled } from './prepare.mjs'

ensureInstalled()
ensureRedis()
become(['--import', 'tsx', 'test/faults/soak.ts', ...process.argv.slice(2)])
