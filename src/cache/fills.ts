import { randomUUID } from 'node:crypto'
import type { Recorder } from '../diagnostics/recorder.js'
import type { Entry } from '../store/entry.js'
import type { Store } from '../store/port.js'
import { Fill } from './fill.js'
import { Flight, type FlightEnd, withLimit } from './flight.js'
import { look } from './look.js'
import { type Absent, type Place, replacing } from './place.js'

/**
 * How long a fill may go unrenewed; a killed holder delays others by no more than this. Longer than an event loop is
 * ever blocked by accident, and well below what callers wait.
 */
export const DEFAULT_LEASE_MS = 3000
/** How long a caller waits for somebody else's fill before it runs the handler itself and stores nothing. */
export const DEFAULT_WAIT_MS = 10_000
/** Looks at a key that keeps changing under the claim before the check is dropped (something foreign stands there). */
const CHANGES_MAX = 2

export interface FillTiming {
  readonly leaseMs: number
  readonly waitMs: number
}

export interface AcquireOptions {
  /** Whether the caller may use an entry that somebody else just filled. */
  readonly accept: (entry: Entry, softened: boolean) => boolean
  /** 0: do not wait at all. */
  readonly waitMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** How long groups created for this fill must live: the entry's whole life. */
  readonly groupTtlMs: number
  /** Told of the wait, and of what is stored. */
  readonly recorder?: Recorder | undefined
}

export type AloneReason = 'hit-for-pass' | 'wait-limit' | 'aborted' | 'outage' | 'unusable' | 'busy'

export type Acquired =
  /** Somebody else filled it while we waited. */
  | { readonly state: 'found'; readonly entry: Entry }
  /** Ours to fill. Must end with publish, pass or release. */
  | { readonly state: 'fill'; readonly fill: Fill }
  /** Run the handler and store nothing. */
  | { readonly state: 'alone'; readonly reason: AloneReason }

/** The fills of one prefix: at most one per key at any moment, in this process and over all processes. */
export class Fills {
  readonly #store: Store
  readonly #now: () => number
  readonly #timing: FillTiming
  readonly #flights = new Map<string, Flight>()

  constructor(store: Store, now: () => number, timing: FillTiming) {
    this.#store = store
    this.#now = now
    this.#timing = timing
  }

  /** Fills that this process has under way. */
  get size(): number {
    return this.#flights.size
  }

  async acquire(place: Place, absent: Absent, options: AcquireOptions): Promise<Acquired> {
    const waitMs = options.waitMs ?? this.#timing.waitMs
    const giveUpAt = this.#now() + waitMs
    for (;;) {
      const flight = this.#flights.get(place.key)
      if (flight === undefined) {
        const led = await this.#lead(place, absent, giveUpAt, options)
        if (led.state !== 'again') return led
        continue
      }
      if (waitMs === 0) return { state: 'alone', reason: 'busy' }
      const waiting = flight.wait(giveUpAt - this.#now(), options.signal)
      const end = await (options.recorder?.wait('process', waiting) ?? waiting)
      if (end.state === 'stored') return reuse(end.entry, options)
      if (end.state === 'pass') return { state: 'alone', reason: 'hit-for-pass' }
      if (end.state !== 'released') return { state: 'alone', reason: end.state }
    }
  }

  /** Speaks for this process: takes the lease, or waits for who has it. */
  async #lead(
    place: Place,
    absent: Absent,
    giveUpAt: number,
    options: AcquireOptions,
  ): Promise<Acquired | typeof AGAIN> {
    const flight = new Flight()
    this.#flights.set(place.key, flight)
    const token = randomUUID()
    try {
      const claimed = await this.#claim(place, absent, token, giveUpAt, options, flight)
      if (claimed.state === 'granted')
        return { state: 'fill', fill: this.#fill(place, token, claimed.stamp, flight, options) }
      this.#land(place.key, flight, claimed.state === 'again' ? { state: 'released' } : endOf(claimed))
      return claimed
    } catch {
      this.#land(place.key, flight, { state: 'outage' })
      return { state: 'alone', reason: 'outage' }
    }
  }

  async #claim(
    place: Place,
    first: Absent,
    token: string,
    giveUpAt: number,
    options: AcquireOptions,
    flight: Flight,
  ): Promise<Granted | Exclude<Acquired, { state: 'fill' }> | typeof AGAIN> {
    let seen: Absent = first
    let changes = 0
    const waiter = new Waiter(this.#store, place.key, options.recorder)
    try {
      for (;;) {
        const claimed = await this.#store.claim(place.key, {
          token,
          leaseMs: this.#timing.leaseMs,
          seen: changes > CHANGES_MAX ? 'any' : seen.seen,
          absentGroups: seen.absentGroups,
          groupTtlMs: options.groupTtlMs,
        })
        if (claimed.state === 'granted') return { state: 'granted', stamp: claimed.stamp }
        if (claimed.state === 'held') {
          if (options.waitMs === 0) return { state: 'alone', reason: 'busy' }
          const ended = await waiter.wait(Math.min(claimed.remainingMs, giveUpAt - this.#now()), options.signal)
          if (ended === 'aborted') return { state: 'alone', reason: 'aborted' }
          if (ended === 'limit' && this.#now() >= giveUpAt) return { state: 'alone', reason: 'wait-limit' }
          if (ended === 'armed') continue
        } else {
          changes += 1
        }
        // Whoever joins from here on began after this read was sent, and must not be given what it finds.
        this.#leave(place.key, flight)
        const found = await look(this.#store, place, this.#now())
        if (found.state === 'outage') return { state: 'alone', reason: 'outage' }
        if (found.state === 'absent') seen = found
        else if (found.entry.kind === 'pass') return { state: 'alone', reason: 'hit-for-pass' }
        else if (options.accept(found.entry, found.softened)) return { state: 'found', entry: found.entry }
        else seen = replacing(found.entry)
        if (this.#flights.has(place.key)) return AGAIN
        this.#flights.set(place.key, flight)
      }
    } finally {
      waiter.close()
    }
  }

  #fill(place: Place, token: string, stamp: number, flight: Flight, { recorder }: AcquireOptions): Fill {
    return new Fill(this.#store, place, token, stamp, this.#timing.leaseMs, {
      waiters: () => flight.waiters,
      leave: () => this.#leave(place.key, flight),
      end: (end) => flight.end(end),
      recorder,
    })
  }

  #land(key: string, flight: Flight, end: FlightEnd): void {
    this.#leave(key, flight)
    flight.end(end)
  }

  #leave(key: string, flight: Flight): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key)
  }
}

/** Another caller took the lead meanwhile: join it. */
const AGAIN = { state: 'again' } as const

interface Granted {
  readonly state: 'granted'
  readonly stamp: number
}

function reuse(entry: Entry, options: AcquireOptions): Acquired {
  return options.accept(entry, false) ? { state: 'found', entry } : { state: 'alone', reason: 'unusable' }
}

function endOf(acquired: Exclude<Acquired, { state: 'fill' }>): FlightEnd {
  if (acquired.state === 'found') return { state: 'stored', entry: acquired.entry }
  if (acquired.reason === 'hit-for-pass') return { state: 'pass' }
  return { state: acquired.reason === 'outage' ? 'outage' : 'released' }
}

/** Waits for the end of somebody's lease. The first wait only arms it: the claim has to be asked again afterwards,
 * because the lease may have ended before its end could be heard. */
class Waiter {
  readonly #store: Store
  readonly #key: string
  readonly #recorder: Recorder | undefined
  #stop: (() => void) | undefined
  #woken = Promise.resolve()
  #wake: () => void = () => {}

  constructor(store: Store, key: string, recorder: Recorder | undefined) {
    this.#store = store
    this.#key = key
    this.#recorder = recorder
  }

  async wait(limitMs: number, signal: AbortSignal | undefined): Promise<'armed' | 'woken' | 'limit' | 'aborted'> {
    if (this.#stop === undefined) {
      await this.#store.listen()
      this.#rearm()
      this.#stop = this.#store.onWake(this.#key, () => this.#wake())
      return 'armed'
    }
    const waiting = withLimit(this.#woken, limitMs, signal)
    const end = await (this.#recorder?.wait('other-process', waiting) ?? waiting)
    this.#rearm()
    if (end === undefined) return 'woken'
    return end.state === 'aborted' ? 'aborted' : 'limit'
  }

  close(): void {
    this.#stop?.()
  }

  #rearm(): void {
    this.#woken = new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}
