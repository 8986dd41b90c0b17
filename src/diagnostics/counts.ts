import type { Outcome, StoreResult } from './events.js'
import { Histogram } from './histogram.js'

/** How often, by reason. */
export type ByReason = Readonly<Record<string, number>>

/** Milliseconds, exact to a sixteenth. Of a busy origin one operation in 16 is timed; `count` is an estimate then. */
export interface Latency {
  readonly count: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** What one route or namespace did since the start, or since the last reset. */
export interface OriginStats {
  /** Answered from the cache, fresh. */
  readonly hits: number
  /** Answered from the cache, past the lifetime. */
  readonly stale: number
  readonly misses: ByReason
  readonly bypasses: ByReason
  /** Of the hits: answered by a run of somebody else that was under way. */
  readonly collapsed: number
  /** Requests that waited for the run of another one, whatever came of it. */
  readonly waits: number
  /** Stale answers in place of a failure (`staleIfError`). Their lookups count as misses. */
  readonly standIns: number
  /** Background refreshes that were begun. */
  readonly refreshes: number
  readonly stores: number
  /** Stores that an invalidation or another writer forestalled. */
  readonly fenced: number
  /** Stores that Redis did not confirm. */
  readonly failedStores: number
  /** Responses that were served and not stored, by rule. */
  readonly refusals: ByReason
  /** Keys and groups that were invalidated; `unconfirmed` of the calls had to be queued. */
  readonly evictions: { readonly keys: number; readonly groups: number; readonly unconfirmed: number }
  /** Of bodies. */
  readonly bytes: { readonly served: number; readonly stored: number }
  /** Of decisions (`get`), stores and invalidations. Undefined where there were none. */
  readonly latency: {
    readonly get: Latency | undefined
    readonly set: Latency | undefined
    readonly evict: Latency | undefined
  }
}

type Reasons = Map<string, number>

function count(reasons: Reasons, reason: string): void {
  reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
}

/** The running totals of one origin. */
export class Counts {
  hits = 0
  stale = 0
  collapsed = 0
  waits = 0
  standIns = 0
  refreshes = 0
  served = 0
  readonly #misses: Reasons = new Map()
  readonly #bypasses: Reasons = new Map()
  readonly #refusals: Reasons = new Map()
  #stores = 0
  #fenced = 0
  #failedStores = 0
  #stored = 0
  #keys = 0
  #groups = 0
  #unconfirmed = 0
  #get: Histogram | undefined
  #set: Histogram | undefined
  #evict: Histogram | undefined

  lookup(outcome: Outcome, reason: string, bytes: number): void {
    if (outcome === 'hit') this.hits += 1
    else if (outcome === 'stale') this.stale += 1
    else count(outcome === 'miss' ? this.#misses : this.#bypasses, reason)
    if (reason === 'collapsed') this.collapsed += 1
    this.served += bytes
  }

  refused(reason: string): void {
    count(this.#refusals, reason)
  }

  store(result: StoreResult, bytes: number): void {
    if (result === 'outage') this.#failedStores += 1
    else if (result !== 'stored') this.#fenced += 1
    else {
      this.#stores += 1
      this.#stored += bytes
    }
  }

  evict(keys: number, groups: number, confirmed: boolean): void {
    this.#keys += keys
    this.#groups += groups
    if (!confirmed) this.#unconfirmed += 1
  }

  /** A histogram is made with its first record: most origins evict nothing, or store nothing. */
  time(what: 'get' | 'set' | 'evict', ms: number, weight = 1): void {
    if (what === 'get') (this.#get ??= new Histogram()).record(ms, weight)
    else if (what === 'set') (this.#set ??= new Histogram()).record(ms)
    else (this.#evict ??= new Histogram()).record(ms)
  }

  read(): OriginStats {
    const { hits, stale, collapsed, waits, standIns, refreshes, served } = this
    return {
      ...{ hits, stale, misses: read(this.#misses), bypasses: read(this.#bypasses) },
      ...{ collapsed, waits, standIns, refreshes },
      ...{ stores: this.#stores, fenced: this.#fenced, failedStores: this.#failedStores },
      refusals: read(this.#refusals),
      evictions: { keys: this.#keys, groups: this.#groups, unconfirmed: this.#unconfirmed },
      bytes: { served, stored: this.#stored },
      latency: { get: latencyOf(this.#get), set: latencyOf(this.#set), evict: latencyOf(this.#evict) },
    }
  }
}

function read(reasons: Reasons): ByReason {
  return Object.fromEntries(reasons)
}

function latencyOf(histogram: Histogram | undefined): Latency | undefined {
  if (histogram === undefined) return undefined
  const within = (share: number): number => histogram.quantile(share) ?? 0
  const { count: events, maxMs } = histogram
  return { count: events, p50Ms: within(0.5), p90Ms: within(0.9), p99Ms: within(0.99), maxMs }
}
