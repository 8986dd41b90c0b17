import { LRUCache } from 'lru-cache'
import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { type Item, ITEM_COUNT, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import { loop } from '../harness/loop.js'
import type { Row, Subject } from '../harness/row.js'

const load = (): never => {
  throw new Error('expected a hit')
}

const redwell: Subject = async () => {
  const { createRedis } = await import('redwell')
  const { cache } = createRedis({ url: 'memory:' })
  for (let n = 0; n < ITEM_COUNT; n++) await cache.set(`item:${n}`, makeItem(String(n), SMALL_BYTES), { ttl: TTL })
  return loop((n) => cache.getOrSet(`item:${n % ITEM_COUNT}`, load, { ttl: TTL }))
}

/** The fastest there is: the object itself, not a copy of it. */
const lru: Subject = async () => {
  const items = new LRUCache<string, Item>({ max: ITEM_COUNT })
  for (let n = 0; n < ITEM_COUNT; n++) items.set(`item:${n}`, makeItem(String(n), SMALL_BYTES))
  return loop(async (n) => items.get(`item:${n % ITEM_COUNT}`) ?? load())
}

export default {
  id: 'B14',
  subjects: { redwell, lru },
  async run(bench: Bench) {
    const [ours, base] = [await bench.start('redwell'), await bench.start('lru')]
    const samples = await interleave(bench, { ours: () => bench.loopSample(ours), base: () => bench.loopSample(base) })
    const what = 'getOrSet hit, memory, 2 KB, against lru-cache behind an async function'
    return [compared({ id: 'B14', what, ours: samples.ours, base: samples.base, atLeast: 0.5 })]
  },
} satisfies Row
