import type { Bench } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, everyItem, fill, headersOf, SMALL_BYTES } from '../harness/items.js'
import type { Row } from '../harness/row.js'
import { cachedItems, prebuilt } from '../harness/variants.js'

export default {
  id: 'B1',
  subjects: { redwell: cachedItems(SMALL_BYTES, 'memory:'), prebuilt: prebuilt(SMALL_BYTES) },
  async run(bench: Bench) {
    const ours = await bench.start('redwell')
    await fill(bench, ours)
    const base = await bench.start('prebuilt', { headers: await headersOf(bench, ours) })
    const [a, b] = [
      await bench.prepare(ours, { requests: everyItem }),
      await bench.prepare(base, { requests: everyItem }),
    ]
    const samples = await interleave(bench, {
      ours: () => checkedSample(bench, ours, a, { hits: true }),
      base: () => checkedSample(bench, base, b),
    })
    const what = 'hit from memory, 2 KB, against a prebuilt buffer'
    return [compared({ id: 'B1', what, ours: samples.ours, base: samples.base, atLeast: 0.9 })]
  },
} satisfies Row
