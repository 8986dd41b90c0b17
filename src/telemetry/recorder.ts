import { isPromise, type MaybePromise } from '../maybe-promise.js'
import {
  type BreakerEvent,
  channels,
  type ConnectionEvent,
  type EvictionEvent,
  type LookupEvent,
  type Origin,
  type Outcome,
  type StoreEvent,
  type StoreResult,
  type WaitEvent,
} from './events.js'
import { Counts, type OriginStats, type Outcomes, type Times } from './stats.js'

/** An origin's first lookups are all timed, so that the figures of a quiet one are exact. */
const TIMED_FIRST = 1024

/** After those, one in this many is (a power of two): reading the clock twice costs as much as a hit from memory. */
const TIMED_EVERY = 16

/** Counts what one route or namespace does, and publishes it to subscribers. */
export class Recorder {
  #counts = new Counts()
  #lookups = 0

  constructor(
    readonly origin: Origin,
    private readonly now: () => number,
  ) {}

  read(): OriginStats {
    return this.#counts.read()
  }

  /** Lookups by outcome. */
  outcomes(): Outcomes {
    return this.#counts.outcomes()
  }

  /** Latency of decisions, to be merged with that of other processes. */
  lookupTimes(): Times {
    return this.#counts.lookupTimes()
  }

  reset(): void {
    this.#counts = new Counts()
    this.#lookups = 0
  }

  /** Begins a lookup, which its caller ends. */
  start(operation: string): LookupTimer {
    const scope = this.#begin(operation)
    const weight = this.#nextWeight()
    const isTimed = weight !== 0 || scope !== undefined || channels.lookup.hasSubscribers
    return new LookupTimer(this, operation, scope, weight, isTimed ? performance.now() : 0)
  }

  /** Runs `run`, which stores an entry. */
  async store(
    write: StoreEvent['write'],
    stored: Stored,
    run: () => Promise<'stored' | 'fenced'>,
  ): Promise<'stored' | 'fenced'> {
    const scope = write === 'set' ? this.#begin('set') : tracer?.('set', this.origin)
    const startedAt = performance.now()
    let result: StoreResult = 'outage'
    try {
      return (result = await runIn(scope, run))
    } finally {
      this.#stored(scope, write, stored, result, startedAt)
    }
  }

  /** Runs a write-through: what it invalidates and what it stores are one operation. */
  async put<T extends Evicted & { readonly published: 'stored' | 'fenced' }>(
    target: EvictionTarget,
    stored: Stored | undefined,
    run: () => Promise<T>,
  ): Promise<T> {
    const scope = this.origin.kind === 'route' ? tracer?.('put', this.origin) : this.#begin('set')
    const startedAt = performance.now()
    try {
      const committed = await runIn(scope, run)
      const result = committed.confirmed ? (committed.published === 'stored' ? 'stored' : 'contested') : 'outage'
      // One span: it describes the store where there is one.
      if (!isEmpty(target)) this.#evicted(stored === undefined ? scope : undefined, 'put', target, committed, startedAt)
      if (stored !== undefined) this.#stored(scope, 'write-through', stored, result, startedAt)
      else if (isEmpty(target)) scope?.end(undefined)
      return committed
    } catch (error) {
      scope?.end(undefined, error)
      throw error
    }
  }

  /** Runs an invalidation, which never rejects. */
  async evict<Target extends EvictionTarget, T extends Evicted>(
    operation: string,
    target: Target,
    run: (target: Target) => Promise<T>,
  ): Promise<T> {
    if (isEmpty(target)) return run(target)
    const scope = this.#begin(operation)
    const startedAt = performance.now()
    const evicted = await runIn(scope, () => run(target))
    this.#evicted(scope, operation, target, evicted, startedAt)
    return evicted
  }

  /** Awaits another request's run. */
  async wait<T extends { readonly state: string } | void>(
    holder: WaitEvent['holder'],
    waiting: Promise<T>,
  ): Promise<T> {
    this.#counts.totals.waits += 1
    const startedAt = performance.now()
    const result = await waiting
    if (channels.wait.hasSubscribers) {
      const durationMs = performance.now() - startedAt
      channels.wait.publish({ ...this.#common(), holder, end: result?.state ?? 'woken', durationMs })
    }
    return result
  }

  /** A response was not stored, by rule. */
  refused(reason: string): void {
    this.#counts.refused(reason)
    if (channels.refusal.hasSubscribers) channels.refusal.publish({ ...this.#common(), reason })
  }

  /** A background refresh has started. */
  refreshes(reason: 'stale' | 'early'): void {
    this.#counts.totals.refreshes += 1
    if (channels.refresh.hasSubscribers) channels.refresh.publish({ ...this.#common(), reason })
  }

  /** A stale entry was served because the handler or the loader failed. */
  staleIfError(): void {
    this.#counts.totals.staleIfError += 1
    if (channels.staleIfError.hasSubscribers) channels.staleIfError.publish(this.#common())
  }

  #common(): { origin: Origin; at: number } {
    return { origin: this.origin, at: this.now() }
  }

  #begin(operation: string): Scope | undefined {
    return tracer?.(this.origin.kind === 'route' ? operation : `backend.${operation}`, this.origin)
  }

  /** Count of lookups that the time of the next one stands for; 0: its time is in no histogram. */
  #nextWeight(): number {
    this.#lookups += 1
    if (this.#lookups <= TIMED_FIRST) return 1
    return this.#lookups % TIMED_EVERY === 0 ? TIMED_EVERY : 0
  }

  /** @internal Called by the timer. */
  ended({ operation, scope, weight, startedAt }: LookupTimer, result: LookupResult): void {
    const { outcome, reason, entry, ref } = result
    const served = outcome === 'hit' || outcome === 'stale'
    const bytes = result.bytes ?? (served ? (entry?.body.length ?? 0) : 0)
    const durationMs = startedAt === 0 ? 0 : performance.now() - startedAt
    this.#counts.lookup(outcome, reason, bytes)
    if (weight !== 0) this.#counts.time('get', durationMs, weight)
    meter?.(this.origin, outcome, reason, bytes, weight === 0 ? undefined : durationMs)
    if (scope === undefined && !channels.lookup.hasSubscribers) return
    const common = this.#common()
    const event: LookupEvent = {
      ...{ ...common, operation, outcome, reason, durationMs, bytes, key: ref?.key },
      ttlMs: entry && Math.max(entry.freshUntil - common.at, 0),
      ageMs: entry && common.at - entry.storedAt,
      groups: entry?.groups ?? ref?.groups ?? [],
    }
    channels.lookup.publish(event)
    scope?.end(event)
  }

  #stored(
    scope: Scope | undefined,
    write: StoreEvent['write'],
    { key, entry, ttlMs }: Stored,
    result: StoreResult,
    startedAt: number,
  ): void {
    const durationMs = performance.now() - startedAt
    const bytes = entry.body.length
    this.#counts.store(result, bytes)
    this.#counts.time('set', durationMs)
    if ((result === 'fenced' || result === 'contested') && channels.fence.hasSubscribers)
      channels.fence.publish({ ...this.#common(), write, key })
    if (scope === undefined && !channels.store.hasSubscribers) return
    const event = { ...this.#common(), write, key, result, durationMs, ttlMs, bytes, groups: entry.groups }
    channels.store.publish(event)
    scope?.end(event)
  }

  #evicted(
    scope: Scope | undefined,
    operation: string,
    target: EvictionTarget,
    { entries, confirmed }: Evicted,
    startedAt: number,
  ): void {
    const durationMs = performance.now() - startedAt
    const { paths: keys = [], groups = [], mode = 'hard' } = target
    this.#counts.evict(keys.length, groups.length, confirmed)
    this.#counts.time('evict', durationMs)
    if (scope === undefined && !channels.eviction.hasSubscribers) return
    const event = { ...this.#common(), operation, keys, groups, mode, confirmed, entries, durationMs }
    channels.eviction.publish(event)
    scope?.end(event)
  }
}

/** A lookup that is under way. */
export class LookupTimer {
  /** `weight`: count of lookups that this one's time stands for in histograms, or 0. `startedAt`: 0 if it is not timed. */
  constructor(
    private readonly recorder: Recorder,
    readonly operation: string,
    readonly scope: Scope | undefined,
    readonly weight: number,
    readonly startedAt: number,
  ) {}

  /** Runs a part of the lookup, so that its Redis commands are children of the lookup's span. */
  run<T>(work: () => T): T {
    return runIn(this.scope, work)
  }

  /** Runs the lookup and records its end; `describe` turns its result into what is recorded. */
  follow<T>(run: () => MaybePromise<T>, describe: (result: T) => LookupResult): MaybePromise<T> {
    const end = (result: T): T => {
      this.found(describe(result))
      return result
    }
    const running = this.run(run)
    if (!isPromise(running)) return end(running)
    return running.then(end, (error: unknown) => {
      this.failed(error)
      throw error
    })
  }

  found(result: LookupResult): void {
    this.recorder.ended(this, result)
  }

  /** One of several lookups that are made together; each is recorded, and the whole ends with `end`. */
  part(): LookupTimer {
    return new LookupTimer(this.recorder, this.operation, undefined, this.weight, this.startedAt)
  }

  end(): void {
    this.scope?.end(undefined)
  }

  failed(error: unknown): void {
    this.scope?.end(undefined, error)
  }
}

function isEmpty({ paths = [], groups = [] }: EvictionTarget): boolean {
  return paths.length === 0 && groups.length === 0
}

/** The parts of an entry that are recorded. */
export interface RecordedEntry {
  readonly storedAt: number
  readonly freshUntil: number
  readonly groups: readonly string[]
  readonly body: { readonly length: number }
}

export interface LookupResult {
  readonly outcome: Outcome
  readonly reason: string
  readonly entry?: RecordedEntry | undefined
  /** Key and groups that were looked up. */
  readonly ref?: { readonly key: string; readonly groups: readonly string[] } | undefined
  /** Size of the body that is served. Default: that of the entry of a hit. */
  readonly bytes?: number | undefined
}

export interface Stored {
  readonly key: string
  readonly entry: RecordedEntry
  readonly ttlMs: number
}

export interface EvictionTarget {
  readonly paths?: readonly string[] | undefined
  readonly groups?: readonly string[] | undefined
  readonly mode?: 'hard' | 'soft' | undefined
}

/** The result of an invalidation. */
export interface Evicted {
  readonly entries: number
  readonly confirmed: boolean
}

/** An operation that is under way, as a tracer sees it. */
export interface Scope {
  /** Runs the operation's own work, so that what it calls (the driver) belongs to it. */
  run<T>(work: () => T): T
  /** `error` is what the operation threw; an outage of Redis is part of the event instead. */
  end(event: LookupEvent | StoreEvent | EvictionEvent | undefined, error?: unknown): void
}

/**
 * Returns the scope to run an operation in, or undefined where none is wanted. Must not throw. Operations are `get`,
 * `set`, `put`, `evict` of a route, and `backend.<method>` of the data cache.
 */
export type Tracer = (operation: string, origin: Origin) => Scope | undefined

/*
 * Not a channel: a subscriber can look at an operation but not put itself around it, and the active context of
 * OpenTelemetry can only be entered by a call (`context.with`).
 */
let tracer: Tracer | undefined

export function setTracer(next: Tracer | undefined): void {
  tracer = next
}

/**
 * Adds a lookup to metrics. Must not throw. `durationMs` is undefined for those that are not timed.
 *
 * Not a channel: to make an event for each lookup, and to record each in a histogram, costs as much as a hit from memory.
 */
export type Meter = (
  origin: Origin,
  outcome: Outcome,
  reason: string,
  bytes: number,
  durationMs: number | undefined,
) => void

let meter: Meter | undefined

export function setMeter(next: Meter | undefined): void {
  meter = next
}

/** Work that throws before it returns a promise still ends its scope. */
function runIn<T>(scope: Scope | undefined, work: () => T): T {
  try {
    return scope === undefined ? work() : scope.run(work)
  } catch (error) {
    scope?.end(undefined, error)
    throw error
  }
}

export function publishBreaker(server: string, state: BreakerEvent['state'], previous: BreakerEvent['state']): void {
  if (channels.breaker.hasSubscribers) channels.breaker.publish({ at: Date.now(), server, state, previous })
}

type Status = ConnectionEvent['status']

export function publishStatus(server: string, status: Status, previous: Status): void {
  if (channels.connection.hasSubscribers) channels.connection.publish({ at: Date.now(), server, status, previous })
}

/** An attempt to confirm queued invalidations has ended; `pending` is the count that is left. */
export function publishRetry(prefix: string, pending: number): void {
  if (!channels.retry.hasSubscribers) return
  channels.retry.publish({ at: Date.now(), prefix, result: pending === 0 ? 'confirmed' : 'failed', pending })
}

/** Redis has begun, or ceased, to report changes to a near cache. */
export function publishNear(prefix: string, trusted: boolean): void {
  if (channels.near.hasSubscribers) channels.near.publish({ at: Date.now(), prefix, trusted })
}
