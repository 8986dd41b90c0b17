import { type Absent, type EntryLookup, type EntryRef, replacing } from '../cache/lookup.js'
import type { Acquired, AloneReason } from '../cache/fill.js'
import type { FillLease } from '../cache/fill-lease.js'
import type { Key } from '../cache/key.js'
import { withLimit } from '../cache/single-flight.js'
import type { Turn } from '../cache/turns.js'
import { TimeoutError, UsageError } from '../errors.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import type { Entry } from '../store/entry.js'
import type { LookupResult, LookupTimer } from '../telemetry/recorder.js'
import { lifetimeOf, Throttle, type ValueEngine } from './engine.js'
import { type ResolvedValueOptions, resolveOptions } from './options.js'
import type { LoaderContext } from './types.js'
import { isKnown } from './stored-value.js'

/** One value that is wanted. */
export interface Wanted {
  /** The key as the caller names it. */
  readonly name: unknown
  readonly key: Key
  readonly ref: EntryRef
  readonly options: ResolvedValueOptions
  readonly lookup: EntryLookup
  /** For the next command of the call. */
  readonly budget: () => CommandBudget | undefined
  readonly signal: AbortSignal | undefined
  /** Whether the caller accepts a frozen object that others have as well. */
  readonly shared: boolean
  /** Ends when it is decided who loads. */
  readonly timer: LookupTimer
}

/** A value that is no longer fresh, and its entry. */
interface Stale {
  readonly entry: Entry
  readonly value: unknown
  readonly ageMs: number
  /** May be served if loading fails. */
  readonly servableOnError: boolean
}

/** Calls the application's loader for these values; resolves with one value, or LoadFailure, for each. */
export type RunLoader = (
  wanted: readonly Wanted[],
  contexts: readonly LoaderContext[],
  controller: AbortController,
) => Promise<readonly unknown[]>

/** In place of a value that could not be loaded while others were. */
export class LoadFailure {
  constructor(readonly error: Error) {}
}

/** A value that this caller loads, and what the loader decides about it. Without a lease it is not stored. */
class LoadTask {
  options: ResolvedValueOptions
  stored = true
  unchanged = false

  constructor(
    readonly wanted: Wanted,
    readonly stale: Stale | undefined,
    readonly lease: FillLease | undefined,
  ) {
    this.options = wanted.options
  }

  context(controller: AbortController): LoaderContext {
    const { stale } = this
    return {
      previous: stale === undefined ? undefined : { value: stale.value, ageMs: stale.ageMs },
      // Creating a signal costs a third of a miss, and most loaders never look at it.
      get signal() {
        return controller.signal
      },
      store: (options) => {
        this.options = resolveOptions('options given by a loader', options, this.options)
      },
      noStore: () => {
        this.stored = false
      },
      unchanged: () => {
        if (stale === undefined)
          throw new UsageError('There is no previous value: check `context.previous` before `unchanged()`.')
        this.unchanged = true
        return stale.value
      },
    }
  }
}

/** What is done for one wanted value. */
interface Plan {
  /** `refresh`: return the stale value and load in the background. */
  readonly do: 'return' | 'refresh' | 'load'
  readonly wanted: Wanted
  /** Of the entry that was found. */
  readonly value?: unknown
  readonly stale?: Stale
  /** What a load replaces. Undefined: the store is unavailable, so that nothing is stored. */
  readonly absent?: Absent
  readonly result: LookupResult
}

/** What a caller has got before it loads. */
type Claim =
  | Exclude<Acquired, { state: 'alone' }>
  /** `turn`: among the loads of the key that store nothing, where they are bounded. */
  | (Extract<Acquired, { state: 'alone' }> & { readonly turn?: Turn })

const OUTAGE: Acquired = { state: 'alone', reason: 'outage' }

/** Callers that cannot wait for a turn: it would be for their own load, or they have waited already. */
const UNBOUNDED: ReadonlySet<AloneReason> = new Set<AloneReason>(['busy', 'nested', 'aborted'])

/** The longest wait for another load; undefined: the default of all waits. */
function waitMsOf({ waitMs, timeoutMs }: ResolvedValueOptions): number | undefined {
  return waitMs ?? (timeoutMs === Infinity ? undefined : timeoutMs)
}

/** Loads the values of one namespace: who runs the loader, what is stored, and what callers get if that fails. */
export class ValueLoader {
  constructor(private readonly engine: ValueEngine) {}

  /** One promise for each wanted value. Those that are loaded here share one call of `run`. */
  async load(items: readonly Wanted[], run: RunLoader): Promise<Promise<unknown>[]> {
    const plans = await Promise.all(items.map((wanted) => this.#plan(wanted)))
    const batchOf = (what: Plan['do']): LoadBatch => {
      const wanted = plans.flatMap((plan) => (plan.do === what ? plan.wanted : []))
      return new LoadBatch(this, wanted, run)
    }
    const [loads, refreshes] = [batchOf('load'), batchOf('refresh')]
    return plans.map(async (plan) => {
      if (plan.do === 'load') return this.#orStale(plan, this.#loaded(plan, loads))
      if (plan.do === 'refresh' && !this.engine.scope.background.run(() => this.#refresh(plan, refreshes)))
        refreshes.skip()
      plan.wanted.timer.found(plan.result)
      return plan.value
    })
  }

  async #plan(wanted: Wanted): Promise<Plan> {
    const { lookup, shared, options, ref } = wanted
    const missed = (reason: string): Pick<Plan, 'do' | 'wanted' | 'result'> => ({
      do: 'load',
      wanted,
      result: { outcome: 'miss', reason, ref },
    })
    if (lookup.state === 'outage') return missed('outage')
    if (lookup.state === 'absent') return { ...missed('absent'), absent: lookup }
    const { entry, softened } = lookup
    const absent = replacing(entry)
    const decoded = await this.engine.codec.decode(entry, shared)
    if (!isKnown(decoded)) return { ...missed(decoded.state), absent }
    const now = this.engine.scope.now()
    const { value } = decoded
    if (now < entry.freshUntil && !softened)
      return { do: 'return', wanted, value, result: { outcome: 'hit', reason: 'fresh', entry, ref } }
    // What was made stale within its lifetime has no more of it than `staleIfError` says.
    const servableOnError = entry.errorUntil > entry.freshUntil && now < entry.errorUntil
    const stale = { entry, value, ageMs: now - entry.storedAt, servableOnError }
    if (now >= entry.staleUntil || options.staleWhileRevalidateMs === 0)
      return { ...missed(softened ? 'softened' : 'stale'), absent, stale }
    const result: LookupResult = { outcome: 'stale', reason: 'stale-while-revalidate', entry, ref }
    // The caller has its value: that it goes away does not end the refresh.
    return { do: 'refresh', wanted: { ...wanted, signal: undefined }, value, absent, stale, result }
  }

  /** The value that another caller loads, or that this one loads with the rest of its batch. */
  async #loaded(plan: Plan, batch: LoadBatch): Promise<unknown> {
    const { wanted, stale, result } = plan
    // A caller that loads several values takes the leases that are free first: callers that waited while they hold
    // leases of other keys could wait for one another.
    let claim = await this.#claim(plan, batch, batch.size > 1)
    let own = batch
    if (batch.size > 1 && claim.state === 'alone' && claim.reason === 'busy') {
      batch.skip()
      own = new LoadBatch(this, [wanted], batch.run)
      claim = await this.#claim(plan, own, false)
    }
    const found = claim.state === 'found' ? await this.engine.codec.decode(claim.entry, wanted.shared) : undefined
    const known = found !== undefined && isKnown(found)
    wanted.timer.found(resultOf(claim, known, result))
    if (!known) return own.join(wanted, stale, claim)
    own.skip()
    return found.value
  }

  /** Waits for another load, takes the lease, or takes a turn beside other loads. `atOnce`: busy rather than waiting. */
  async #claim({ wanted, absent }: Plan, batch: LoadBatch, atOnce: boolean): Promise<Claim> {
    const acquired = absent === undefined ? OUTAGE : await this.#acquire(wanted, absent, batch, atOnce)
    const { ref, options, signal, timer, budget } = wanted
    const { concurrency: max } = options
    if (max === undefined || acquired.state !== 'alone' || UNBOUNDED.has(acquired.reason)) return acquired
    const { fills } = this.engine.scope
    if (atOnce) {
      const turn = fills.takeFreeTurn(ref.key, max)
      return turn === undefined ? { state: 'alone', reason: 'busy' } : { ...acquired, turn }
    }
    const { recorder } = this.engine
    const taking = { max, waitMs: waitMsOf(options), accept: this.#accepts, signal, recorder, budget: budget() }
    const taken = await timer.run(async () => fills.takeTurn(ref, taking))
    return taken.state === 'found' ? taken : { ...acquired, turn: taken.turn }
  }

  readonly #accepts = (entry: Entry, softened: boolean): boolean =>
    !softened && this.engine.scope.now() < entry.freshUntil

  #acquire(wanted: Wanted, absent: Absent, { throttle }: LoadBatch, atOnce: boolean): Promise<Acquired> {
    const { ref, signal, timer, budget } = wanted
    const acquire = (): Promise<Acquired> =>
      this.engine.scope.fills.acquire(ref, absent, {
        accept: this.#accepts,
        groupTtlMs: lifetimeOf(wanted.options),
        signal,
        recorder: this.engine.recorder,
        waitMs: atOnce ? 0 : waitMsOf(wanted.options),
        budget: budget(),
      })
    // Waiting may take as long as a loader: only what returns at once counts against the throttle.
    return timer.run(() => (atOnce ? throttle.run(acquire) : acquire()))
  }

  /** One refresh across all processes: if the lease is taken, its holder refreshes. */
  async #refresh({ wanted, stale, absent }: Plan, batch: LoadBatch): Promise<void> {
    const acquired = absent && (await this.#acquire(wanted, absent, batch, true))
    if (acquired?.state !== 'fill') return batch.skip()
    this.engine.recorder.refreshes('stale')
    await batch.join(wanted, stale, acquired)
  }

  /** The loaded value, or the stale one if loading fails or takes longer than `softTimeout`. */
  async #orStale({ wanted, stale }: Plan, loading: Promise<unknown>): Promise<unknown> {
    if (stale === undefined || !stale.servableOnError) return loading
    const { softTimeoutMs } = wanted.options
    try {
      if (softTimeoutMs === Infinity) return await loading
      const { state } = await withLimit(Promise.allSettled([loading]), softTimeoutMs)
      if (state === 'ended') return await loading
      this.engine.scope.background.track(loading)
    } catch (error) {
      if (wanted.signal?.aborted === true) throw error
    }
    this.engine.recorder.staleIfError()
    return stale.value
  }

  /** Stores what was loaded, if there is a lease and the loader allows it; returns what the caller gets. */
  async conclude({ wanted, stale, lease, options, stored, unchanged }: LoadTask, loaded: unknown): Promise<unknown> {
    const { codec, refs } = this.engine
    const groups = refs.groups(options.groups)
    if (unchanged && stale !== undefined) {
      const { entry, ttlMs } = this.engine.draft(stale.entry, groups, options)
      await lease?.publish(entry, ttlMs)
      return stale.value
    }
    const value = loaded === undefined ? undefined : await codec.check(wanted.key, loaded)
    const kept = stored && (value !== undefined || options.negativeTtlMs !== undefined)
    if (!kept) await lease?.refuse()
    // A value that cannot be encoded fails every caller, whether it holds the lease or not.
    if (!wanted.shared && !kept) return value
    const encoded = value === undefined ? codec.negative() : await codec.encode(wanted.key, value)
    const lifetimeMs = value === undefined || value === null ? options.negativeTtlMs : undefined
    const { entry, ttlMs } = this.engine.draft(encoded, groups, { ...options, ttlMs: lifetimeMs ?? options.ttlMs })
    if (kept) await lease?.publish(entry, ttlMs)
    return wanted.shared ? (await codec.decode(entry, true)).value : value
  }

  /** Calls the loader for these tasks. Values that it asks for in turn never wait for the leases that the tasks hold. */
  async run(tasks: readonly LoadTask[], run: RunLoader): Promise<readonly unknown[]> {
    const [first] = tasks
    if (first === undefined) return []
    const { signal, options, key } = first.wanted
    const controller = new AbortController()
    const contexts = tasks.map((task) => task.context(controller))
    const wanted = tasks.map((task) => task.wanted)
    const work = () => run(wanted, contexts, controller)
    const leases = tasks.flatMap(({ lease }) => lease ?? [])
    const late = (): Error => {
      const what = tasks.length === 1 ? this.engine.refs.describe(key) : `${tasks.length} keys`
      return new TimeoutError(`The loader of ${what} did not finish within ${options.timeoutMs} ms.`)
    }
    return runWithin(signal, options.timeoutMs, controller, late, () =>
      leases.length === 0 ? work() : this.engine.scope.fills.runHolding(leases, work),
    )
  }
}

/** One call of a loader, for those of the wanted values that turn out to be this caller's to load. */
class LoadBatch {
  readonly size: number
  readonly throttle = new Throttle()
  readonly #tasks = new Map<Wanted, LoadTask>()
  readonly #loaded: Promise<ReadonlyMap<LoadTask, unknown>>
  #start = (_loading: Promise<ReadonlyMap<LoadTask, unknown>>): void => {}
  #undecided: number

  constructor(
    private readonly loader: ValueLoader,
    private readonly wanted: readonly Wanted[],
    readonly run: RunLoader,
  ) {
    this.#undecided = this.size = wanted.length
    this.#loaded = new Promise((resolve) => {
      this.#start = resolve
    })
  }

  /** One of the values is not loaded by this batch. The loader runs when all are decided. */
  skip(): void {
    this.#undecided -= 1
    if (this.#undecided === 0 && this.#tasks.size > 0) this.#start(this.#load())
  }

  /** One of the values is. Resolves with what its caller gets. */
  async join(wanted: Wanted, stale: Stale | undefined, claim: Claim): Promise<unknown> {
    const lease = claim.state === 'fill' ? claim.fill : undefined
    const task = new LoadTask(wanted, stale, lease)
    this.#tasks.set(wanted, task)
    this.skip()
    try {
      const loaded = (await this.#loaded).get(task)
      if (loaded instanceof LoadFailure) throw loaded.error
      return await this.throttle.run(() => this.loader.conclude(task, loaded))
    } catch (error) {
      await lease?.release()
      throw error
    } finally {
      if (claim.state === 'alone') claim.turn?.end()
    }
  }

  async #load(): Promise<ReadonlyMap<LoadTask, unknown>> {
    // Leases come in any order; the loader gets its keys in that of the caller.
    const tasks = this.wanted.flatMap((wanted) => this.#tasks.get(wanted) ?? [])
    const values = await this.loader.run(tasks, this.run)
    return new Map(tasks.map((task, index) => [task, values[index]]))
  }
}

/**
 * Runs a loader within its limits. At a limit the caller continues at once, whatever the loader does about its signal;
 * what the loader returns or throws later is dropped.
 */
async function runWithin<T>(
  caller: AbortSignal | undefined,
  timeoutMs: number,
  controller: AbortController,
  late: () => Error,
  run: () => MaybePromise<T>,
): Promise<T> {
  if (timeoutMs === Infinity && caller === undefined) return run()
  caller?.throwIfAborted()
  const { signal } = controller
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error))
  })
  const abort = (): void => controller.abort(caller?.reason)
  caller?.addEventListener('abort', abort, { once: true })
  const timer = timeoutMs === Infinity ? undefined : setTimeout(() => controller.abort(late()), timeoutMs)
  try {
    return await Promise.race([run(), stopped])
  } finally {
    clearTimeout(timer)
    caller?.removeEventListener('abort', abort)
  }
}

/** What telemetry gets of a value that was not in the store when it was looked for. */
function resultOf(acquired: Claim, known: boolean, missed: LookupResult): LookupResult {
  if (acquired.state === 'fill') return missed
  if (acquired.state === 'found')
    return known
      ? { ...missed, outcome: 'hit', reason: 'collapsed', entry: acquired.entry }
      : { ...missed, reason: 'undecodable' }
  const named = acquired.reason === 'outage' || acquired.reason === 'hit-for-pass'
  return { ...missed, reason: named ? acquired.reason : 'wait' }
}
