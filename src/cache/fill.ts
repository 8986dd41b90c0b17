import { randomUUID } from 'node:crypto'
import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import type { Entry, Stamp } from '../store/entry.js'
import type { LeaseReply, LeaseRequest, Store } from '../store/store.js'
import type { Recorder } from '../telemetry/recorder.js'
import { FillLease } from './fill-lease.js'
import { type Absent, type EntryLookup, type EntryRef, replacing } from './lookup.js'
import { HeldFlights, SingleFlight, type WaitEnd, withLimit } from './single-flight.js'
import { type Turn, Turns } from './turns.js'

/**
 * How long a fill may go unrenewed; a killed holder delays others by no more than this. Longer than an event loop is
 * ever blocked by accident, and well below what callers wait.
 */
export const DEFAULT_LEASE_MS = 3000

/** How long a caller waits for another's run before it runs the handler itself and stores nothing. */
export const DEFAULT_WAIT_MS = 10_000

/** A handler that has not answered after this time is considered stuck: its run releases the key. */
const DEFAULT_HOLD_MS = 300_000

/** How often a waiter checks that another process's lease still exists: its end may go unheard (FLUSHALL, a failover). */
const LEASE_CHECK_MS = 500

/** Changes of the entry while its lease is asked for, before the check is dropped: something foreign is there. */
const CHANGES_MAX = 2

export interface AcquireOptions {
  /** Whether the caller may use an entry that another run has just stored. */
  readonly accept: (entry: Entry, softened: boolean) => boolean
  /** How long groups created for this fill must live: the entry's whole lifetime. */
  readonly groupTtlMs: number
  /** Longest wait for another's run; 0: none. */
  readonly waitMs?: number | undefined
  readonly leaseMs?: number | undefined
  /** How long the run may hold the key. */
  readonly holdMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly recorder?: Recorder | undefined
  readonly budget?: CommandBudget | undefined
}

export type AloneReason =
  /** Another run is under way, and the caller does not wait. */
  | 'busy'
  | 'wait-limit'
  | 'aborted'
  | 'outage'
  /** A response of this key could not be stored, now or a short while ago. */
  | 'hit-for-pass'
  /** The run waited for has failed, was fenced, or streams to a slow reader. */
  | 'failed'
  | 'fenced'
  | 'streaming'
  /** What the run stored is of no use to the caller, or not there. */
  | 'unusable'
  /** The caller is itself part of the run it would wait for. */
  | 'nested'

export type Acquired =
  /** Another run has stored it meanwhile. */
  | { readonly state: 'found'; readonly entry: Entry }
  /** The caller fills the key, and must end the lease in every case. */
  | { readonly state: 'fill'; readonly fill: FillLease }
  /** The caller runs the handler and stores nothing. */
  | { readonly state: 'alone'; readonly reason: AloneReason }

/** What a caller needs before it runs a handler without a lease, where such runs are bounded. */
export interface TakeTurnOptions extends Pick<
  AcquireOptions,
  'accept' | 'waitMs' | 'holdMs' | 'signal' | 'recorder' | 'budget'
> {
  /** Parallel runs of the key. */
  readonly max: number
}

export type TakenTurn =
  /** Another run has stored it meanwhile. */
  { readonly state: 'found'; readonly entry: Entry } | { readonly state: 'turn'; readonly turn: Turn }

export interface FillOptions {
  readonly lookup: (ref: EntryRef, budget: CommandBudget | undefined) => MaybePromise<EntryLookup>
  readonly leaseMs: number
  readonly waitMs: number
  /** A run requested its own result. */
  readonly onNested: (key: string) => void
}

/**
 * Decides which request runs a handler: at most one run per key at any moment across all processes, while its lease is
 * held. A request waits at most once, for the run that is under way when it comes; after that it runs at once, without
 * a lease.
 */
export class FillCoordinator {
  readonly #store: Store
  readonly #options: FillOptions
  readonly #flights = new Map<string, SingleFlight>()
  readonly #holding = new HeldFlights()
  readonly #turns = new Turns()

  constructor(store: Store, options: FillOptions) {
    this.#store = store
    this.#options = options
  }

  /** Keys that this process fills or waits for. */
  get size(): number {
    return this.#flights.size + this.#turns.size
  }

  acquire(ref: EntryRef, absent: Absent, options: AcquireOptions): Promise<Acquired> {
    const flight = this.#flights.get(ref.key)
    return flight === undefined ? this.#lead(ref, absent, options) : this.#join(flight, ref, options)
  }

  /** How long a process that died holds a key. */
  get leaseMs(): number {
    return this.#options.leaseMs
  }

  /** A turn among the runs of a key, if one is free. */
  takeFreeTurn(key: string, max: number, holdMs = DEFAULT_HOLD_MS): Turn | undefined {
    return this.#turns.takeFree(key, { max, holdMs })
  }

  /**
   * A turn among the runs of a key that store nothing; at once if one is free. A caller that had to wait looks the
   * entry up once more.
   */
  takeTurn(ref: EntryRef, options: TakeTurnOptions): MaybePromise<TakenTurn> {
    const { max, waitMs = this.#options.waitMs, holdMs = DEFAULT_HOLD_MS, signal } = options
    const taking = this.#turns.take(ref.key, { max, waitMs, holdMs, signal })
    return isPromise(taking) ? this.#awaitTurn(taking, ref, options) : { state: 'turn', turn: taking }
  }

  async #awaitTurn(taking: Promise<Turn>, ref: EntryRef, options: TakeTurnOptions): Promise<TakenTurn> {
    const waiting = taking.then((turn) => ({ state: 'turn', turn }) as const)
    const { turn } = await (options.recorder?.wait('process', waiting) ?? waiting)
    try {
      const found = foundIn(await this.#options.lookup(ref, options.budget), options)
      if (found === undefined) return { state: 'turn', turn }
      turn.end()
      return found
    } catch (error) {
      turn.end()
      throw error
    }
  }

  /** Runs a loader or handler so that what it asks for in turn never waits for these fills. */
  runHolding<T>(fills: readonly FillLease[], work: () => MaybePromise<T>): MaybePromise<T> {
    return this.#holding.run(
      fills.map(({ flight }) => flight),
      work,
    )
  }

  /** The first request of this process for the key: takes the lease, or waits for its holder in another process. */
  async #lead(ref: EntryRef, absent: Absent, options: AcquireOptions): Promise<Acquired> {
    const flight = new SingleFlight(() => this.#leave(ref.key, flight))
    this.#flights.set(ref.key, flight)
    let filling = false
    try {
      const acquired = await this.#acquireLease(ref, absent, flight, options)
      filling = acquired.state === 'fill'
      return acquired
    } finally {
      // Only what the caller's `accept` throws leaves it open until here.
      if (!filling && !flight.watched) flight.end({ state: 'failed' })
    }
  }

  async #acquireLease(ref: EntryRef, absent: Absent, flight: SingleFlight, options: AcquireOptions): Promise<Acquired> {
    const { leaseMs = this.#options.leaseMs, holdMs = DEFAULT_HOLD_MS, groupTtlMs, signal, recorder, budget } = options
    const token = randomUUID()
    let { seen, absentGroups } = absent
    for (let changes = 0; ; changes += 1) {
      const expected = changes > CHANGES_MAX ? 'any' : seen
      const request = { token, leaseMs, seen: expected, absentGroups, groupTtlMs }
      const reply = await this.#requestLease(ref.key, request, budget)
      if (reply.state === 'held') return this.#awaitHolder(ref, reply.remainingMs, flight, options)
      if (reply.state === 'granted') {
        const { stamp } = reply
        const fill = new FillLease(this.#store, ref, { token, stamp, leaseMs, holdMs, flight, recorder, budget })
        if (signal?.aborted !== true) return { state: 'fill', fill }
        await fill.release()
        return alone('aborted')
      }
      if (reply.state !== 'changed') return endAlone(flight, reply.state === 'noted' ? 'hit-for-pass' : 'outage')
      const lookup = await this.#options.lookup(ref, budget)
      const found = foundIn(lookup, options)
      if (found !== undefined) {
        flight.end({ state: 'changed' })
        return found
      }
      if (lookup.state === 'outage') return endAlone(flight, 'outage')
      ;({ seen, absentGroups } = lookup.state === 'valid' ? replacing(lookup.entry) : lookup)
    }
  }

  /** An unknown reply may have been a grant: the lease is given back by its token. */
  async #requestLease(
    key: string,
    request: LeaseRequest,
    budget: CommandBudget | undefined,
  ): Promise<LeaseReply | { readonly state: 'outage' }> {
    try {
      return await this.#store.acquireLease(key, request, budget)
    } catch {
      this.#store.releaseLease(key, request.token).catch(ignore)
      return { state: 'outage' }
    }
  }

  async #join(flight: SingleFlight, ref: EntryRef, options: AcquireOptions): Promise<Acquired> {
    const { signal, waitMs = this.#options.waitMs, budget, recorder } = options
    if (waitMs === 0) return alone('busy')
    const stopBlocking = this.#holding.block(flight)
    if (stopBlocking === undefined) {
      this.#options.onNested(ref.key)
      return alone('nested')
    }
    try {
      const clock = this.#clock(budget)
      const waiting = flight.wait(waitMs, signal)
      const end = await (recorder?.wait('process', waiting) ?? waiting)
      return await this.#afterWait(end, clock, ref, options)
    } finally {
      stopBlocking()
    }
  }

  /**
   * What a run of this process left for a request that waited for it. Its entry is as new as the waiter's own would be,
   * stored or fenced, where the clock that the waiter read when it joined is not newer than the run's stamp.
   */
  async #afterWait(
    end: WaitEnd,
    clock: Promise<Stamp | undefined> | undefined,
    ref: EntryRef,
    options: AcquireOptions,
  ): Promise<Acquired> {
    if (end.state === 'looked-up') return foundIn(end.lookup, options) ?? alone('unusable')
    if (end.state === 'stored' || end.state === 'fenced') {
      const { entry } = end
      const joined = await clock
      const current = joined?.incarnation === entry.incarnation && joined.at <= entry.stamp
      if (current && options.accept(entry, false)) return { state: 'found', entry }
    }
    if (end.state !== 'stored' && end.state !== 'changed') return alone(end.state)
    const lookup = await this.#options.lookup(ref, options.budget)
    return foundIn(lookup, options) ?? alone(lookup.state === 'outage' ? 'outage' : 'unusable')
  }

  /** Never rejects: without a reading of the clock a waiter looks the entry up instead. */
  async #clock(budget: CommandBudget | undefined): Promise<Stamp | undefined> {
    try {
      return await this.#store.clock(budget)
    } catch {
      return undefined
    }
  }

  /** The run is another process's: its end is watched once for all requests that wait for it here. */
  async #awaitHolder(
    ref: EntryRef,
    remainingMs: number,
    flight: SingleFlight,
    options: AcquireOptions,
  ): Promise<Acquired> {
    const { waitMs = this.#options.waitMs, signal, recorder } = options
    const waiting = waitMs === 0 ? undefined : flight.wait(waitMs, signal)
    flight.watched = true
    void this.#watchHolder(ref, remainingMs, flight)
    if (waiting === undefined) return alone('busy')
    const end = await (recorder?.wait('other-process', waiting) ?? waiting)
    return this.#afterWait(end, undefined, ref, options)
  }

  /** Ends the flight when the lease is gone. Checked at once: that may have happened before this process listened. */
  async #watchHolder(ref: EntryRef, remainingMs: number, flight: SingleFlight): Promise<void> {
    if (flight.waiters === 0) return void flight.end({ state: 'failed' })
    let wake = (): void => {}
    const woken = new Promise<void>((resolve) => {
      wake = resolve
    })
    const stop = this.#store.onWake(ref.key, wake)
    try {
      await this.#store.listen()
      let checkMs = Math.min(remainingMs, LEASE_CHECK_MS)
      while (flight.waiters > 0 && (await this.#store.isLeased(ref.key))) {
        const { state } = await withLimit(woken, checkMs)
        if (state === 'ended') break
        checkMs = LEASE_CHECK_MS
      }
      // Requests that come from here on began after this lookup, so they must not share what it finds.
      flight.leave()
      flight.end({ state: 'looked-up', lookup: await this.#options.lookup(ref, undefined) })
    } catch {
      flight.end({ state: 'outage' })
    } finally {
      stop()
    }
  }

  #leave(key: string, flight: SingleFlight): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key)
  }
}

function alone(reason: AloneReason): Acquired {
  return { state: 'alone', reason }
}

function endAlone(flight: SingleFlight, state: 'hit-for-pass' | 'outage'): Acquired {
  flight.end({ state })
  return alone(state)
}

function foundIn(
  lookup: EntryLookup,
  { accept }: Pick<AcquireOptions, 'accept'>,
): Extract<Acquired, { state: 'found' }> | undefined {
  if (lookup.state !== 'valid' || !accept(lookup.entry, lookup.softened)) return undefined
  return { state: 'found', entry: lookup.entry }
}

function ignore(): void {}
