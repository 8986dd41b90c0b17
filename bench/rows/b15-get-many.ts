import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { compared, interleave } from '../harness/compare.js'
import { ITEM_COUNT, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import { loop } from '../harness/loop.js'
import type { Row, Subject } from '../harness/row.js'

const AT_A_TIME = 100

/** A hundred keys, another hundred each time. */
function keysFrom(n: number): string[] {
  return Array.from({ length: AT_A_TIME }, (_, index) => `item:${(n * 7 + index) % ITEM_COUNT}`)
}

function complete(values: readonly unknown[]): unknown {
  if (values.some((value) => value === undefined || value === null)) throw new Error('expected hits')
  return values
}

const redwell: Subject = async ({ redisUrl }) => {
  const { createRedis } = await import('redwell')
  const { cache } = await createRedis({ url: redisUrl, commandTimeout: '30s' }).connect()
  for (let n = 0; n < ITEM_COUNT; n++) await cache.set(`item:${n}`, makeItem(String(n), SMALL_BYTES), { ttl: TTL })
  return loop(async (n) => complete(await cache.getMany(keysFrom(n))))
}

const byHand: Subject = async ({ redisUrl }) => {
  const client = await tunedClient(redisUrl)
  for (let n = 0; n < ITEM_COUNT; n++) await client.set(`item:${n}`, JSON.stringify(makeItem(String(n), SMALL_BYTES)))
  return loop(async (n) => {
    const found = await client.mGet(keysFrom(n))
    return complete(found.map((text) => (text === null ? null : (JSON.parse(String(text)) as unknown))))
  })
}

export default {
  id: 'B15',
  subjects: { redwell, byHand },
  async run(bench: Bench) {
    const [ours, base] = [await bench.start('redwell'), await bench.start('byHand')]
    const samples = await interleave(bench, { ours: () => bench.loopSample(ours), base: () => bench.loopSample(base) })
    const what = 'getMany(100), 2 KB each, against one MGET of 100 and JSON.parse by hand'
    return [compared({ id: 'B15', what, ours: samples.ours, base: samples.base, atLeast: 0.67 })]
  },
} satisfies Row
