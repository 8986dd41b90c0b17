/** Where it happened. */
export interface Origin {
  readonly kind: 'route' | 'namespace'
  /** A route's method and template (`GET /products/:id`), or a namespace's name: `default` for values beside namespaces. */
  readonly name: string
}

/** - `stale`: served past its lifetime, which the route, the client or a soft invalidation allowed */
export type Outcome = 'hit' | 'stale' | 'miss' | 'bypass'

/** What every event of an operation tells. */
interface Happened {
  readonly origin: Origin
  /** Milliseconds since the epoch, by the clock of the process. */
  readonly at: number
}

/** Somebody asked the cache: one request of a cached route, or one key of the data cache. Published when it is decided. */
export interface LookupEvent extends Happened {
  /** `get` on a route; the method's name (`get`, `getOrSet`, `has` …) on a namespace. */
  readonly operation: string
  readonly outcome: Outcome
  /** Why: see docs/telemetry.md. A miss of which Redis was the cause has the reason `outage`. */
  readonly reason: string
  /** Up to the decision, with the wait for somebody else's run; without the handler or the loader. */
  readonly durationMs: number
  /** Lifetime that is left; Infinity: until evicted. Undefined where nothing was found. */
  readonly ttlMs: number | undefined
  readonly ageMs: number | undefined
  /** Of the body that is served. */
  readonly bytes: number
  /** The entry's key below its prefix, as it stands in Redis; a principal in it is a digest. */
  readonly key: string | undefined
  /** Groups of the entry, or of the place where it would be; encoded as in Redis. */
  readonly groups: readonly string[]
}

/** - `fenced`: the key or a group was invalidated since the fill began; `contested`: another writer of the key was active */
export type StoreResult = 'stored' | 'fenced' | 'contested' | 'outage'

/** Something was to be stored. */
export interface StoreEvent extends Happened {
  /** `fill`: what a miss computed; `write-through`: what a write answered; `set`: what the application gave. */
  readonly by: 'fill' | 'write-through' | 'set'
  readonly result: StoreResult
  readonly durationMs: number
  readonly ttlMs: number
  /** Of the body. */
  readonly bytes: number
  readonly key: string
  readonly groups: readonly string[]
}

/** A response was served and not stored, by rule. */
export interface RefusalEvent extends Happened {
  /** A `RefusalReason`. */
  readonly reason: string
}

/** Keys and groups were invalidated. */
export interface EvictionEvent extends Happened {
  /** `evict` on a route; the method's name (`delete`, `deleteGroup` …) on a namespace. */
  readonly operation: string
  readonly keys: readonly string[]
  readonly groups: readonly string[]
  readonly mode: 'hard' | 'soft'
  /** False: Redis could not be reached; it is queued and tried again. */
  readonly confirmed: boolean
  /** Entries that were removed by their key. */
  readonly entries: number
  readonly durationMs: number
}

/** A request waited for the run of another one. Published when the wait is over. */
export interface WaitEvent extends Happened {
  /** Whose run it waited for. */
  readonly holder: 'process' | 'other-process'
  /**
   * - `stored`, `woken`: there is something to look at
   * - `released`, `pass`: the other run gave nothing to share
   * - `wait-limit`, `aborted`, `outage`: it waits no longer
   */
  readonly end: string
  readonly durationMs: number
}

/** A background refresh of an entry that is served meanwhile was begun. */
export interface RefreshEvent extends Happened {
  /** `early`: the entry is still fresh. */
  readonly reason: 'stale' | 'early'
}

/** A store was refused because of an invalidation or a writer that came in between: consistency at work. */
export interface FenceEvent extends Happened {
  readonly by: StoreEvent['by']
  readonly key: string
}

/** A stale entry was served in place of a handler or a loader that failed (`staleIfError`). */
export type StandInEvent = Happened

/** The breaker in front of Redis has changed. */
export interface BreakerEvent {
  readonly at: number
  /** Address of the server, or of the seeds. */
  readonly server: string
  readonly state: 'closed' | 'open' | 'half-open'
  readonly previous: 'closed' | 'open' | 'half-open'
}

/** What the cache can expect of Redis has changed. */
export interface ConnectionEvent {
  readonly at: number
  readonly server: string
  readonly status: 'ready' | 'degraded' | 'unavailable' | 'closed'
  readonly previous: 'ready' | 'degraded' | 'unavailable' | 'closed'
}

/** Invalidations that Redis had not confirmed were sent once more. */
export interface RetryEvent {
  readonly at: number
  readonly prefix: string
  readonly result: 'confirmed' | 'failed'
  /** Keys and groups still to be confirmed. While there are any, this process serves nothing from the cache. */
  readonly pending: number
}

/** Channels of `node:diagnostics_channel`, and what is published on them. */
export interface CacheEvents {
  'redwell:lookup': LookupEvent
  'redwell:store': StoreEvent
  'redwell:refusal': RefusalEvent
  'redwell:eviction': EvictionEvent
  'redwell:wait': WaitEvent
  'redwell:refresh': RefreshEvent
  'redwell:fence': FenceEvent
  'redwell:stand-in': StandInEvent
  'redwell:breaker': BreakerEvent
  'redwell:connection': ConnectionEvent
  'redwell:retry': RetryEvent
}
