import type { Bench, Sample } from '../harness/bench.js'
import { cpuRatio, figures, interleave } from '../harness/compare.js'
import { checkedSample, get, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import type { Row, Subject } from '../harness/row.js'
import { median } from '../harness/stats.js'
import { handwrittenMiss, uncached, withRedwell } from '../harness/variants.js'

const AT_MOST = 1.3

const load = (id: string) => makeItem(id, SMALL_BYTES)

const redwell: Subject = ({ redisUrl }) =>
  withRedwell(redisUrl, (app) => {
    app.get<{ Params: { id: string } }>('/items/:id', { config: { cache: { ttl: TTL } } }, async (request) =>
      load(request.params.id),
    )
  })

export default {
  id: 'B7',
  subjects: { redwell, byHand: handwrittenMiss(load), handler: uncached(load) },
  async run(bench: Bench) {
    const sampler = async (name: string) => {
      const variant = await bench.start(name)
      const handle = await bench.prepare(variant, { unique: get(`/items/${name}-{n}`) })
      return () => checkedSample(bench, variant, handle)
    }
    const samples = await interleave(bench, {
      ours: await sampler('redwell'),
      base: await sampler('byHand'),
      handler: await sampler('handler'),
    })
    // Of the medians: the difference is so small that single rounds say little about it.
    const medianUs = (of: readonly Sample[]) => median(of.map(({ cpuUs }) => cpuUs))
    const handlerUs = medianUs(samples.handler)
    const cost = (medianUs(samples.ours) - handlerUs) / (medianUs(samples.base) - handlerUs)
    return [
      {
        id: 'B7',
        what: 'uncontended miss, 2 KB: CPU beside the plain handler, against GET, handler, SET by hand',
        cpu: cpuRatio(samples.ours, samples.base),
        figures:
          `CPU beside the handler ${cost.toFixed(2)} x; ` +
          `${figures(samples.ours)}; by hand ${figures(samples.base)}; handler alone ${figures(samples.handler)}`,
        target: `<= ${AT_MOST} x`,
        met: cost <= AT_MOST ? 'yes' : 'no',
      },
    ]
  },
} satisfies Row
