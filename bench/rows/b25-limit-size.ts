import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import type { Outcome, Row, Subject } from '../harness/row.js'

/** Makes the hits that a row asks for. */
const hits: Subject = async ({ redisUrl, rate, algorithm, count }) => {
  const { createRedis } = await import('redwell')
  const redis = await createRedis({ url: redisUrl }).connect()
  const limiter = redis.rateLimiter('size', { rate: rate as '1/second', algorithm: algorithm as 'fixed-window' })
  for (let n = 0; n < Number(count); n += 1) await limiter.hit('x')
  return {}
}

/** Rates, algorithm, hits before it is measured, in words, bytes that are allowed. */
const ROWS = [
  ['1000/hour', 'token-bucket', 5, 'token bucket', 90],
  ['1000/hour', 'fixed-window', 5, 'fixed window', 90],
  ['10/hour', 'sliding-window', 5, 'sliding window, 5 hits', 120],
  ['16/hour', 'sliding-window', 16, 'sliding window, all 16 entries', 220],
  [['16/hour', '16/day'], 'sliding-window', 16, 'sliding window, two rates', 380],
] as const

export default {
  id: 'B25',
  subjects: { hits },
  async run(bench: Bench) {
    const client = await tunedClient(bench.redis.url)
    const outcomes: Outcome[] = []
    for (const [rate, algorithm, count, what, atMost] of ROWS) {
      await client.flushAll()
      await bench.start('hits', { rate, algorithm, count })
      const [key = ''] = (await client.keys('*:limit:*')).map(String)
      const used = Number(await client.sendCommand(['MEMORY', 'USAGE', key])) - Buffer.byteLength(key)
      outcomes.push({
        id: 'B25',
        what: `memory over the key, ${what}`,
        figures: `${used} bytes`,
        target: `<= ${atMost} bytes`,
        met: used <= atMost ? 'yes' : 'no',
      })
    }
    client.destroy()
    return outcomes
  },
} satisfies Row
