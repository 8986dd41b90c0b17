import type { Bench, Variant } from '../harness/bench.js'
import { collections } from '../harness/compare.js'
import { checkedSample, everyItem, fill, headersOf, SMALL_BYTES } from '../harness/items.js'
import type { Row } from '../harness/row.js'
import { cachedItems, handwrittenHit, prebuilt } from '../harness/variants.js'

/** V8 decides about its allocation sites after it has seen some thousand of their objects, so a short run tells nothing. */
const SECONDS = 60

const AT_MOST = 1.2

/** Bytes that are promoted for an answer are few: below this the ratio is one of chance. */
const CHANCE_BYTES = 16

async function underLoad(bench: Bench, variant: Variant) {
  const handle = await bench.prepare(variant, { requests: everyItem })
  await bench.send(handle, { ms: 2000 })
  const samples = []
  for (let ms = 0; ms < SECONDS * 1000; ms += bench.options.roundMs)
    samples.push(await checkedSample(bench, variant, handle))
  return samples
}

export default {
  id: 'B17a',
  subjects: {
    memory: cachedItems(SMALL_BYTES, 'memory:'),
    redis: cachedItems(SMALL_BYTES),
    prebuilt: prebuilt(SMALL_BYTES),
    byHand: handwrittenHit(SMALL_BYTES),
  },
  async run(bench: Bench) {
    const against = async (ours: string, theirs: string, what: string) => {
      const our = await bench.start(ours)
      await fill(bench, our)
      const their = await bench.start(theirs, { headers: await headersOf(bench, our) })
      const [a, b] = [await underLoad(bench, our), await underLoad(bench, their)]
      const perAnswer = (samples: typeof a): number =>
        samples.reduce((sum, { collected }) => sum + collected.promoted, 0) /
        samples.reduce((sum, { answers }) => sum + answers, 0)
      const [own, base] = [perAnswer(a), perAnswer(b)]
      return {
        id: 'B17a',
        what,
        gc: `${collections(a)}; ${collections(b)}`,
        figures: `${own.toFixed(0)} B promoted for an answer; baseline ${base.toFixed(0)} B`,
        target: `<= ${AT_MOST} x, or <= ${CHANCE_BYTES} B more`,
        met: own <= Math.max(base * AT_MOST, base + CHANCE_BYTES) ? ('yes' as const) : ('no' as const),
      }
    }
    return [
      await against('memory', 'prebuilt', `hits from memory for ${SECONDS} s, against a prebuilt buffer`),
      await against('redis', 'byHand', `hits from Redis for ${SECONDS} s, against GET and send by hand`),
    ]
  },
} satisfies Row
