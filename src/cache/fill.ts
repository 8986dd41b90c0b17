import { randomUUID } from 'node:crypto'
import type { Entry } from '../store/entry.js'
import type { Published, Store } from '../store/store.js'
import type { Recorder } from '../telemetry/recorder.js'
import { type Absent, type EntryRef, replacing } from './entry-ref.js'
import { lookupEntry } from './lookup.js'

/** A handler that still has not answered after this is taken for hung; its lease is not renewed any more. */
export const RENEW_FOR_MS = 300_000

/** How long callers of a key run side by side after its value could not be stored (hit-for-pass). */
const PASS_MS = 5000

interface FlightControls {
  waiters(): number
  leave(): void
  end(end: FlightOutcome): void
  readonly recorder: Recorder | undefined
}

/** The right to fill one key, held until one of publish, pass or release is called. */
export class FillLease {
  readonly stamp: number
  readonly place: EntryRef
  readonly #store: Store
  readonly #token: string
  readonly #leaseMs: number
  readonly #flight: FlightControls
  readonly #startedAt = performance.now()
  #renewal: NodeJS.Timeout | undefined
  #open = true

  constructor(store: Store, place: EntryRef, token: string, stamp: number, leaseMs: number, flight: FlightControls) {
    this.stamp = stamp
    this.place = place
    this.#store = store
    this.#token = token
    this.#leaseMs = leaseMs
    this.#flight = flight
    this.#scheduleRenewal()
  }

  /** Stores the entry, unless the key or a group was invalidated since the fill began. */
  async publish(entry: Entry, ttlMs: number): Promise<Published> {
    if (!this.#close()) return 'fenced'
    try {
      const verify = this.#flight.waiters() > 0
      const publish = () => this.#store.publish(this.place.key, { token: this.#token, entry, ttlMs, verify })
      const published = await this.#recorded(entry, ttlMs, publish)
      this.#flight.end(endOfPublication(published, entry))
      return published
    } catch (error) {
      this.#flight.end({ state: 'outage' })
      throw error
    }
  }

  /** The value may not be stored: leaves a short note in its place, so that callers do not queue behind one another. */
  async pass(now: number): Promise<void> {
    const note = {
      kind: 'pass',
      flags: 0,
      status: 0,
      initialAgeMs: 0,
      family: '',
      headers: [],
      body: Buffer.alloc(0),
    } as const
    const until = { storedAt: now, freshUntil: now + PASS_MS, staleUntil: 0, errorUntil: 0 }
    await this.publish({ ...note, ...until, stamp: this.stamp, groups: this.place.groups }, PASS_MS)
  }

  /** Gives the lease up without storing: the handler failed, or its client went away. */
  async release(): Promise<void> {
    if (!this.#close()) return
    this.#flight.end({ state: 'released' })
    await this.#store.release(this.place.key, this.#token)
  }

  /** Only what is served again is told of: not the notes and roots that we leave for ourselves. */
  #recorded(entry: Entry, ttlMs: number, publish: () => Promise<Published>): Promise<Published> {
    const { recorder } = this.#flight
    if (recorder === undefined || (entry.kind !== 'response' && entry.kind !== 'value')) return publish()
    return recorder.store('fill', { key: this.place.key, entry, ttlMs }, publish)
  }

  /** From here on nobody joins: who asks now reads the store, behind what is being written to it. */
  #close(): boolean {
    if (!this.#open) return false
    this.#open = false
    clearTimeout(this.#renewal)
    this.#flight.leave()
    return true
  }

  #scheduleRenewal(): void {
    this.#renewal = setTimeout(() => void this.#renew(), this.#leaseMs / 3)
    this.#renewal.unref()
  }

  async #renew(): Promise<void> {
    if (performance.now() - this.#startedAt > RENEW_FOR_MS) return
    const held = await this.#store.renew(this.place.key, this.#token, this.#leaseMs).catch(() => true)
    if (held && this.#open) this.#scheduleRenewal()
  }
}

function endOfPublication(published: Published, entry: Entry): FlightOutcome {
  if (published === 'fenced') return { state: 'released' }
  return entry.kind === 'pass' ? { state: 'pass' } : { state: 'stored', entry }
}

/** How the one fill of a key in this process ended, for those who waited for it. */
export type FlightOutcome =
  /** Stored, and valid as of an instant after every waiter began. */
  | { readonly state: 'stored'; readonly entry: Entry }
  /** The response may not be stored: waiters run their own handlers, side by side. */
  | { readonly state: 'pass' }
  /** Failed, fenced or given up: the next waiter may try. */
  | { readonly state: 'released' }
  /** The store is away: nobody waits. */
  | { readonly state: 'outage' }

export type WaitEnd = FlightOutcome | { readonly state: 'wait-limit' } | { readonly state: 'aborted' }

/** What callers of one process share while one of them fills a key. */
export class SingleFlight {
  readonly #ended: Promise<FlightOutcome>
  #end!: (end: FlightOutcome) => void
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

  end(end: FlightOutcome): void {
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
  | { readonly state: 'fill'; readonly fill: FillLease }
  /** Run the handler and store nothing. */
  | { readonly state: 'alone'; readonly reason: AloneReason }

/** The fills of one prefix: at most one per key at any moment, in this process and over all processes. */
export class FillCoordinator {
  readonly #store: Store
  readonly #now: () => number
  readonly #timing: FillTiming
  readonly #flights = new Map<string, SingleFlight>()

  constructor(store: Store, now: () => number, timing: FillTiming) {
    this.#store = store
    this.#now = now
    this.#timing = timing
  }

  /** Fills that this process has under way. */
  get size(): number {
    return this.#flights.size
  }

  async acquire(place: EntryRef, absent: Absent, options: AcquireOptions): Promise<Acquired> {
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
    place: EntryRef,
    absent: Absent,
    giveUpAt: number,
    options: AcquireOptions,
  ): Promise<Acquired | typeof AGAIN> {
    const flight = new SingleFlight()
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
    place: EntryRef,
    first: Absent,
    token: string,
    giveUpAt: number,
    options: AcquireOptions,
    flight: SingleFlight,
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
        const found = await lookupEntry(this.#store, place, this.#now())
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

  #fill(place: EntryRef, token: string, stamp: number, flight: SingleFlight, { recorder }: AcquireOptions): FillLease {
    return new FillLease(this.#store, place, token, stamp, this.#timing.leaseMs, {
      waiters: () => flight.waiters,
      leave: () => this.#leave(place.key, flight),
      end: (end) => flight.end(end),
      recorder,
    })
  }

  #land(key: string, flight: SingleFlight, end: FlightOutcome): void {
    this.#leave(key, flight)
    flight.end(end)
  }

  #leave(key: string, flight: SingleFlight): void {
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

function endOf(acquired: Exclude<Acquired, { state: 'fill' }>): FlightOutcome {
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
