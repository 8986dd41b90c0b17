import type { Entry } from '../store/entry.js'

/** How the one fill of a key in this process ended, for those who waited for it. */
export type FlightEnd =
  /** Stored, and valid as of an instant after every waiter began. */
  | { readonly state: 'stored'; readonly entry: Entry }
  /** The response may not be stored: waiters run their own handlers, side by side. */
  | { readonly state: 'pass' }
  /** Failed, fenced or given up: the next waiter may try. */
  | { readonly state: 'released' }
  /** The store is away: nobody waits. */
  | { readonly state: 'outage' }

export type WaitEnd = FlightEnd | { readonly state: 'wait-limit' } | { readonly state: 'aborted' }

/** What callers of one process share while one of them fills a key. */
export class Flight {
  readonly #ended: Promise<FlightEnd>
  #end!: (end: FlightEnd) => void
  #waiters = 0

  constructor() {
    this.#ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  /** How many have waited for this flight. */
  get waiters(): number {
    return this.#waiters
  }

  end(end: FlightEnd): void {
    this.#end(end)
  }

  wait(limitMs: number, signal: AbortSignal | undefined): Promise<WaitEnd> {
    this.#waiters += 1
    return withLimit(this.#ended, limitMs, signal)
  }
}

/** A promise that does not reject, or the first of its limit and the caller's abort. Leaves no timer and no listener behind. */
export function withLimit<T>(
  promise: Promise<T>,
  limitMs: number,
  signal: AbortSignal | undefined,
): Promise<T | { readonly state: 'wait-limit' } | { readonly state: 'aborted' }> {
  if (signal?.aborted === true) return Promise.resolve({ state: 'aborted' })
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle({ state: 'wait-limit' }), Math.max(limitMs, 0))
    const abort = (): void => settle({ state: 'aborted' })
    const settle = (value: T | { state: 'wait-limit' } | { state: 'aborted' }): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      resolve(value)
    }
    signal?.addEventListener('abort', abort, { once: true })
    void promise.then(settle)
  })
}
