import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { compared, interleave } from '../harness/compare.js'
import { ITEM_COUNT, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import { loop } from '../harness/loop.js'
import type { Row, Subject } from '../harness/row.js'

/** The load never runs: all of it is there. */
const load = (): never => {
  throw new Error('expected a hit')
}

const redwell: Subject = async ({ redisUrl }) => {
  const { createRedis } = await import('redwell')
  const { cache } = await createRedis({ url: redisUrl }).connect()
  for (let n = 0; n < ITEM_COUNT; n++) await cache.set(`item:${n}`, makeItem(String(n), SMALL_BYTES), { ttl: TTL })
  return loop((n) => cache.getOrSet(`item:${n % ITEM_COUNT}`, load, { ttl: TTL }))
}

const byHand: Subject = async ({ redisUrl }) => {
  const client = await tunedClient(redisUrl)
  for (let n = 0; n < ITEM_COUNT; n++)
    await client.set(`by-hand:${n}`, JSON.stringify(makeItem(String(n), SMALL_BYTES)))
  return loop(async (n) => {
    const found = await client.get(`by-hand:${n % ITEM_COUNT}`)
    return found === null ? load() : (JSON.parse(String(found)) as unknown)
  })
}

export default {
  id: 'B13',
  short: true,
  subjects: { redwell, byHand },
  async run(bench: Bench) {
    const [ours, base] = [await bench.start('redwell'), await bench.start('byHand')]
    const samples = await interleave(bench, { ours: () => bench.loopSample(ours), base: () => bench.loopSample(base) })
    const what = 'getOrSet hit, Redis, 2 KB, against GET and JSON.parse by hand'
    return [compared({ id: 'B13', what, ours: samples.ours, base: samples.base, atLeast: 0.9 })]
  },
} satisfies Row
