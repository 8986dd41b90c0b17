import type { Outcome, RateLimitOutcome, StoreResult } from './events.js'

/** Counts by reason. */
export type ByReason = Readonly<Record<string, number>>

/** Durations in milliseconds; quantiles are at most 1/16 too large. For busy routes one lookup in 16 is timed, so `count` is an estimate. */
export interface Latency {
  /** Count of operations. */
  readonly count: number
  /** Median. */
  readonly p50Ms: number
  /** 90 % were at most this long. */
  readonly p90Ms: number
  /** 99 % were at most this long. */
  readonly p99Ms: number
  /** The longest. */
  readonly maxMs: number
}

/** Counts of one route or namespace since the start or the last reset. */
export interface OriginStats {
  /** Answered from the cache, fresh. */
  readonly hits: number
  /** Answered from the cache, past the lifetime. */
  readonly stale: number
  /** Lookups whose handler ran. */
  readonly misses: ByReason
  /** Requests that did not use the cache. */
  readonly bypasses: ByReason
  /** Hits that were answered by another request's run. */
  readonly collapsed: number
  /** Requests that waited for another request's run, regardless of its result. */
  readonly waits: number
  /** Stale answers that replaced a failure (`staleIfError`). Their lookups count as misses. */
  readonly staleIfError: number
  /** Background refreshes that were started. */
  readonly refreshes: number
  /** Entries that were stored. */
  readonly stores: number
  /** Entries not stored because of an invalidation or another writer. */
  readonly fenced: number
  /** Entries whose storage Redis did not confirm. */
  readonly failedStores: number
  /** Responses that were served and, by rule, not stored. */
  readonly refusals: ByReason
  /** Invalidations. */
  readonly evictions: {
    /** Keys that were invalidated. */
    readonly keys: number
    /** Groups that were invalidated. */
    readonly groups: number
    /** Calls that Redis did not confirm, so they were queued. */
    readonly unconfirmed: number
  }
  /** Bytes of bodies. */
  readonly bytes: {
    /** Sent from the cache. */
    readonly served: number
    /** Stored in the cache. */
    readonly stored: number
  }
  /** Durations; undefined if there were none. */
  readonly latency: {
    /** Decisions, including waits, without the handler. */
    readonly get: Latency | undefined
    /** Stores. */
    readonly set: Latency | undefined
    /** Invalidations. */
    readonly evict: Latency | undefined
  }
}

/** Calls of rate limiters by scope and outcome. */
export type RateLimitStats = Readonly<Record<string, Readonly<Partial<Record<RateLimitOutcome, number>>>>>

/** What the near cache of one application does. */
export interface NearStats {
  /** Whether Redis currently reports every change; while it does not, the near cache is empty and bypassed. */
  readonly trusted: boolean
  /** How often that ended since the start, such as by a lost connection or a failover. */
  readonly losses: number
  /** Lookups that it answered; they count as hits of their routes and namespaces as well. */
  readonly hits: number
  /** Entries that are kept. */
  readonly entries: number
  /** Bytes that entries and stamps of groups take. */
  readonly bytes: number
  /** Entries that were read and not kept, because those they would replace are requested more often. */
  readonly refused: number
}

/** Counts of the cache since `since`. */
export interface CacheStats {
  /** Milliseconds since the epoch: the start, or the last reset. */
  readonly since: number
  /** By method and template: `GET /products/:id`. */
  readonly routes: Readonly<Record<string, OriginStats>>
  /** By name; `default` counts values without a namespace. */
  readonly namespaces: Readonly<Record<string, OriginStats>>
  /** Undefined where there is none. */
  readonly near: NearStats | undefined
  /** By name of the limiter, or method and template of the route. */
  readonly rateLimits: RateLimitStats
  /** By operation and outcome. */
  readonly sessions: Readonly<Record<string, Readonly<Record<string, number>>>>
}

/** Lookups by outcome. */
export interface Outcomes {
  readonly hits: number
  readonly stale: number
  readonly misses: number
  readonly bypasses: number
}

/** A histogram on its way to another process: see `Histogram.sparse`. */
export interface Times {
  readonly maxMs: number
  readonly counts: readonly number[]
}

/** The running totals of one origin. */
export class Counts {
  readonly totals = {
    hits: 0,
    stale: 0,
    collapsed: 0,
    waits: 0,
    staleIfError: 0,
    refreshes: 0,
    stores: 0,
    fenced: 0,
    failedStores: 0,
  }
  readonly #bytes = { served: 0, stored: 0 }
  readonly #evictions = { keys: 0, groups: 0, unconfirmed: 0 }
  readonly #misses = new Map<string, number>()
  readonly #bypasses = new Map<string, number>()
  readonly #refusals = new Map<string, number>()
  readonly #latency: Partial<Record<'get' | 'set' | 'evict', Histogram>> = {}

  lookup(outcome: Outcome, reason: string, bytes: number): void {
    if (outcome === 'hit') this.totals.hits += 1
    else if (outcome === 'stale') this.totals.stale += 1
    else increment(outcome === 'miss' ? this.#misses : this.#bypasses, reason)
    if (reason === 'collapsed') this.totals.collapsed += 1
    this.#bytes.served += bytes
  }

  refused(reason: string): void {
    increment(this.#refusals, reason)
  }

  store(result: StoreResult, bytes: number): void {
    if (result === 'outage') this.totals.failedStores += 1
    else if (result !== 'stored') this.totals.fenced += 1
    else {
      this.totals.stores += 1
      this.#bytes.stored += bytes
    }
  }

  evict(keys: number, groups: number, confirmed: boolean): void {
    this.#evictions.keys += keys
    this.#evictions.groups += groups
    if (!confirmed) this.#evictions.unconfirmed += 1
  }

  /** A histogram is created with its first record: most origins evict nothing, or store nothing. */
  time(operation: 'get' | 'set' | 'evict', ms: number, weight = 1): void {
    const histogram = (this.#latency[operation] ??= new Histogram())
    histogram.record(ms, weight)
  }

  /** Answers by outcome: what the history keeps. */
  outcomes(): Outcomes {
    const { hits, stale } = this.totals
    return { hits, stale, misses: sum(this.#misses), bypasses: sum(this.#bypasses) }
  }

  /** Latency of decisions as it is merged with that of other processes. */
  lookupTimes(): Times {
    const { get } = this.#latency
    return { maxMs: get?.maxMs ?? 0, counts: get?.sparse() ?? [] }
  }

  read(): OriginStats {
    const { get, set, evict } = this.#latency
    return {
      ...this.totals,
      misses: Object.fromEntries(this.#misses),
      bypasses: Object.fromEntries(this.#bypasses),
      refusals: Object.fromEntries(this.#refusals),
      evictions: { ...this.#evictions },
      bytes: { ...this.#bytes },
      latency: { get: get?.read(), set: set?.read(), evict: evict?.read() },
    }
  }
}

function sum(counts: ReadonlyMap<string, number>): number {
  let total = 0
  for (const count of counts.values()) total += count
  return total
}

function increment(counts: Map<string, number>, reason: string): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1)
}

/** Steps in each power of two: a quantile is exact to 1/16 of its value. */
const STEPS = 16

/** From 1 µs to 2^27 µs, over two minutes; longer times count as that. */
const POWERS = 28

/** Latency quantiles in 4 kB, however many events are recorded. */
export class Histogram {
  /** Doubles: a busy process overflows 32 bits in a day. */
  readonly #counts = new Float64Array(STEPS * POWERS)
  #count = 0
  #maxMs = 0

  get count(): number {
    return this.#count
  }

  /** `weight`: how many events this one stands for, where not every one is timed. */
  record(ms: number, weight = 1): void {
    const bucket = bucketOf(ms)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + weight
    this.#count += weight
    if (ms > this.#maxMs) this.#maxMs = ms
  }

  /** The time within which this share (0 to 1) of the events ended; undefined where there were none. */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined
    let left = share * this.#count
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count
      if (left <= 0) return Math.min(upperBoundMs(bucket), this.#maxMs)
    }
    return this.#maxMs
  }

  /** Buckets that are not empty: number and count alternate. For `add` in another process. */
  sparse(): readonly number[] {
    return Array.from(this.#counts.entries()).flatMap(([bucket, count]) => (count === 0 ? [] : [bucket, count]))
  }

  /** Adds what `sparse` returned. */
  add(sparse: readonly number[], maxMs: number): void {
    for (let index = 0; index + 1 < sparse.length; index += 2) {
      const [bucket = 0, count = 0] = sparse.slice(index)
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count
      this.#count += count
    }
    this.#maxMs = Math.max(this.#maxMs, maxMs)
  }

  get maxMs(): number {
    return this.#maxMs
  }

  read(): Latency {
    const within = (share: number): number => this.quantile(share) ?? 0
    return { count: this.#count, p50Ms: within(0.5), p90Ms: within(0.9), p99Ms: within(0.99), maxMs: this.#maxMs }
  }
}

function bucketOf(ms: number): number {
  const us = Math.max(1, Math.min(Math.round(ms * 1000), 2 ** (POWERS - 1)))
  const power = 31 - Math.clz32(us)
  return power * STEPS + Math.min(STEPS - 1, Math.floor((us / 2 ** power - 1) * STEPS))
}

function upperBoundMs(bucket: number): number {
  const power = Math.floor(bucket / STEPS)
  return (2 ** power * (1 + ((bucket % STEPS) + 1) / STEPS)) / 1000
}
