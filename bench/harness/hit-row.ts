import { compared, interleave } from './compare.js'
import { checkedSample, everyItem, fill, headersOf } from './items.js'
import type { Row, Subject } from './row.js'

export interface HitRow {
  readonly id: string
  readonly what: string
  readonly ours: Subject
  /** Sends the same answers without a cache of ours. */
  readonly base: Subject
}

/** Rows B1 to B3: hits against somebody who has the bytes at hand, or reads them by hand. */
export function hitRow({ id, what, ours, base }: HitRow): Row {
  return {
    id,
    subjects: { ours, base },
    async run(bench) {
      const our = await bench.start('ours')
      await fill(bench, our)
      const their = await bench.start('base', { headers: await headersOf(bench, our) })
      const [a, b] = [
        await bench.prepare(our, { requests: everyItem }),
        await bench.prepare(their, { requests: everyItem }),
      ]
      const samples = await interleave(bench, {
        ours: () => checkedSample(bench, our, a, { hits: true }),
        base: () => checkedSample(bench, their, b),
      })
      return [compared({ id, what, ours: samples.ours, base: samples.base, atLeast: 0.9 })]
    },
  }
}
