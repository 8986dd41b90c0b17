import { compared, interleave } from './compare.js'
import { checkedSample, everyItem, fill, headersOf } from './items.js'
import type { Row, Subject } from './row.js'

/** Requests a second of the paced rows: a tenth of what the slowest framework can do. */
const PACE = 1000

export interface HitRow {
  readonly id: string
  readonly what: string
  readonly ours: Subject
  /** Sends the same answers without a cache of ours. */
  readonly base: Subject
  /** The least ratio that is enough. */
  readonly atLeast: number
  /** Whether the row is measured at few requests a second as well, where each is alone. */
  readonly paced?: true
  readonly short?: true
}

/** Rows B1 to B3: hits against somebody who has the bytes at hand, or reads them by hand. */
export function hitRow({ id, what, ours, base, atLeast, paced, short }: HitRow): Row {
  return {
    id,
    ...(short && { short }),
    subjects: { ours, base },
    async run(bench) {
      const our = await bench.start('ours')
      await fill(bench, our)
      const their = await bench.start('base', { headers: await headersOf(bench, our) })
      const [a, b] = [
        await bench.prepare(our, { requests: everyItem }),
        await bench.prepare(their, { requests: everyItem }),
      ]
      const measure = (pace = {}) =>
        interleave(bench, {
          ours: () => checkedSample(bench, our, a, { hits: true, ...pace }),
          base: () => checkedSample(bench, their, b, pace),
        })
      const outcomes = [compared({ id, what, atLeast, ...(await measure()) })]
      if (paced === undefined || bench.options.short) return outcomes
      const alone = await measure({ perSecond: PACE })
      const whatAlone = `${what}, at ${PACE.toLocaleString('en')} requests a second`
      return [...outcomes, compared({ id, what: whatAlone, atLeast, paced: true, ...alone })]
    },
  }
}
