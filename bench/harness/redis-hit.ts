import { compared, interleave } from './compare.js'
import { checkedSample, everyItem, fill, headersOf } from './items.js'
import type { Row } from './row.js'
import { cachedItems, handwrittenHit } from './variants.js'

/** Rows B2 and B3: a hit from Redis, for bodies of one size. */
export function redisHitRow({ id, what, bytes }: { id: string; what: string; bytes: number }): Row {
  return {
    id,
    subjects: { redwell: cachedItems(bytes), byHand: handwrittenHit(bytes) },
    async run(bench) {
      const ours = await bench.start('redwell')
      await fill(bench, ours)
      const base = await bench.start('byHand', { headers: await headersOf(bench, ours) })
      const [a, b] = [
        await bench.prepare(ours, { requests: everyItem }),
        await bench.prepare(base, { requests: everyItem }),
      ]
      const samples = await interleave(bench, {
        ours: () => checkedSample(bench, ours, a, { hits: true }),
        base: () => checkedSample(bench, base, b),
      })
      return [compared({ id, what, ours: samples.ours, base: samples.base, atLeast: 0.9 })]
    },
  }
}
