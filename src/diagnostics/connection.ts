import { channels } from './channels.js'
import type { BreakerEvent, ConnectionEvent } from './events.js'

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
