import type { MaybePromise } from '../maybe-promise.js'
import { channels } from './channels.js'
import type { EvictionEvent, LookupEvent, Origin, Outcome, StoreEvent, StoreResult } from './events.js'
import { Counts, type OriginStats } from './stats.js'

/** Lookups of an origin that are all timed, so that a quiet one has exact figures. */
const TIMED_FIRST = 1024

/** After that one in so many (a power of two): reading the clock twice costs as much as a hit from memory. */
const TIMED_EVERY = 16

/** Counts what one route or namespace does, and tells those who listen. */
export class Recorder {
  readonly origin: Origin
  readonly #now: () => number
  #counts = new Counts()
  #asked = 0

  constructor(origin: Origin, now: () => number) {
    this.origin = origin
    this.#now = now
  }

  read(): OriginStats {
    return this.#counts.read()
  }

  reset(): void {
    this.#counts = new Counts()
    this.#asked = 0
  }

  /** A lookup begins, whose end somebody tells: for paths that cannot afford to be wrapped. */
  start(operation: string): LookupTimer {
    const scope = this.#begin(operation)
    const weight = this.#weight(scope)
    return new LookupTimer(this, operation, scope, weight, weight === 0 ? 0 : performance.now())
  }

  /** Runs a lookup. `found` tells what its result means. */
  lookup<T>(operation: string, run: () => MaybePromise<T>, found: (result: T) => LookupResult): MaybePromise<T> {
    const looking = this.start(operation)
    const running = looking.run(run)
    if (!(running instanceof Promise)) {
      looking.found(found(running))
      return running
    }
    return running.then(
      (result) => {
        looking.found(found(result))
        return result
      },
      (error: unknown) => {
        looking.failed(error)
        throw error
      },
    )
  }

  /** Stores something; `run` resolves with how that ended. */
  async store(
    by: StoreEvent['by'],
    what: Stored,
    run: () => Promise<'stored' | 'fenced'>,
  ): Promise<'stored' | 'fenced'> {
    const scope = by === 'set' ? this.#begin('set') : begin('set', this.origin)
    const startedAt = performance.now()
    try {
      const result = await (scope === undefined ? run() : runIn(scope, run))
      const event = this.#stored(by, what, result === 'fenced' && by === 'set' ? 'contested' : result, startedAt)
      scope?.end(event)
      return result
    } catch (error) {
      const event = this.#stored(by, what, 'outage', startedAt)
      scope?.end(event)
      throw error
    }
  }

  /** A write-through: what it invalidates and what it stores are one operation. */
  async put<T extends Evicted & { readonly published: 'stored' | 'fenced' }>(
    evicting: Evicting,
    what: Stored | undefined,
    run: () => Promise<T>,
  ): Promise<T> {
    const scope = this.origin.kind === 'route' ? begin('put', this.origin) : this.#begin('set')
    const startedAt = performance.now()
    try {
      const committed = await (scope === undefined ? run() : runIn(scope, run))
      const result = committed.confirmed ? (committed.published === 'stored' ? 'stored' : 'contested') : 'outage'
      const stored = what === undefined ? undefined : this.#stored('write-through', what, result, startedAt)
      const evicted = isEmpty(evicting) ? undefined : this.#evicted('put', evicting, committed, startedAt)
      scope?.end(stored ?? evicted)
      return committed
    } catch (error) {
      scope?.end(undefined, error)
      throw error
    }
  }

  /** Invalidates; an invalidation never rejects. */
  async evict<Target extends Evicting, T extends Evicted>(
    operation: string,
    target: Target,
    run: (target: Target) => Promise<T>,
  ): Promise<T> {
    if (isEmpty(target)) return run(target)
    const scope = this.#begin(operation)
    const startedAt = performance.now()
    const evicted = await (scope === undefined ? run(target) : runIn(scope, () => run(target)))
    const event = this.#evicted(operation, target, evicted, startedAt)
    scope?.end(event)
    return evicted
  }

  /** Waits for the run of somebody else. */
  async wait<T extends { readonly state: string } | void>(
    holder: 'process' | 'other-process',
    waiting: Promise<T>,
  ): Promise<T> {
    this.#counts.waits += 1
    const startedAt = performance.now()
    const ended = await waiting
    if (channels.wait.hasSubscribers) {
      const durationMs = performance.now() - startedAt
      channels.wait.publish({ origin: this.origin, at: this.#now(), holder, end: ended?.state ?? 'woken', durationMs })
    }
    return ended
  }

  refused(reason: string): void {
    this.#counts.refused(reason)
    if (channels.refusal.hasSubscribers) channels.refusal.publish({ origin: this.origin, at: this.#now(), reason })
  }

  refreshes(reason: 'stale' | 'early'): void {
    this.#counts.refreshes += 1
    if (channels.refresh.hasSubscribers) channels.refresh.publish({ origin: this.origin, at: this.#now(), reason })
  }

  standsIn(): void {
    this.#counts.standIns += 1
    if (channels.standIn.hasSubscribers) channels.standIn.publish({ origin: this.origin, at: this.#now() })
  }

  #begin(operation: string): Scope | undefined {
    const { kind } = this.origin
    return begin(kind === 'route' ? (operation as OperationName) : `backend.${operation}`, this.origin)
  }

  /** How many lookups this one's time stands for; 0: it is not timed. */
  #weight(scope: Scope | undefined): number {
    this.#asked += 1
    if (scope !== undefined || this.#asked <= TIMED_FIRST || channels.lookup.hasSubscribers) return 1
    return this.#asked % TIMED_EVERY === 0 ? TIMED_EVERY : 0
  }

  /** @internal */
  looked({ operation, scope, weight, startedAt }: LookupTimer, found: LookupResult): void {
    const { outcome, reason, entry, place } = found
    const served = outcome === 'hit' || outcome === 'stale'
    const bytes = found.bytes ?? (served ? (entry?.body.length ?? 0) : 0)
    const durationMs = weight === 0 ? 0 : performance.now() - startedAt
    this.#counts.lookup(outcome, reason, bytes)
    if (weight !== 0) this.#counts.time('get', durationMs, weight)
    if (scope === undefined && !channels.lookup.hasSubscribers) return
    const at = this.#now()
    const event: LookupEvent = {
      origin: this.origin,
      at,
      operation,
      outcome,
      reason,
      durationMs,
      bytes,
      ttlMs: entry === undefined ? undefined : Math.max(entry.freshUntil - at, 0),
      ageMs: entry === undefined ? undefined : at - entry.storedAt,
      key: place?.key,
      groups: entry?.groups ?? place?.groups ?? [],
    }
    channels.lookup.publish(event)
    scope?.end(event)
  }

  #stored(by: StoreEvent['by'], { key, entry, ttlMs }: Stored, result: StoreResult, startedAt: number): StoreEvent {
    const durationMs = performance.now() - startedAt
    const bytes = entry.body.length
    this.#counts.store(result, bytes)
    this.#counts.time('set', durationMs)
    const common = { origin: this.origin, at: this.#now(), by, key }
    const event = { ...common, result, durationMs, ttlMs, bytes, groups: entry.groups }
    if (channels.store.hasSubscribers) channels.store.publish(event)
    if ((result === 'fenced' || result === 'contested') && channels.fence.hasSubscribers) channels.fence.publish(common)
    return event
  }

  #evicted(
    operation: string,
    { keys = [], groups = [], mode = 'hard' }: Evicting,
    { entries, confirmed }: Evicted,
    startedAt: number,
  ): EvictionEvent {
    const durationMs = performance.now() - startedAt
    this.#counts.evict(keys.length, groups.length, confirmed)
    this.#counts.time('evict', durationMs)
    const at = this.#now()
    const event = { origin: this.origin, at, operation, keys, groups, mode, confirmed, entries, durationMs }
    if (channels.eviction.hasSubscribers) channels.eviction.publish(event)
    return event
  }
}

/** A lookup that is under way. */
export class LookupTimer {
  readonly #recorder: Recorder
  readonly operation: string
  readonly scope: Scope | undefined
  /** How many lookups this one's time stands for; 0: it is not timed. */
  readonly weight: number
  readonly startedAt: number

  constructor(recorder: Recorder, operation: string, scope: Scope | undefined, weight: number, startedAt: number) {
    this.#recorder = recorder
    this.operation = operation
    this.scope = scope
    this.weight = weight
    this.startedAt = startedAt
  }

  /** Runs a part of it, so that what the part asks of Redis belongs to the lookup. */
  run<T>(work: () => T): T {
    return this.scope === undefined ? work() : runIn(this.scope, work)
  }

  found(found: LookupResult): void {
    this.#recorder.looked(this, found)
  }

  /** One of several lookups that are made together. Told of by itself; the whole ends with `end`. */
  part(): LookupTimer {
    return new LookupTimer(this.#recorder, this.operation, undefined, this.weight, this.startedAt)
  }

  /** All parts have been looked at. */
  end(): void {
    this.scope?.end(undefined)
  }

  failed(error: unknown): void {
    this.scope?.end(undefined, error)
  }
}

/** What throws before it has given a promise still ends its scope. */
function runIn<T>(scope: Scope, run: () => T): T {
  try {
    return scope.run(run)
  } catch (error) {
    scope.end(undefined, error)
    throw error
  }
}

function isEmpty({ keys = [], groups = [] }: Evicting): boolean {
  return keys.length === 0 && groups.length === 0
}

/** What telemetry asks of an entry. */
export interface Kept {
  readonly storedAt: number
  readonly freshUntil: number
  readonly groups: readonly string[]
  readonly body: { readonly length: number }
}

/** What a lookup found. */
export interface LookupResult {
  readonly outcome: Outcome
  readonly reason: string
  readonly entry?: Kept | undefined
  /** Where it was looked for. */
  readonly place?: { readonly key: string; readonly groups: readonly string[] } | undefined
  /** Of the body that is served. Default: that of the entry of a hit. */
  readonly bytes?: number | undefined
}

export interface Stored {
  readonly key: string
  readonly entry: Kept
  readonly ttlMs: number
}

export interface Evicting {
  readonly keys?: readonly string[] | undefined
  readonly groups?: readonly string[] | undefined
  readonly mode?: 'hard' | 'soft' | undefined
}

/** How an invalidation ended. */
export interface Evicted {
  readonly entries: number
  readonly confirmed: boolean
}

/** An operation that takes time, while it is under way. */
export interface Scope {
  /** Runs the operation's own work, so that what it calls (the driver) belongs to it. */
  run<T>(work: () => T): T
  /** It is over. `error` is what it threw; Redis trouble is no error but told by the event. */
  end(event: LookupEvent | StoreEvent | EvictionEvent | undefined, error?: unknown): void
}

/** `get`, `set`, `put`, `evict` of a route; `backend.<method>` of the data cache. */
export type OperationName = 'get' | 'set' | 'put' | 'evict' | `backend.${string}`

/** Gives what an operation runs in, or undefined where nobody wants to know. Never throws. */
export type Tracer = (operation: OperationName, origin: Origin) => Scope | undefined

/*
 * Beside the channels, because a subscriber of a channel can look at an operation but not put itself around it: the
 * active context of OpenTelemetry can only be entered by a call (`context.with`).
 */
let current: Tracer | undefined

export function setTracer(tracer: Tracer | undefined): void {
  current = tracer
}

export function begin(operation: OperationName, origin: Origin): Scope | undefined {
  return current === undefined ? undefined : current(operation, origin)
}
