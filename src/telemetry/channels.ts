import { type Channel, channel, subscribe as listen, unsubscribe } from 'node:diagnostics_channel'
import type { BreakerEvent, CacheEvents, ConnectionEvent } from './events.js'

/** Kept here for good: a channel that only its subscribers know may be collected with them. */
export const channels = {
  lookup: channel('redwell:lookup'),
  store: channel('redwell:store'),
  refusal: channel('redwell:refusal'),
  eviction: channel('redwell:eviction'),
  wait: channel('redwell:wait'),
  refresh: channel('redwell:refresh'),
  fence: channel('redwell:fence'),
  standIn: channel('redwell:stand-in'),
  breaker: channel('redwell:breaker'),
  connection: channel('redwell:connection'),
  retry: channel('redwell:retry'),
} as const satisfies Record<string, Channel>

type Listener<Event> = (event: Event) => void | Promise<void>

/**
 * Calls back for each event of a channel; gives the way to stop. Unlike a plain `diagnostics_channel.subscribe`, whose
 * subscribers end the process when they throw, a listener that throws or rejects is told of once, as a process warning
 * with the code `REDWELL_LISTENER`, and stays subscribed.
 *
 * @example
 * const stop = subscribe('redwell:lookup', ({ origin, outcome, reason, durationMs }) => { … })
 */
export function subscribe<Name extends keyof CacheEvents>(
  name: Name,
  listener: Listener<CacheEvents[Name]>,
): () => void {
  if (Object.values(channels).every((known) => known.name !== name)) throw new TypeError(`There is no channel ${name}.`)
  const guarded = guard(name, listener as Listener<unknown>)
  listen(name, guarded)
  return () => {
    unsubscribe(name, guarded)
  }
}

function guard(name: string, listener: Listener<unknown>): (event: unknown) => void {
  let told = false
  const tell = (error: unknown): void => {
    if (told) return
    told = true
    const reason = error instanceof Error ? error.message : String(error)
    process.emitWarning(`redwell: a listener of ${name} failed: ${reason}. Further failures of it are not told.`, {
      code: 'REDWELL_LISTENER',
    })
  }
  return (event) => {
    try {
      const returned = listener(event)
      if (returned instanceof Promise) returned.catch(tell)
    } catch (error) {
      tell(error)
    }
  }
}

export function publishBreaker(server: string, state: BreakerEvent['state'], previous: BreakerEvent['state']): void {
  if (channels.breaker.hasSubscribers) channels.breaker.publish({ at: Date.now(), server, state, previous })
}

export function publishStatus(
  server: string,
  status: ConnectionEvent['status'],
  previous: ConnectionEvent['status'],
): void {
  if (channels.connection.hasSubscribers) channels.connection.publish({ at: Date.now(), server, status, previous })
}

/** A try at what was not confirmed has ended; `pending` is what is left of it. */
export function publishRetry(prefix: string, pending: number): void {
  if (!channels.retry.hasSubscribers) return
  channels.retry.publish({ at: Date.now(), prefix, result: pending === 0 ? 'confirmed' : 'failed', pending })
}
