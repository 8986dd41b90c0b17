import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, everyItem, fill, SMALL_BYTES } from '../harness/items.js'
import type { Outcome, Row } from '../harness/row.js'
import { cachedItems } from '../harness/variants.js'

async function against(bench: Bench, store: 'redis' | 'memory', atLeast: number): Promise<Outcome> {
  const [grouped, plain] = [await bench.start(`${store}Grouped`), await bench.start(store)]
  const samples = await interleave(bench, {
    ours: await sampler(bench, grouped),
    base: await sampler(bench, plain),
  })
  const what = `hit with two groups (one of all, one of its own) against none, ${store === 'redis' ? 'Redis' : 'memory'}`
  return compared({ id: 'B6', what, ours: samples.ours, base: samples.base, atLeast })
}

async function sampler(bench: Bench, variant: Awaited<ReturnType<Bench['start']>>) {
  await fill(bench, variant)
  const handle = await bench.prepare(variant, { requests: everyItem })
  return () => checkedSample(bench, variant, handle, { hits: true })
}

export default {
  id: 'B6',
  subjects: {
    redis: cachedItems(SMALL_BYTES),
    // A database of its own: an entry keeps the groups it was filled with.
    redisGrouped: (params) => cachedItems(SMALL_BYTES, `${params.redisUrl}/1`, true)(params),
    memory: cachedItems(SMALL_BYTES, 'memory:'),
    memoryGrouped: cachedItems(SMALL_BYTES, 'memory:', true),
  },
  async run(bench: Bench) {
    return [await against(bench, 'redis', 0.87), await against(bench, 'memory', 0.97)]
  },
} satisfies Row
