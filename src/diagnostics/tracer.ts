import type { EvictionEvent, LookupEvent, Origin, StoreEvent } from './events.js'

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
