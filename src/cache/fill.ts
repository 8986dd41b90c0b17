import type { Recorder } from '../diagnostics/recorder.js'
import type { Entry } from '../store/entry.js'
import type { Published, Store } from '../store/port.js'
import type { FlightEnd } from './flight.js'
import type { Place } from './place.js'

/** A handler that still has not answered after this is taken for hung; its lease is not renewed any more. */
export const RENEW_FOR_MS = 300_000
/** How long callers of a key run side by side after its value could not be stored (hit-for-pass). */
const PASS_MS = 5000

interface FlightControls {
  waiters(): number
  leave(): void
  end(end: FlightEnd): void
  readonly recorder: Recorder | undefined
}

/** The right to fill one key, held until one of publish, pass or release is called. */
export class Fill {
  readonly stamp: number
  readonly place: Place
  readonly #store: Store
  readonly #token: string
  readonly #leaseMs: number
  readonly #flight: FlightControls
  readonly #startedAt = performance.now()
  #renewal: NodeJS.Timeout | undefined
  #open = true

  constructor(store: Store, place: Place, token: string, stamp: number, leaseMs: number, flight: FlightControls) {
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

function endOfPublication(published: Published, entry: Entry): FlightEnd {
  if (published === 'fenced') return { state: 'released' }
  return entry.kind === 'pass' ? { state: 'pass' } : { state: 'stored', entry }
}
