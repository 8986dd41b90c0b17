import type { Bench, Sample, Variant } from './bench.js'
import { compared, interleave } from './compare.js'
import { checkedSample, everyItem, get } from './items.js'
import type { Outcome } from './row.js'

/** Peers have their own ways to say what is a hit, so the handler counts its runs, and tells when it is asked. */
export class Runs {
  #count = 0

  count(): void {
    this.#count += 1
  }

  readonly answer = (): number => this.#count
}

export type Kind = 'hit' | 'miss'

export interface PeerRow {
  readonly id: string
  readonly what: string
  readonly kind: Kind
  /** Names of variants. */
  readonly ours: string
  readonly peer: string
}

/** Hits, or misses, of a route on ours and on a peer. */
export async function againstPeer(bench: Bench, { id, what, kind, ours, peer }: PeerRow): Promise<Outcome> {
  await bench.flush()
  const [our, their] = [await bench.start(ours), await bench.start(peer)]
  const samples = await interleave(bench, {
    ours: await sampler(bench, our, kind),
    base: await sampler(bench, their, kind),
  })
  await Promise.all([our.process.close(), their.process.close()])
  return compared({ id, what, ours: samples.ours, base: samples.base, atLeast: 1 })
}

async function sampler(bench: Bench, variant: Variant, kind: Kind): Promise<() => Promise<Sample>> {
  if (kind === 'hit') {
    const filling = await bench.prepare(variant, { requests: everyItem }, 8)
    // Twice: on a busy machine a store may miss its deadline.
    for (let pass = 0; pass < 2; pass++) {
      await bench.send(filling, { count: everyItem.length })
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  const path = `/items/${encodeURIComponent(variant.name)}-{n}`
  const handle = await bench.prepare(variant, kind === 'hit' ? { requests: everyItem } : { unique: get(path) })
  return async () => {
    const before = await variant.process.call<number>('ask')
    const sample = await checkedSample(bench, variant, handle)
    const part = ((await variant.process.call<number>('ask')) - before) / sample.answers
    if (kind === 'hit' ? part > 0.02 : part < 0.98)
      throw new Error(
        `${variant.name}: the handler ran for ${Math.round(part * 100)} % of the requests of a row of which each is to be a ${kind}`,
      )
    return sample
  }
}
