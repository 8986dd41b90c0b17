import type { CommandBudget } from '../redis/deadline.js'
import type { Stamp } from '../store/entry.js'
import type { Store } from '../store/store.js'
import type { Recorder } from '../telemetry/recorder.js'
import type { EntryRef } from './lookup.js'
import type { SingleFlight } from './single-flight.js'
import { type EntryDraft, stamped } from './write.js'

/** How long requests of a key run in parallel after its response could not be stored (hit-for-pass). */
const NOTE_MS = 5000

interface LeaseControls {
  readonly token: string
  readonly stamp: Stamp
  readonly leaseMs: number
  readonly holdMs: number
  readonly flight: SingleFlight
  readonly recorder: Recorder | undefined
  readonly budget: CommandBudget | undefined
}

/**
 * The right to fill one key. Owned by one object for the life of a request, which ends it in one of three ways:
 * `publish`, `refuse`, `release`. The first of them counts, later ones do nothing, and none rejects.
 */
export class FillLease {
  readonly ref: EntryRef
  readonly #store: Store
  readonly #controls: LeaseControls
  #heldUntil: number
  #renewal: NodeJS.Timeout | undefined
  #open = true

  constructor(store: Store, ref: EntryRef, controls: LeaseControls) {
    this.#store = store
    this.ref = ref
    this.#controls = controls
    this.#heldUntil = performance.now() + controls.holdMs
    this.#scheduleRenewal()
  }

  /** The clock before the handler runs. */
  get stamp(): Stamp {
    return this.#controls.stamp
  }

  /** @internal */
  get flight(): SingleFlight {
    return this.#controls.flight
  }

  /** Stores the entry, unless its key or one of its groups was invalidated since the fill began. */
  async publish(draft: EntryDraft, ttlMs: number): Promise<'stored' | 'fenced' | 'outage'> {
    if (!this.#close()) return 'fenced'
    const { token, stamp, flight, recorder, budget } = this.#controls
    const { key } = this.ref
    const entry = stamped(draft, stamp)
    const publish = () => this.#store.publish(key, { token, entry, ttlMs }, budget)
    try {
      // Recorded is what readers are served: the record of a path's Vary fields is internal.
      const published = await (recorder === undefined || entry.kind === 'variants'
        ? publish()
        : recorder.store('fill', { key, entry, ttlMs }, publish))
      flight.end({ state: published, entry })
      return published
    } catch {
      flight.end({ state: 'fenced', entry })
      this.#store.releaseLease(key, token).catch(ignore)
      return 'outage'
    }
  }

  /** The response may not be stored: leaves a short note, so that requests for the key do not queue. */
  refuse(): Promise<void> {
    return this.#release('hit-for-pass', NOTE_MS)
  }

  /** Ends without storing: the handler failed, or its client went away. */
  release(): Promise<void> {
    return this.#release('failed')
  }

  /**
   * Releases the requests that wait for this run, because its end is its reader's to decide: a stream whose reader is
   * slower than its source. The lease is kept, so the response may still be stored.
   */
  releaseWaiters(): void {
    if (this.#controls.flight.end({ state: 'streaming' }, true))
      this.#store.wake(this.ref.key, this.#controls.token).catch(ignore)
  }

  /** Its client has left, and nobody knows whether its handler goes on: like the lease of a process that may be dead. */
  clientLeft(): void {
    if (!this.#open) return
    this.#heldUntil = Math.min(this.#heldUntil, performance.now() + this.#controls.leaseMs)
    clearTimeout(this.#renewal)
    this.#scheduleRenewal()
  }

  async #release(state: 'failed' | 'hit-for-pass', noteMs?: number): Promise<void> {
    if (!this.#close()) return
    const { flight, token } = this.#controls
    flight.end({ state })
    await this.#store.releaseLease(this.ref.key, token, noteMs).catch(ignore)
  }

  #close(): boolean {
    if (!this.#open) return false
    this.#open = false
    clearTimeout(this.#renewal)
    return true
  }

  #scheduleRenewal(): void {
    const { leaseMs } = this.#controls
    const leftMs = this.#heldUntil - performance.now()
    const next = leftMs > leaseMs / 3 ? () => void this.#renew() : () => void this.release()
    this.#renewal = setTimeout(next, Math.min(leftMs, leaseMs / 3))
    this.#renewal.unref()
  }

  async #renew(): Promise<void> {
    const { token, leaseMs, flight } = this.#controls
    const held = await this.#store.renewLease(this.ref.key, token, leaseMs).catch(() => true)
    if (!this.#open) return
    if (held) this.#scheduleRenewal()
    // The lease was taken away by an invalidation: newcomers need not wait for a run whose result they cannot have.
    else flight.leave()
  }
}

function ignore(): void {}
