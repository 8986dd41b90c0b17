import type { Bench, Sample } from './bench.js'
import type { Outcome } from './row.js'
import { median, type Spread, spread } from './stats.js'

/** Rounds thrown away before the first that counts: until then the compiler and the caches are still busy. */
const WARM_UP_ROUNDS = 4

/** Measures several variants in turn, A B C A B C …, and gives the samples of each by its name. */
export async function interleave<Name extends string>(
  bench: Bench,
  measure: Readonly<Record<Name, () => Promise<Sample>>>,
): Promise<Record<Name, Sample[]>> {
  const names = Object.keys(measure) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as Sample[]])) as Record<Name, Sample[]>
  for (let round = -WARM_UP_ROUNDS; round < bench.options.rounds; round++) {
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
}

/** Ours against a baseline, the budget being a least ratio. */
export function compared({ id, what, ours, base, atLeast }: Compared): Outcome {
  const rate = rateRatio(ours, base)
  const cpu = cpuRatio(ours, base)
  return {
    id,
    what,
    rate,
    cpu,
    figures: `${figures(ours)}; baseline ${figures(base)}`,
    target: `>= ${atLeast}`,
    met: verdict(rate, cpu, atLeast),
  }
}

function verdict(rate: Spread, cpu: Spread, atLeast: number): Outcome['met'] {
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
