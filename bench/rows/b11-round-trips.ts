import type { Bench, Variant } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { everyItem, fill, get, makeItem, SMALL_BYTES, TTL } from '../harness/items.js'
import type { Outcome, Row, Subject } from '../harness/row.js'
import { median } from '../harness/stats.js'
import { withRedwell } from '../harness/variants.js'

const ADDED_MS = [1, 5]
/** One after the other, so that a latency is nothing but its trips. */
const REQUESTS_PER_ROUND = 40
/** What is measured is never a whole number. */
const TOLERANCE = 0.25

const redwell: Subject = ({ redisUrl }) =>
  withRedwell(redisUrl, (app) => {
    app.get<{ Params: { id: string } }>('/items/:id', { config: { cache: { ttl: TTL } } }, async (request) =>
      makeItem(request.params.id, SMALL_BYTES),
    )
  })

async function pingMs(url: string): Promise<number> {
  const client = await tunedClient(url)
  const times: number[] = []
  for (let n = 0; n < 200; n++) {
    const startedAt = performance.now()
    await client.ping()
    times.push(performance.now() - startedAt)
  }
  client.destroy()
  return median(times)
}

interface Side {
  readonly hit: number
  readonly miss: number
}

async function side(bench: Bench, variant: Variant, name: string): Promise<Side> {
  await fill(bench, variant)
  return {
    hit: await bench.prepare(variant, { requests: everyItem }, 1),
    miss: await bench.prepare(variant, { unique: get(`/items/${name}-{n}`) }, 1),
  }
}

async function trips(bench: Bench, addedMs: number): Promise<Outcome[]> {
  const far = await bench.fartherRedis(addedMs)
  const tripMs = (await pingMs(far)) - (await pingMs(bench.redis.url))
  if (!(tripMs >= addedMs * 0.9)) throw new Error(`the proxy added ${tripMs} ms and not ${addedMs}`)
  const nearSide = await side(bench, await bench.start('redwell'), `near-${addedMs}`)
  const farSide = await side(bench, await bench.start('redwell', { redisUrl: far }), `far-${addedMs}`)
  const p50 = async (handle: number, kind: keyof Side) => {
    const { p50Ms, hits, answers } = await bench.send(handle, { count: REQUESTS_PER_ROUND })
    if (hits !== (kind === 'hit' ? answers : 0)) throw new Error(`${hits} hits of ${answers} in a round of ${kind}`)
    return p50Ms
  }
  const counts = { hit: [] as number[], miss: [] as number[] }
  for (let round = 0; round < bench.options.rounds; round++) {
    for (const kind of ['hit', 'miss'] as const) {
      const near = await p50(nearSide[kind], kind)
      counts[kind].push(((await p50(farSide[kind], kind)) - near) / tripMs)
    }
  }
  return (['hit', 'miss'] as const).map((kind) => {
    const atMost = kind === 'hit' ? 1 : 2
    const found = median(counts[kind])
    // Both have to ask Redis before they answer; less than one trip means that the measurement is wrong.
    if (!(found >= 1 - TOLERANCE)) throw new Error(`a ${kind} in ${found} round trips`)
    return {
      id: 'B11',
      what: `${kind} with a Redis that is ${addedMs} ms farther away`,
      figures: `${found.toFixed(2)} round trips before the answer (a PING takes ${tripMs.toFixed(2)} ms more)`,
      target: kind === 'hit' ? '1 round trip' : '<= 2 round trips',
      met: found <= atMost + TOLERANCE ? 'yes' : 'no',
    }
  })
}

export default {
  id: 'B11',
  subjects: { redwell },
  async run(bench: Bench) {
    const outcomes: Outcome[] = []
    for (const addedMs of ADDED_MS) outcomes.push(...(await trips(bench, addedMs)))
    return outcomes
  },
} satisfies Row
