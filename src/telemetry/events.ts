/**
 * Typed events of `node:diagnostics_channel`.
 *
 * @module redwell/diagnostics
 */
import { type Channel, channel, subscribe as subscribeTo, unsubscribe } from 'node:diagnostics_channel'
import { messageOf } from '../errors.js'
import { isPromise } from '../maybe-promise.js'

/** The route or namespace that an event belongs to. */
export interface Origin {
  /** What it is. */
  readonly kind: 'route' | 'namespace'
  /** A route's method and template (`GET /products/:id`), or a namespace's name (`default`: values without a namespace). */
  readonly name: string
}

/** Result of a lookup. `stale`: sent past its lifetime, as the route, the client or a soft invalidation allowed. */
export type Outcome = 'hit' | 'stale' | 'miss' | 'bypass'

/** Properties of all events of an operation. */
interface OperationEvent {
  /** The route or namespace; the same object in all of its events. */
  readonly origin: Origin
  /** Milliseconds since the epoch, by the process' clock. */
  readonly at: number
}

/** A lookup was decided: one request of a cached route, or one key of the data cache. */
export interface LookupEvent extends OperationEvent {
  /** `get` on a route; the method's name (`get`, `getOrSet`, `has` …) on a namespace. */
  readonly operation: string
  /** Result of the lookup. */
  readonly outcome: Outcome
  /** Cause of the outcome; docs/telemetry.md lists them. A miss that Redis caused has the reason `outage`. */
  readonly reason: string
  /** Time until the decision, including the wait for another request's run; without the handler or the loader. */
  readonly durationMs: number
  /** Remaining lifetime; Infinity: until evicted. Undefined where no entry was found. */
  readonly ttlMs: number | undefined
  /** Age of the entry. Undefined where no entry was found. */
  readonly ageMs: number | undefined
  /** Size of the body that is served. */
  readonly bytes: number
  /** The entry's key below its prefix, as it is in Redis; principals in it are digests. */
  readonly key: string | undefined
  /** Groups of the entry, or those that it would carry; encoded as in Redis. */
  readonly groups: readonly string[]
}

/** `fenced`: the key or a group was invalidated since the fill began. `contested`: another writer of the key was active. */
export type StoreResult = 'stored' | 'fenced' | 'contested' | 'outage'

/** An attempt to store an entry has ended. */
export interface StoreEvent extends OperationEvent {
  /** `fill`: the result of a miss; `write-through`: the response to a write; `set`: a value from the application. */
  readonly write: 'fill' | 'write-through' | 'set'
  /** Whether it was stored, otherwise why not. */
  readonly result: StoreResult
  /** Time until Redis answered. */
  readonly durationMs: number
  /** Lifetime; Infinity: until evicted. */
  readonly ttlMs: number
  /** Size of the body. */
  readonly bytes: number
  /** The entry's key below its prefix, as it is in Redis. */
  readonly key: string
  /** Groups of the entry, encoded as in Redis. */
  readonly groups: readonly string[]
}

/** A response was served and, by rule, not stored. */
export interface RefusalEvent extends OperationEvent {
  /** A `RefusalReason`. */
  readonly reason: string
}

/** Keys and groups were invalidated. */
export interface EvictionEvent extends OperationEvent {
  /** `evict` on a route; the method's name (`delete`, `deleteGroup` …) on a namespace. */
  readonly operation: string
  /** Keys that were invalidated, encoded as in Redis. */
  readonly keys: readonly string[]
  /** Groups that were invalidated, encoded as in Redis. */
  readonly groups: readonly string[]
  /** `soft`: entries became stale. */
  readonly mode: 'hard' | 'soft'
  /** False: Redis did not confirm it; the invalidation is queued and retried. */
  readonly confirmed: boolean
  /** Count of entries that were removed by their key. */
  readonly entries: number
  /** Time until Redis answered. */
  readonly durationMs: number
}

/** A request has finished waiting for another request's run. */
export interface WaitEvent extends OperationEvent {
  /** Which process runs the handler. */
  readonly holder: 'process' | 'other-process'
  /** What ended the wait; docs/telemetry.md lists the values. */
  readonly end: string
  /** Length of the wait. */
  readonly durationMs: number
}

/** A background refresh has started; the current entry is served meanwhile. */
export interface RefreshEvent extends OperationEvent {
  /** `early`: the entry is still fresh. */
  readonly reason: 'stale' | 'early'
}

/** The entry was not stored because of an invalidation or another writer. */
export interface FenceEvent extends OperationEvent {
  /** What would have been stored. */
  readonly write: StoreEvent['write']
  /** The entry's key below its prefix, as it is in Redis. */
  readonly key: string
}

/** A stale entry was served because the handler or the loader failed (`staleIfError`). */
export type StaleIfErrorEvent = OperationEvent

/** The circuit breaker in front of Redis changed its state. */
export interface BreakerEvent {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Address of the server, or of the seeds. */
  readonly server: string
  /** State from now on. `half-open`: one command decides. */
  readonly state: 'closed' | 'open' | 'half-open'
  /** State before. */
  readonly previous: 'closed' | 'open' | 'half-open'
}

/** The connection to Redis changed its state. */
export interface ConnectionEvent {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Address of the server, or of the seeds. */
  readonly server: string
  /** Status from now on. */
  readonly status: 'ready' | 'degraded' | 'unavailable' | 'closed'
  /** Status before. */
  readonly previous: 'ready' | 'degraded' | 'unavailable' | 'closed'
}

/** Unconfirmed invalidations were sent again. */
export interface RetryEvent {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Prefix that the invalidations belong to. */
  readonly prefix: string
  /** Whether Redis confirmed them. */
  readonly result: 'confirmed' | 'failed'
  /** Keys and groups that are still unconfirmed. While there are any, this process serves nothing from the cache. */
  readonly pending: number
}

/** Redis has begun, or ceased, to report changes to a near cache, which is empty and bypassed without them. */
export interface NearEvent {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Prefix of the keys. */
  readonly prefix: string
  /** Whether changes are reported. */
  readonly trusted: boolean
}

/**
 * - `allowed`, `limited`: by the shared count; `blocked`: by a remembered refusal or a ban
 * - `local`: Redis was unavailable, and `whenUnavailable` decided
 * - `bypass`: the request had no identity to count
 */
export type RateLimitOutcome = 'allowed' | 'limited' | 'blocked' | 'local' | 'bypass'

/** A rate limiter has decided on a call. */
export interface RateLimitEvent {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Name of the limiter, or method and template of the route. The identity is never reported. */
  readonly scope: string
  /** What was decided. */
  readonly outcome: RateLimitOutcome
  /** Limit of the rate that binds first. */
  readonly limit: number
  /** Time of the decision. */
  readonly durationMs: number
}

/** An operation on a session has ended. The session's id, handle and subject are not reported. */
export interface SessionEvent {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** `load`, `commit` (at the end of a request), `end`, `list`, `revoke`, `revoke-all`. */
  readonly operation: string
  /** Result; docs/telemetry.md lists the values. */
  readonly outcome: string
  /** Time that Redis took. */
  readonly durationMs: number
}

/** Channels of `node:diagnostics_channel`, and the events published on them. */
export interface CacheEvents {
  /** A lookup was decided. */
  'redwell:lookup': LookupEvent
  /** An attempt to store has ended. */
  'redwell:store': StoreEvent
  /** A response was sent and not stored. */
  'redwell:refusal': RefusalEvent
  /** An invalidation has ended. */
  'redwell:eviction': EvictionEvent
  /** A wait for another request's run is over. */
  'redwell:wait': WaitEvent
  /** A background refresh starts. */
  'redwell:refresh': RefreshEvent
  /** An entry was not stored because of an invalidation or another writer. */
  'redwell:fence': FenceEvent
  /** A stale entry replaced a failure. */
  'redwell:stale-if-error': StaleIfErrorEvent
  /** The circuit breaker changed. */
  'redwell:breaker': BreakerEvent
  /** The connection changed. */
  'redwell:connection': ConnectionEvent
  /** Unconfirmed invalidations were retried. */
  'redwell:retry': RetryEvent
  /** Redis has begun, or ceased, to report changes to a near cache. */
  'redwell:near': NearEvent
  /** A rate limiter has decided. */
  'redwell:ratelimit': RateLimitEvent
  /** An operation on a session has ended. */
  'redwell:session': SessionEvent
}

/** A channel that knows the type of its events. */
interface EventChannel<Event> extends Pick<Channel, 'name' | 'hasSubscribers'> {
  publish(event: Event): void
}

function open<Name extends keyof CacheEvents>(name: Name): EventChannel<CacheEvents[Name]> {
  return channel(name)
}

/**
 * Referenced here for the lifetime of the process, because Node may collect a channel that only its subscribers
 * reference, and the subscribers with it. Events are built only if `hasSubscribers` is true.
 */
export const channels = {
  /** `redwell:lookup`. */
  lookup: open('redwell:lookup'),
  /** `redwell:store`. */
  store: open('redwell:store'),
  /** `redwell:refusal`. */
  refusal: open('redwell:refusal'),
  /** `redwell:eviction`. */
  eviction: open('redwell:eviction'),
  /** `redwell:wait`. */
  wait: open('redwell:wait'),
  /** `redwell:refresh`. */
  refresh: open('redwell:refresh'),
  /** `redwell:fence`. */
  fence: open('redwell:fence'),
  /** `redwell:stale-if-error`. */
  staleIfError: open('redwell:stale-if-error'),
  /** `redwell:breaker`. */
  breaker: open('redwell:breaker'),
  /** `redwell:connection`. */
  connection: open('redwell:connection'),
  /** `redwell:retry`. */
  retry: open('redwell:retry'),
  /** `redwell:near`. */
  near: open('redwell:near'),
  /** `redwell:ratelimit`. */
  rateLimit: open('redwell:ratelimit'),
  /** `redwell:session`. */
  session: open('redwell:session'),
}

/**
 * Calls the listener for each event of a channel, and returns a function that unsubscribes it. With Node's own
 * `subscribe`, a subscriber that throws causes an uncaught exception. Here the first error or rejection becomes a process
 * warning with the code `REDWELL_LISTENER`, and the listener stays subscribed.
 *
 * @example
 * const stop = subscribe('redwell:lookup', ({ origin, outcome, reason, durationMs }) => { … })
 */
export function subscribe<Name extends keyof CacheEvents>(
  name: Name,
  listener: (event: CacheEvents[Name]) => void | Promise<void>,
): () => void {
  if (Object.values(channels).every((known) => known.name !== name)) throw new TypeError(`There is no channel ${name}.`)
  let warned = false
  const warn = (error: unknown): void => {
    if (warned) return
    warned = true
    const reason = messageOf(error)
    const message = `redwell: a listener of ${name} failed: ${reason}. Further errors of this listener are not reported.`
    process.emitWarning(message, { code: 'REDWELL_LISTENER' })
  }
  const guarded = (event: unknown): void => {
    try {
      const result = listener(event as CacheEvents[Name])
      if (isPromise(result)) result.then(undefined, warn)
    } catch (error) {
      warn(error)
    }
  }
  subscribeTo(name, guarded)
  return () => {
    unsubscribe(name, guarded)
  }
}
