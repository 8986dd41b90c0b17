import { type Bucket, addCounts, emptyCounts, type OriginCounts } from '../report/history.js'
import type { ProcessReport, ReportedOrigin } from '../report/types.js'
import { type ByReason, Histogram, type Latency, type OriginStats, type RateLimitStats } from '../telemetry/stats.js'

/** One route or namespace across all processes. */
export interface OriginTotals extends Omit<OriginStats, 'latency'> {
  readonly kind: 'route' | 'namespace'
  readonly name: string
  /** Lookups in all. */
  readonly lookups: number
  /** Share of lookups that were answered from the cache, 0 to 1; null: there were none. Bypasses do not count. */
  readonly hitRatio: number | null
  /** Latency of decisions, merged exactly across all processes; null: none were timed. */
  readonly latency: Latency | null
}

/** What all processes have counted. */
export interface Totals {
  readonly processes: number
  /** Milliseconds since the epoch: when the oldest of them began to count. */
  readonly since: number | null
  readonly all: OriginTotals
  /** The busiest first. */
  readonly origins: readonly OriginTotals[]
  readonly rateLimits: RateLimitStats
}

/** The sum of the reports of all processes. */
export function totalsOf(reports: readonly ProcessReport[]): Totals {
  const byId = new Map<string, ReportedOrigin[]>()
  for (const origin of reports.flatMap(({ origins }) => origins)) {
    const id = `${origin.kind} ${origin.name}`
    byId.set(id, [...(byId.get(id) ?? []), origin])
  }
  const origins = Array.from(byId.values(), (parts) => sumOf(parts[0]?.kind ?? 'route', parts[0]?.name ?? '', parts))
  return {
    processes: reports.length,
    since: reports.length === 0 ? null : Math.min(...reports.map(({ since }) => since)),
    all: sumOf('route', '', [...byId.values()].flat()),
    origins: origins.toSorted((one, other) => other.lookups - one.lookups),
    rateLimits: reports.map(({ rateLimits }) => rateLimits).reduce(addLimits, {}),
  }
}

function sumOf(kind: OriginTotals['kind'], name: string, parts: readonly ReportedOrigin[]): OriginTotals {
  const histogram = new Histogram()
  for (const { times } of parts) histogram.add(times.counts, times.maxMs)
  const sum = (read: (stats: ReportedOrigin['stats']) => number): number =>
    parts.reduce((total, { stats }) => total + read(stats), 0)
  const reasons = (read: (stats: ReportedOrigin['stats']) => ByReason): ByReason =>
    parts.map(({ stats }) => read(stats)).reduce(addReasons, {})
  const [misses, bypasses] = [reasons((stats) => stats.misses), reasons((stats) => stats.bypasses)]
  const [hits, stale] = [sum((stats) => stats.hits), sum((stats) => stats.stale)]
  const answered = hits + stale
  const looked = answered + countOf(misses)
  return {
    ...{ kind, name, hits, stale, misses, bypasses },
    lookups: looked + countOf(bypasses),
    hitRatio: looked === 0 ? null : answered / looked,
    collapsed: sum((stats) => stats.collapsed),
    waits: sum((stats) => stats.waits),
    staleIfError: sum((stats) => stats.staleIfError),
    refreshes: sum((stats) => stats.refreshes),
    stores: sum((stats) => stats.stores),
    fenced: sum((stats) => stats.fenced),
    failedStores: sum((stats) => stats.failedStores),
    refusals: reasons((stats) => stats.refusals),
    evictions: {
      keys: sum((stats) => stats.evictions.keys),
      groups: sum((stats) => stats.evictions.groups),
      unconfirmed: sum((stats) => stats.evictions.unconfirmed),
    },
    bytes: { served: sum((stats) => stats.bytes.served), stored: sum((stats) => stats.bytes.stored) },
    latency: histogram.count === 0 ? null : histogram.read(),
  }
}

function addReasons(one: ByReason, other: ByReason): ByReason {
  const sum: Record<string, number> = { ...one }
  for (const [reason, count] of Object.entries(other)) sum[reason] = (sum[reason] ?? 0) + count
  return sum
}

function addLimits(one: RateLimitStats, other: RateLimitStats): RateLimitStats {
  const sum: Record<string, ByReason> = { ...one }
  for (const [scope, counts] of Object.entries(other)) sum[scope] = addReasons(sum[scope] ?? {}, counts)
  return sum
}

/** Lookups of one origin in one report. */
export function lookupsOf({ hits, stale, misses, bypasses }: ReportedOrigin['stats']): number {
  return hits + stale + countOf(misses) + countOf(bypasses)
}

/** The sum of counts by reason. */
export function countOf(counts: ByReason): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

/** One step of a chart. */
export interface HistoryPoint extends OriginCounts {
  readonly startAt: number
}

/** The history of everything, or of one route or namespace; steps without lookups are left out. */
export function historyOf(buckets: readonly Bucket[], origin?: string): readonly HistoryPoint[] {
  return buckets.flatMap(({ startAt, origins }) => {
    const chosen = origin === undefined ? origins : origins.filter(({ name }) => name === origin)
    if (chosen.length === 0) return []
    return [{ startAt, ...chosen.reduce(addCounts, emptyCounts('route', origin ?? '')) }]
  })
}
