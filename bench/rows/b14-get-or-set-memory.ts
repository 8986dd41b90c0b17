import { LRUCache } from 'lru-cache'
import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { type Item, ITEM_COUNT, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import { loop } from '../harness/loop.js'
import type { Row, Subject } from '../harness/row.js'

const load = (): never => {
  throw new Error('expected a hit')
}

const redwell: Subject = async ({ shared }) => {
  const { createRedis } = await import('redwell')
  const { cache } = createRedis({ url: 'memory:' })
  for (let n = 0; n < ITEM_COUNT; n++) await cache.set(`item:${n}`, makeItem(String(n), SMALL_BYTES), { ttl: TTL })
  if (shared === true) return loop((n) => cache.getOrSet(`item:${n % ITEM_COUNT}`, load, { ttl: TTL, shared: true }))
  return loop((n) => cache.getOrSet(`item:${n % ITEM_COUNT}`, load, { ttl: TTL }))
}

/** The fastest there is: the object itself, not a copy of it. */
const lru: Subject = async () => {
  const items = new LRUCache<string, Item>({ max: ITEM_COUNT })
  for (let n = 0; n < ITEM_COUNT; n++) items.set(`item:${n}`, makeItem(String(n), SMALL_BYTES))
  return loop(async (n) => items.get(`item:${n % ITEM_COUNT}`) ?? load())
}

/** The least that gives every caller an object of its own. */
const lruOfJson: Subject = async () => {
  const items = new LRUCache<string, string>({ max: ITEM_COUNT })
  for (let n = 0; n < ITEM_COUNT; n++) items.set(`item:${n}`, JSON.stringify(makeItem(String(n), SMALL_BYTES)))
  return loop(async (n) => {
    const found = items.get(`item:${n % ITEM_COUNT}`)
    return found === undefined ? load() : (JSON.parse(found) as unknown)
  })
}

export default {
  id: 'B14',
  short: true,
  subjects: { redwell, lru, lruOfJson },
  async run(bench: Bench) {
    const [shared, base] = [await bench.start('redwell', { shared: true }), await bench.start('lru')]
    const [own, ownBase] = [await bench.start('redwell'), await bench.start('lruOfJson')]
    const samples = await interleave(bench, {
      shared: () => bench.loopSample(shared),
      base: () => bench.loopSample(base),
      own: () => bench.loopSample(own),
      ownBase: () => bench.loopSample(ownBase),
    })
    const what = 'getOrSet hit, memory, 2 KB'
    const inCommon = { id: 'B14', atLeast: 0.5 }
    return [
      compared({
        ...inCommon,
        what: `${what}, one object for everybody (shared: true), against lru-cache behind an async function`,
        ours: samples.shared,
        base: samples.base,
      }),
      compared({
        ...inCommon,
        what: `${what}, an object of one's own, against lru-cache and JSON.parse`,
        ours: samples.own,
        base: samples.ownBase,
      }),
    ]
  },
} satisfies Row
