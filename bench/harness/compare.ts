import type { Bench, Sample } from './bench.js'
import type { Outcome } from './row.js'
import { median, type Spread, spread } from './stats.js'

/** Time for each variant before the first round that counts: until then the compiler and the caches are still busy. */
const WARM_UP_MS = 1500

/** Measures several variants in turn, A B C A B C …, and gives the samples of each by its name. */
export async function interleave<Name extends string>(
  bench: Bench,
  measure: Readonly<Record<Name, () => Promise<Sample>>>,
): Promise<Record<Name, Sample[]>> {
  const names = Object.keys(measure) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as Sample[]])) as Record<Name, Sample[]>
  const warmUpRounds = Math.ceil(WARM_UP_MS / bench.options.roundMs)
  for (let round = -warmUpRounds; round < bench.options.rounds; round++) {
    for (const name of names) {
      const sample = await measure[name]()
      if (round >= 0) samples[name].push(sample)
    }
  }
  return samples
}

/** Ratio of a to b, round by round, so that what slows the whole machine down for a moment slows both. */
function ratio(a: readonly Sample[], b: readonly Sample[], of: (a: Sample, b: Sample) => number): Spread {
  return spread(a.map((sample, round) => of(sample, b[round] as Sample)))
}

function rateRatio(ours: readonly Sample[], base: readonly Sample[]): Spread {
  return ratio(ours, base, (a, b) => a.perSecond / b.perSecond)
}

export function cpuRatio(ours: readonly Sample[], base: readonly Sample[]): Spread {
  return ratio(ours, base, (a, b) => b.cpuUs / a.cpuUs)
}

/** Bytes that outlived a young collection for each answer, and full collections for a thousand answers. */
export function collections(samples: readonly Sample[]): string {
  const answers = samples.reduce((sum, one) => sum + one.answers, 0)
  const promoted = samples.reduce((sum, { collected }) => sum + collected.promoted, 0) / answers
  const full = samples.reduce((sum, { collected }) => sum + collected.full, 0) / (answers / 1000)
  return `${Math.round(promoted).toLocaleString('en')} B, ${full.toFixed(full < 1 ? 2 : 1)}`
}

export function figures(samples: readonly Sample[]): string {
  const rate = median(samples.map(({ perSecond }) => perSecond))
  const cpu = median(samples.map(({ cpuUs }) => cpuUs))
  return `${Math.round(rate).toLocaleString('en')}/s ${cpu.toFixed(cpu < 10 ? 2 : 1)} µs`
}

export interface Compared {
  readonly id: string
  readonly what: string
  readonly ours: readonly Sample[]
  readonly base: readonly Sample[]
  /** The least ratio that is enough. */
  readonly atLeast: number
  /** At so many requests a second their rate tells nothing. */
  readonly paced?: boolean
}

/** Ours against a baseline, the budget being a least ratio. */
export function compared({ id, what, ours, base, atLeast, paced = false }: Compared): Outcome {
  const rate = paced ? undefined : rateRatio(ours, base)
  const cpu = cpuRatio(ours, base)
  return {
    id,
    what,
    ...(rate && { rate }),
    cpu,
    gc: `${collections(ours)}; ${collections(base)}`,
    figures: `${figures(ours)}; baseline ${figures(base)}`,
    target: `>= ${atLeast}`,
    met: verdict(rate, cpu, atLeast),
  }
}

function verdict(rate: Spread | undefined, cpu: Spread, atLeast: number): Outcome['met'] {
  if (rate === undefined) return cpu.median >= atLeast ? 'yes' : 'no'
  const byRate = rate.median >= atLeast
  const byCpu = cpu.median >= atLeast
  if (byRate && byCpu) return 'yes'
  if (byCpu) return 'by CPU'
  return byRate ? 'by rate' : 'no'
}

export interface RedisCompared extends Omit<Compared, 'atLeast'> {
  /** The largest ratio that is allowed. */
  readonly atMost: number
}

/** Redis' own CPU for each answer, ours against a baseline. */
export function redisCompared({ id, what, ours, base, atMost }: RedisCompared): Outcome {
  const { low, median: middle, high } = ratio(ours, base, (a, b) => a.redisUs / b.redisUs)
  const [a, b] = [ours, base].map((samples) => median(samples.map(({ redisUs }) => redisUs)).toFixed(1))
  return {
    id,
    what: `${what}: Redis' own CPU`,
    figures: `${middle.toFixed(2)} x (${low.toFixed(2)}–${high.toFixed(2)}); ${a} µs; baseline ${b} µs`,
    target: `<= ${atMost} x`,
    met: middle <= atMost ? 'yes' : 'no',
  }
}
