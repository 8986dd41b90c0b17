import Fastify from 'fastify'
import type { Bench, Sample, Variant } from '../harness/bench.js'
import { compared, interleave } from '../harness/compare.js'
import { checkedSample, everyItem, fill, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import { listen, type Row, type Subject } from '../harness/row.js'

/** Rounds that make one sample: an open page costs something once a second, which a single round may miss. */
const ROUNDS_PER_SAMPLE = 5

/** An application of its own prefix: an operator who looks at one is not seen by the others. */
function shop(prefix: string, operated: boolean): Subject {
  return async ({ redisUrl }) => {
    const { default: redwell } = await import('redwell/fastify')
    const { dashboard } = await import('redwell/dashboard')
    const app = Fastify()
    await app.register(redwell, { url: redisUrl, prefix, connect: true, operate: operated })
    if (operated) await app.register(dashboard(app.redis, { guard: () => true }).fastify, { prefix: '/ops' })
    const cache = { ttl: TTL }
    app.get<{ Params: { id: string } }>('/items/:id', { config: { cache } }, async ({ params }) =>
      makeItem(params.id, SMALL_BYTES),
    )
    return listen(app)
  }
}

/** A page that reads what it is sent. Ends with this process. */
async function look({ port }: Variant): Promise<void> {
  const live = await fetch(`http://127.0.0.1:${port}/ops/api/live`)
  void live.body?.pipeTo(new WritableStream()).catch(() => {})
}

async function several(take: () => Promise<Sample>): Promise<Sample> {
  const samples: Sample[] = []
  while (samples.length < ROUNDS_PER_SAMPLE) samples.push(await take())
  const answers = samples.reduce((sum, one) => sum + one.answers, 0)
  const mean = (read: (one: Sample) => number): number =>
    samples.reduce((sum, one) => sum + read(one) * one.answers, 0) / answers
  const sum = (read: (one: Sample) => number): number => samples.reduce((total, one) => total + read(one), 0)
  return {
    answers,
    perSecond: answers / sum((one) => one.answers / one.perSecond),
    cpuUs: mean(({ cpuUs }) => cpuUs),
    redisUs: mean(({ redisUs }) => redisUs),
    collected: { promoted: sum(({ collected }) => collected.promoted), full: sum(({ collected }) => collected.full) },
  }
}

export default {
  id: 'B32',
  subjects: { none: shop('none', false), closed: shop('closed', true), open: shop('open', true) },
  async run(bench: Bench) {
    const started = async (name: 'none' | 'closed' | 'open') => {
      const variant = await bench.start(name)
      await fill(bench, variant)
      const handle = await bench.prepare(variant, { requests: everyItem })
      if (name === 'open') await look(variant)
      return () => several(() => checkedSample(bench, variant, handle, { hits: true }))
    }
    const { none, closed, open } = await interleave(bench, {
      none: await started('none'),
      closed: await started('closed'),
      open: await started('open'),
    })
    const what = 'hit from Redis, 2 KB, dashboard'
    return [
      compared({
        id: 'B32',
        what: `${what} mounted and closed, against none`,
        ours: closed,
        base: none,
        atLeast: 0.98,
      }),
      compared({ id: 'B32', what: `${what} open in one browser, against none`, ours: open, base: none, atLeast: 0.95 }),
    ]
  },
} satisfies Row
