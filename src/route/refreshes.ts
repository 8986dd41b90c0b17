import { LRUCache } from 'lru-cache'
import { type Absent, type EntryRef, replacing, unseen } from '../cache/lookup.js'
import type { OutgoingResponse } from '../http/index.js'
import type { HandlerRun } from './handler-run.js'
import type { Previous, RequestState } from './request.js'
import type { RunRoute } from './run-route.js'

/** A refresh that failed is not tried again for this long. */
const PAUSE_MS = 1000

/** Keys of one route that are remembered; a forgotten one is refreshed as usual. */
const HELD_MAX = 1000

/**
 * - `paused`: for a moment
 * - `refused`: the application, such as a guard, has answered the refresh before the route. The next request that it lets
 *   through runs the handler itself: the entry would stay stale for as long as it may be used
 */
type Held = 'paused' | 'refused'

/** Starts a run that waits for no other; undefined where another one is under way. */
type StartRun<Req> = (state: RequestState<Req>, ref: EntryRef, absent: Absent) => Promise<HandlerRun | undefined>

/** Runs of one route's handler that replace an entry: which keys, how often, and whether in the background. */
export class Refreshes<Req> {
  readonly #route: Pick<RunRoute, 'scope' | 'recorder' | 'refusals'>
  readonly #startRun: StartRun<Req>
  /** Keys that are not refreshed as usual. Made at the first refresh: it reserves its whole length. */
  #held: LRUCache<string, Held> | undefined
  /** Whether a background request finds the entry by what it carries. */
  #findsEntries = true

  constructor(route: Pick<RunRoute, 'scope' | 'recorder' | 'refusals'>, startRun: StartRun<Req>) {
    this.#route = route
    this.#startRun = startRun
  }

  /** Whether a request without credentials finds the entry, and is let through to it. */
  canDispatch({ location, ref }: RequestState<unknown>): boolean {
    if (!this.#findsEntries || location?.principal !== undefined) return false
    return ref === undefined || this.#held?.get(ref.key) !== 'refused'
  }

  /** A background request came to another key. */
  cannotDispatch(): void {
    this.#findsEntries = false
  }

  /** The entry is new: its refreshes are as usual again. */
  stored(key: string): void {
    this.#held?.delete(key)
  }

  /** Serves no request: the handler runs again for a copy of this one. */
  later(state: RequestState<Req>, ref: EntryRef, previous: Previous, why: 'stale' | 'early'): void {
    if (this.#held?.has(ref.key) === true) return
    const { scope, refusals } = this.#route
    scope.background.run(async () => {
      const run = await this.begin(state, ref, previous, why, undefined)
      if (run === undefined) return
      await this.#dispatch(state, run)
      if (run.stored) return
      this.#hold(ref.key, run.taken ? 'paused' : 'refused')
      refusals.add('refresh-failed', scope.now(), ref.key)
    })
  }

  /** A run that refreshes an entry; undefined where another one is under way, or has just failed. */
  async begin(
    first: RequestState<Req>,
    ref: EntryRef,
    previous: Previous,
    why: 'stale' | 'early',
    budget: RequestState<Req>['budget'],
  ): Promise<HandlerRun | undefined> {
    if (this.#held?.get(ref.key) === 'paused') return undefined
    this.#hold(ref.key, 'paused')
    const run = await this.#startRun(first.again(budget, previous), ref, replacing(previous.entry))
    if (run !== undefined) this.#route.recorder.refreshes(why)
    return run
  }

  /** Runs the handler again in the background, where its first answer could not be stored. */
  async rerun(first: RequestState<Req>): Promise<OutgoingResponse | undefined> {
    const { request, ref } = first
    if (!this.canDispatch(first) || request.dispatch === undefined || ref === undefined) return undefined
    const state = first.again(undefined, undefined)
    const run = await this.#startRun(state, ref, unseen(ref.groups))
    if (run !== undefined) await this.#route.scope.background.apart(() => this.#dispatch(state, run))
    return run?.answer
  }

  /** What answers before the route does never takes the run. */
  async #dispatch({ request }: RequestState<unknown>, run: HandlerRun): Promise<void> {
    try {
      await request.dispatch?.(run)
    } catch {
      // The application logs its own errors.
    } finally {
      run.abandon()
    }
  }

  #hold(key: string, how: Held): void {
    this.#held ??= new LRUCache({ max: HELD_MAX })
    this.#held.set(key, how, how === 'paused' ? { ttl: PAUSE_MS } : undefined)
  }
}
