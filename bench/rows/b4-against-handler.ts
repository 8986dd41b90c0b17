import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, everyItem, fill, LARGE_BYTES, makeItem } from '../harness/items.js'
import type { Row } from '../harness/row.js'
import { cachedItems, uncached } from '../harness/variants.js'

export default {
  id: 'B4',
  // The same handler with and without a cache: it makes the objects, as a database driver would, and serialises them.
  subjects: { redwell: cachedItems(LARGE_BYTES), handler: uncached((id) => makeItem(id, LARGE_BYTES)) },
  async run(bench: Bench) {
    const [ours, base] = [await bench.start('redwell'), await bench.start('handler')]
    await fill(bench, ours)
    const [a, b] = [
      await bench.prepare(ours, { requests: everyItem }),
      await bench.prepare(base, { requests: everyItem }),
    ]
    const samples = await interleave(bench, {
      ours: () => checkedSample(bench, ours, a, { hits: true }),
      base: () => checkedSample(bench, base, b),
    })
    const what = 'hit from Redis, 50 KB, against the same handler uncached'
    return [compared({ id: 'B4', what, ours: samples.ours, base: samples.base, atLeast: 5 })]
  },
} satisfies Row
