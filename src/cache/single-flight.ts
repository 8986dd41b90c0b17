import { AsyncLocalStorage } from 'node:async_hooks'
import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { Entry } from '../store/entry.js'
import type { EntryLookup } from './lookup.js'

/** How a run ended, for the requests that waited for it. */
export type FlightEnd =
  | { readonly state: 'stored' | 'fenced'; readonly entry: Entry }
  /** Another process's run is over; this is what was there afterwards. */
  | { readonly state: 'looked-up'; readonly lookup: EntryLookup }
  /** An entry was there before the run began. */
  | { readonly state: 'changed' }
  | { readonly state: 'failed' | 'hit-for-pass' | 'streaming' | 'outage' }

export type WaitEnd = FlightEnd | { readonly state: 'wait-limit' | 'aborted' }

/** What the requests of one process share while one of them fills a key, or another process does. */
export class SingleFlight {
  /** New requests start a run of their own from here on. */
  readonly leave: () => void
  readonly #ended: Promise<FlightEnd>
  #resolve: (end: FlightEnd) => void = () => {}
  #open = true
  waiters = 0
  /** Flights that the run of this one waits for at the moment. */
  readonly blockedBy: SingleFlight[] = []
  /** Its end is awaited in the background, not by the request that began it. */
  watched = false

  constructor(leave: () => void) {
    this.leave = leave
    this.#ended = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** Releases the waiters. `stays`: later requests get this result as well. Returns whether it was the first call. */
  end(end: FlightEnd, stays = false): boolean {
    if (!stays) this.leave()
    const first = this.#open
    this.#open = false
    this.#resolve(end)
    return first
  }

  async wait(limitMs: number, signal: AbortSignal | undefined): Promise<WaitEnd> {
    this.waiters += 1
    try {
      const end = await withLimit(this.#ended, limitMs, signal)
      return end.state === 'ended' ? end.value : end
    } finally {
      this.waiters -= 1
    }
  }
}

/** The first of a promise that does not reject, its limit, and the caller's abort. Leaves no timer and no listener. */
export function withLimit<T>(
  promise: Promise<T>,
  limitMs: number,
  signal?: AbortSignal,
): Promise<{ readonly state: 'ended'; readonly value: T } | { readonly state: 'wait-limit' | 'aborted' }> {
  if (signal?.aborted === true) return Promise.resolve({ state: 'aborted' })
  return new Promise((resolve) => {
    const settle = (end: { state: 'ended'; value: T } | { state: 'wait-limit' | 'aborted' }): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      resolve(end)
    }
    const timer = setTimeout(() => settle({ state: 'wait-limit' }), Math.max(limitMs, 0))
    const abort = (): void => settle({ state: 'aborted' })
    signal?.addEventListener('abort', abort, { once: true })
    void promise.then((value) => settle({ state: 'ended', value }))
  })
}

/**
 * Which fills the current asynchronous context holds, so that a loader that needs its own value (or A needs B needs A)
 * does not wait for itself. Disabled while no loader runs: on Node 20 it slows down every promise of the process.
 */
export class HeldFlights {
  readonly #storage = new AsyncLocalStorage<readonly SingleFlight[]>()
  #runs = 0

  run<T>(flights: readonly SingleFlight[], work: () => MaybePromise<T>): MaybePromise<T> {
    const held = [...(this.#storage.getStore() ?? []), ...flights]
    const ended = (): void => {
      this.#runs -= 1
      if (this.#runs === 0) this.#storage.disable()
    }
    this.#runs += 1
    try {
      const result = this.#storage.run(held, work)
      if (isPromise(result)) return result.finally(ended)
      ended()
      return result
    } catch (error) {
      ended()
      throw error
    }
  }

  /** Notes that the current context waits for a flight; returns what ends that, or undefined: it would wait for itself. */
  block(flight: SingleFlight): (() => void) | undefined {
    const held = this.#runs === 0 ? undefined : this.#storage.getStore()
    if (held === undefined) return ignore
    if (leadsTo(flight, new Set(held))) return undefined
    for (const own of held) own.blockedBy.push(flight)
    return () => {
      for (const own of held) own.blockedBy.splice(own.blockedBy.indexOf(flight), 1)
    }
  }
}

function leadsTo(flight: SingleFlight, held: ReadonlySet<SingleFlight>, seen = new Set<SingleFlight>()): boolean {
  if (held.has(flight)) return true
  if (seen.has(flight)) return false
  seen.add(flight)
  return flight.blockedBy.some((next) => leadsTo(next, held, seen))
}

function ignore(): void {}
