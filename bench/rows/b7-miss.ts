import type { Bench, Sample } from '../harness/bench.js'
import { collections, cpuRatio, figures, interleave, redisCompared } from '../harness/compare.js'
import { checkedSample, get, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import { loop } from '../harness/loop.js'
import type { Row, Subject } from '../harness/row.js'
import { spread } from '../harness/stats.js'
import { handwrittenMiss, withRedwell } from '../harness/variants.js'

const AT_MOST = 2

const load = (id: string) => makeItem(id, SMALL_BYTES)

const redwell: Subject = ({ redisUrl }) =>
  withRedwell(redisUrl, (app) => {
    app.get<{ Params: { id: string } }>('/items/:id', { config: { cache: { ttl: TTL } } }, async (request) =>
      load(request.params.id),
    )
  })

/**
 * What both sides spend on the handler: making the object and its JSON. Measured by itself and not as a third server: a
 * server without Redis gets its requests in other batches, and can come out dearer than one that asks Redis twice.
 */
const handler: Subject = async () => loop(async (n) => JSON.stringify(load(String(n))))

/** Ours over theirs, both without the handler. An impossible figure is an error, never a verdict. */
function beside(ours: Sample, base: Sample | undefined, own: Sample | undefined): number {
  const [a, b] = [ours.cpuUs - (own?.cpuUs ?? Number.NaN), (base?.cpuUs ?? Number.NaN) - (own?.cpuUs ?? Number.NaN)]
  if (a > 0 && b > 0) return a / b
  throw new Error(`the handler alone costs more than a request with it (ours ${a} µs beside it, by hand ${b} µs)`)
}

export default {
  id: 'B7',
  short: true,
  subjects: { redwell, byHand: handwrittenMiss(load), handler },
  async run(bench: Bench) {
    const own = await bench.start('handler')
    const sampler = async (name: string) => {
      const variant = await bench.start(name)
      const handle = await bench.prepare(variant, { unique: get(`/items/${name}-{n}`) })
      return async () => {
        const sample = await checkedSample(bench, variant, handle)
        if (sample.round?.hits !== 0) throw new Error(`${name}: ${sample.round?.hits} hits in a row of misses`)
        return sample
      }
    }
    const samples = await interleave(bench, {
      ours: await sampler('redwell'),
      base: await sampler('byHand'),
      own: () => bench.loopSample(own),
    })
    const cost = spread(samples.ours.map((ours, round) => beside(ours, samples.base[round], samples.own[round])))
    return [
      {
        id: 'B7',
        what: 'uncontended miss, 2 KB: CPU of a request without its handler, against GET, handler, SET by hand',
        cpu: cpuRatio(samples.ours, samples.base),
        gc: `${collections(samples.ours)}; ${collections(samples.base)}`,
        figures:
          `without the handler ${cost.median.toFixed(2)} x (${cost.low.toFixed(2)}–${cost.high.toFixed(2)}); ` +
          `${figures(samples.ours)}; by hand ${figures(samples.base)}; handler itself ${figures(samples.own)}`,
        target: `<= ${AT_MOST} x`,
        met: cost.median <= AT_MOST ? 'yes' : 'no',
      },
      redisCompared({
        id: 'B7',
        what: 'uncontended miss, 2 KB, against GET and SET by hand',
        ours: samples.ours,
        base: samples.base,
        atMost: AT_MOST,
      }),
    ]
  },
} satisfies Row
