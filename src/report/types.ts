import type { ExplainRequest, Explanation } from '../cache/explanation.js'
import type { ConnectionCounters, ConnectionStatus } from '../redis/server.js'
import type { OriginStats, RateLimitStats, Times } from '../telemetry/stats.js'

/** One route or namespace in the report of a process. */
export interface ReportedOrigin {
  readonly kind: 'route' | 'namespace'
  readonly name: string
  readonly stats: Omit<OriginStats, 'latency'>
  /** Latency of decisions, to be merged with that of other processes. */
  readonly times: Times
}

/** A rate limiter as it was declared. */
export interface ReportedLimiter {
  readonly scope: string
  readonly algorithm: string
  readonly rates: readonly { readonly name: string; readonly limit: number; readonly windowMs: number }[]
}

/** Something that happened in a process since its last report. */
export interface ReportedEvent {
  /** Milliseconds since the epoch, by Redis' clock. */
  readonly at: number
  readonly kind: 'lookup' | 'refusal' | 'eviction'
  /** Route or namespace. */
  readonly origin: string
  /** Outcome of a lookup; `refused`; `evicted`, or `unconfirmed`. */
  readonly outcome: string
  /** Cause of the outcome; of an eviction what was evicted. */
  readonly reason: string
  readonly key?: string | undefined
  readonly ms?: number | undefined
}

/** The report of one process while an operator is watching. */
export interface ProcessReport {
  readonly id: string
  /** Name in the application's package.json, or its script. */
  readonly application: string
  readonly host: string
  readonly pid: number
  /** Version of Node.js, and of redwell. */
  readonly node: string
  readonly version: string
  /** Milliseconds since the epoch: start of the process; beginning of the numbers; time of the report. */
  readonly startedAt: number
  readonly since: number
  readonly at: number
  readonly memoryBytes: number
  readonly status: ConnectionStatus
  readonly counters: ConnectionCounters
  readonly clockOffsetMs: number
  /** The busiest ones; see `ORIGINS_MAX`. */
  readonly origins: readonly ReportedOrigin[]
  readonly rateLimits: RateLimitStats
  readonly limiters: readonly ReportedLimiter[]
  /** The last ones of each kind: a sample where there is much traffic. */
  readonly events: readonly ReportedEvent[]
}

/** A question of an operator to the processes that know the routes. */
export type Question = { readonly id: string } & (
  | { readonly kind: 'explain'; readonly request: ExplainRequest }
  | {
      readonly kind: 'paths'
      readonly url: string
      readonly host?: string
      readonly per?: string
      readonly prefix?: string
    }
)

/** What one process answers. `none`: it has no such route. */
export interface Answer {
  readonly process: string
  readonly explanation?: Explanation | undefined
  readonly paths?: readonly string[] | undefined
  readonly none?: string | undefined
}
