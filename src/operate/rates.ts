import type { ProcessReport } from '../report/types.js'
import { lookupsOf, type OriginTotals } from './totals.js'

type Origin = Pick<OriginTotals, 'kind' | 'name'>

/** Lookups a second of an origin, or of all with an empty name; null as long as no process has reported twice. */
export type RateOf = (origin: Origin) => number | null

interface Reported {
  readonly at: number
  readonly counts: ReadonlyMap<string, number>
  readonly rates: ReadonlyMap<string, number>
}

/**
 * Rates between two reports of the same process, by the times of these reports: what a process has counted before its
 * first report does not belong to any interval.
 */
export class Rates {
  #before: ReadonlyMap<string, Reported> = new Map()

  next(reports: readonly ProcessReport[]): RateOf {
    const now = new Map(reports.map((report) => [report.id, after(report, this.#before.get(report.id))]))
    this.#before = now
    const known = [...now.values()].filter(({ rates }) => rates.size > 0)
    return (origin) =>
      known.length === 0 ? null : known.reduce((sum, { rates }) => sum + (rates.get(idOf(origin)) ?? 0), 0)
  }
}

const ALL = idOf({ kind: 'route', name: '' })

function after({ at, origins }: ProcessReport, before: Reported | undefined): Reported {
  if (before !== undefined && at <= before.at) return before
  const counts = new Map(origins.map((origin) => [idOf(origin), lookupsOf(origin.stats)]))
  if (before === undefined) return { at, counts, rates: new Map() }
  const seconds = (at - before.at) / 1000
  const rates = new Map(
    Array.from(counts, ([id, count]) => [id, Math.max(0, count - (before.counts.get(id) ?? count)) / seconds]),
  )
  rates.set(
    ALL,
    [...rates.values()].reduce((sum, rate) => sum + rate, 0),
  )
  return { at, counts, rates }
}

function idOf({ kind, name }: Origin): string {
  return `${kind} ${name}`
}
