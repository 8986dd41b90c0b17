import type { Outcome, StoreResult } from './events.js'
import { Recorder } from './recorder.js'

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

/** Steps in each power of two: a quantile is told within 1/16 of its value. */
const STEPS = 16

/** From 1 µs to 2^27 µs, over two minutes; what is longer counts as that. */
const POWERS = 28

/** Latency quantiles in 4 kB, whatever is recorded. */
export class Histogram {
  /** Doubles: a busy process overflows 32 bits in a day. */
  readonly #counts = new Float64Array(STEPS * POWERS)
  #count = 0
  #maxMs = 0

  get count(): number {
    return this.#count
  }

  get maxMs(): number {
    return this.#maxMs
  }

  /** `weight`: how many events this one stands for, where not every one is timed. */
  record(ms: number, weight = 1): void {
    const bucket = bucketOf(ms)
    this.#counts[bucket] = this.#at(bucket) + weight
    this.#count += weight
    if (ms > this.#maxMs) this.#maxMs = ms
  }

  /** The time within which this share (0 to 1) of the events ended; undefined where there were none. */
  quantile(share: number): number | undefined {
    if (this.#count === 0) return undefined
    let left = share * this.#count
    for (let bucket = 0; bucket < this.#counts.length; bucket += 1) {
      left -= this.#at(bucket)
      if (left <= 0) return Math.min(upperBoundMs(bucket), this.#maxMs)
    }
    return this.#maxMs
  }

  #at(bucket: number): number {
    return this.#counts[bucket] ?? 0
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

/**
 * Origins of one kind that are told apart; what comes after them counts as one, so that names that a framework makes
 * from requests (a mounted router's path) cannot grow without bound.
 */
const ORIGINS_MAX = 1000

/** OpenTelemetry's word for "none of the known". */
const OTHER = '_OTHER'

/** Values beside namespaces. */
const DEFAULT_NAMESPACE = 'default'

/** What the cache did since `since`, in numbers. */
export interface CacheStats {
  /** Milliseconds since the epoch: the start, or the last reset. */
  readonly since: number
  /** By method and template: `GET /products/:id`. */
  readonly routes: Readonly<Record<string, OriginStats>>
  /** By name; `default` is the values beside namespaces. */
  readonly namespaces: Readonly<Record<string, OriginStats>>
}

/** The recorders of one application's cache. */
export class Telemetry {
  readonly #now: () => number
  readonly #routes = new Map<string, Recorder>()
  readonly #namespaces = new Map<string, Recorder>()
  #since: number

  constructor(now: () => number = Date.now) {
    this.#now = now
    this.#since = now()
  }

  route(name: string): Recorder {
    return this.#of('route', this.#routes, name)
  }

  namespace(name: string): Recorder {
    return this.#of('namespace', this.#namespaces, name === '' ? DEFAULT_NAMESPACE : name)
  }

  stats(): CacheStats {
    return { since: this.#since, routes: read2(this.#routes), namespaces: read2(this.#namespaces) }
  }

  reset(): void {
    this.#since = this.#now()
    for (const recorder of [...this.#routes.values(), ...this.#namespaces.values()]) recorder.reset()
  }

  #of(kind: 'route' | 'namespace', known: Map<string, Recorder>, name: string): Recorder {
    const bounded = known.has(name) || known.size < ORIGINS_MAX ? name : OTHER
    const before = known.get(bounded)
    if (before !== undefined) return before
    const made = new Recorder({ kind, name: bounded }, this.#now)
    known.set(bounded, made)
    return made
  }
}

function read2(recorders: Map<string, Recorder>): Record<string, OriginStats> {
  return Object.fromEntries([...recorders].map(([name, recorder]) => [name, recorder.read()]))
}
