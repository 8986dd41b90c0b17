import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { compared, interleave, redisCompared } from '../harness/compare.js'
import { loop } from '../harness/loop.js'
import type { Row, Subject } from '../harness/row.js'

const IDENTITIES = 1000

const redwell: Subject = async ({ redisUrl }) => {
  const { createRedis } = await import('redwell')
  const limiter = (await createRedis({ url: redisUrl }).connect()).rateLimiter('calls', { rate: '1000000000/hour' })
  return loop(async (n) => limiter.hit(n % IDENTITIES))
}

/** What nobody can do without: read the time, the count, and write it. */
const SCRIPT = `
local count = tonumber(redis.call('GET', KEYS[1]) or 0) + 1
redis.call('TIME')
redis.call('SET', KEYS[1], count, 'PX', ARGV[1])
return count`

const byHand: Subject = async ({ redisUrl }) => {
  const client = await tunedClient(redisUrl)
  const sha = String(await client.scriptLoad(SCRIPT))
  return loop(async (n) => client.evalSha(sha, { keys: [`by-hand:${n % IDENTITIES}`], arguments: ['3600000'] }))
}

export default {
  id: 'B23',
  subjects: { redwell, byHand },
  async run(bench: Bench) {
    const [ours, base] = [await bench.start('redwell'), await bench.start('byHand')]
    const samples = await interleave(bench, { ours: () => bench.loopSample(ours), base: () => bench.loopSample(base) })
    const what = 'rateLimiter.hit against EVALSHA of three commands by hand'
    const sides = { id: 'B23', what, ours: samples.ours, base: samples.base }
    return [compared({ ...sides, atLeast: 0.75 }), redisCompared({ ...sides, atMost: 2.2 })]
  },
} satisfies Row
