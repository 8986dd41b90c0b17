import type { CacheScope } from '../cache/cache-scope.js'
import { type Absent, type EntryLookup, type EntryRef, replacing } from '../cache/lookup.js'
import type { Acquired, FillLease } from '../cache/fill.js'
import type { Key } from '../cache/key.js'
import { TimeoutError, UsageError } from '../errors.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { EntryDraft } from '../cache/write.js'
import type { CommandBudget } from '../redis/deadline.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import type { LookupResult, LookupTimer, Recorder } from '../telemetry/recorder.js'
import { type ResolvedValueOptions, resolveOptions } from './options.js'
import type { LoaderContext } from './types.js'
import { draftEntry, type EncodedValue, isKnown, type ValueCodec } from './value-codec.js'
import { BULK_CHUNK } from './value-reader.js'
import type { ValueRefs } from './value-refs.js'

/** One value that is wanted. */
export interface Wanted {
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
  /** Position among the values of its call. */
  readonly index: number
}

/** A value that is no longer fresh, and its entry. */
interface Stale {
  readonly entry: Entry
  readonly value: unknown
  readonly ageMs: number
  /** May be served if loading fails. */
  readonly servableOnError: boolean
}

type Plan =
  | { readonly do: 'return'; readonly value: unknown; readonly entry: Entry }
  /** Return the stale value and load in the background. */
  | { readonly do: 'refresh'; readonly stale: Stale; readonly absent: Absent }
  | { readonly do: 'load'; readonly stale: Stale | undefined; readonly absent: Absent; readonly reason: string }
  /** Load without storing: the store is unavailable. */
  | { readonly do: 'load-alone' }

/** Calls the application's loader for the values at these positions; resolves with one value, or LoadFailure, for each. */
export type RunLoader = (
  indexes: readonly number[],
  contexts: readonly LoaderContext[],
  controller: AbortController,
) => Promise<readonly unknown[]>

/** In place of a value that could not be loaded while others were. */
export class LoadFailure {
  constructor(readonly error: Error) {}
}

/** A value that this caller loads, and what the loader decides about it. Without a lease it is not stored. */
class Task {
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
          throw new UsageError('There is no previous value to keep: check `context.previous` before `unchanged()`.')
        this.unchanged = true
        return stale.value
      },
    }
  }
}

/** Runs at most `BULK_CHUNK` commands at a time. */
export class Throttle {
  #running = 0
  readonly #waiting: (() => void)[] = []

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < BULK_CHUNK) this.#running += 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }
}

/** Loads the values of one namespace: who runs the loader, what is stored, and what callers get if that fails. */
export class ValueLoader {
  readonly #scope: CacheScope
  readonly #refs: ValueRefs
  readonly #codec: ValueCodec
  readonly #recorder: Recorder

  constructor(scope: CacheScope, refs: ValueRefs, codec: ValueCodec, recorder: Recorder) {
    this.#scope = scope
    this.#refs = refs
    this.#codec = codec
    this.#recorder = recorder
  }

  /** One promise for each wanted value. Those that are loaded here share one call of `run`. */
  load(items: readonly Wanted[], run: RunLoader): Promise<unknown>[] {
    const batch = new LoadBatch(this, items.length, run)
    const refresh = new LoadBatch(this, items.length, run)
    return items.map((wanted) => this.#one(wanted, batch, refresh))
  }

  /** Calls the application's loader for these tasks. */
  run<T>(tasks: readonly Task[], work: () => Promise<T>): MaybePromise<T> {
    const fills = tasks.flatMap(({ lease }) => lease ?? [])
    return fills.length === 0 ? work() : this.#scope.runHolding(fills, work)
  }

  async #one(wanted: Wanted, batch: LoadBatch, refresh: LoadBatch): Promise<unknown> {
    const plan = await this.#plan(wanted)
    if (plan.do !== 'refresh' || !this.#scope.background.run(() => this.#refresh(wanted, plan, refresh))) refresh.skip()
    if (plan.do === 'load') return this.#orStale(wanted, plan.stale, this.#loaded(wanted, plan, batch))
    const { timer, ref } = wanted
    if (plan.do === 'load-alone') {
      timer.found({ outcome: 'miss', reason: 'outage', place: ref })
      return batch.join(wanted, undefined, undefined)
    }
    batch.skip()
    if (plan.do === 'return') {
      timer.found({ outcome: 'hit', reason: 'fresh', entry: plan.entry, place: ref })
      return plan.value
    }
    timer.found({ outcome: 'stale', reason: 'stale-while-revalidate', entry: plan.stale.entry, place: ref })
    return plan.stale.value
  }

  async #plan({ lookup, shared, options }: Wanted): Promise<Plan> {
    if (lookup.state === 'outage') return { do: 'load-alone' }
    if (lookup.state === 'absent') return { do: 'load', stale: undefined, absent: lookup, reason: 'absent' }
    const { entry, softened } = lookup
    const decoded = await this.#codec.decode(entry, shared)
    const absent = replacing(entry)
    if (!isKnown(decoded)) return { do: 'load', stale: undefined, absent, reason: decoded.state }
    const now = this.#scope.now()
    const { value } = decoded
    if (now < entry.freshUntil && !softened) return { do: 'return', value, entry }
    const stale = { entry, value, ageMs: now - entry.storedAt, servableOnError: now < entry.errorUntil }
    const servable = now < entry.staleUntil && options.staleWhileRevalidateMs > 0
    return servable
      ? { do: 'refresh', stale, absent }
      : { do: 'load', stale, absent, reason: softened ? 'softened' : 'stale' }
  }

  /** The value that another caller loads, or that this one loads with the rest of its batch. */
  async #loaded(wanted: Wanted, plan: Plan & { do: 'load' }, batch: LoadBatch): Promise<unknown> {
    const { stale, absent, reason } = plan
    // A caller that loads several values takes the leases that are free first: callers that waited while they hold
    // leases of other keys could wait for one another.
    let acquired = await this.#acquire(wanted, absent, batch, batch.size > 1)
    let own = batch
    if (batch.size > 1 && acquired.state === 'alone' && acquired.reason === 'busy') {
      batch.skip()
      own = new LoadBatch(this, 1, batch.run)
      acquired = await this.#acquire(wanted, absent, own, false)
    }
    const found = acquired.state === 'found' ? await this.#codec.decode(acquired.entry, wanted.shared) : undefined
    const known = found !== undefined && isKnown(found)
    wanted.timer.found(lookupResult(acquired, known, reason, wanted.ref))
    if (!known) return own.join(wanted, stale, acquired.state === 'fill' ? acquired.fill : undefined)
    own.skip()
    return found.value
  }

  #acquire(wanted: Wanted, absent: Absent, { throttle }: LoadBatch, atOnce: boolean): Promise<Acquired> {
    const { ref, signal, timer, budget } = wanted
    const { ttlMs, negativeTtlMs = 0, staleIfErrorMs, staleWhileRevalidateMs, timeoutMs, waitMs } = wanted.options
    const limitMs = waitMs ?? (timeoutMs === Infinity ? undefined : timeoutMs)
    const acquire = (): Promise<Acquired> =>
      this.#scope.acquire(ref, absent, {
        accept: (entry, softened) => !softened && this.#scope.now() < entry.freshUntil,
        groupTtlMs: Math.max(ttlMs, negativeTtlMs) + Math.max(staleIfErrorMs, staleWhileRevalidateMs),
        signal,
        recorder: this.#recorder,
        waitMs: atOnce ? 0 : limitMs,
        budget: budget(),
      })
    // Waiting may take as long as a loader: only what returns at once counts against the throttle.
    return timer.run(() => (atOnce ? throttle.run(acquire) : acquire()))
  }

  /** One refresh over all processes: if the lease is taken, its holder refreshes. */
  async #refresh(wanted: Wanted, { stale, absent }: Plan & { do: 'refresh' }, batch: LoadBatch): Promise<void> {
    const own = { ...wanted, signal: undefined }
    const acquired = await this.#acquire(own, absent, batch, true)
    if (acquired.state !== 'fill') return batch.skip()
    this.#recorder.refreshes('stale')
    await batch.join(own, stale, acquired.fill).catch(ignore)
  }

  /** The loaded value, or the stale one if loading fails or takes longer than `softTimeout`. */
  async #orStale(wanted: Wanted, stale: Stale | undefined, loading: Promise<unknown>): Promise<unknown> {
    if (stale === undefined || !stale.servableOnError) return loading
    const { softTimeoutMs } = wanted.options
    try {
      const loaded = softTimeoutMs === Infinity ? { value: await loading } : await within(loading, softTimeoutMs)
      if (loaded !== undefined) return loaded.value
      this.#scope.background.track(loading)
    } catch (error) {
      if (wanted.signal?.aborted === true) throw error
    }
    this.#recorder.standsIn()
    return stale.value
  }

  /** Stores what was loaded, if there is a lease and the loader allows it; returns what the caller gets. */
  async conclude({ wanted, stale, lease, options, stored, unchanged }: Task, loaded: unknown): Promise<unknown> {
    if (unchanged && stale !== undefined) {
      await lease?.publish(...this.#draft(stale.entry, options))
      return stale.value
    }
    const value = loaded === undefined ? undefined : await this.#codec.check(wanted.key, loaded)
    const kept = stored && (value !== undefined || options.negativeTtlMs !== undefined)
    if (!kept) await lease?.refuse()
    // A value that cannot be encoded fails every caller, whether it holds the lease or not.
    if (!wanted.shared && !kept) return value
    const encoded = value === undefined ? this.#codec.negative() : await this.#codec.encode(wanted.key, value)
    const isNegative = value === undefined || value === null
    const ttlMs = isNegative ? (options.negativeTtlMs ?? options.ttlMs) : options.ttlMs
    const [entry, lifetimeMs] = this.#draft(encoded, { ...options, ttlMs })
    if (kept) await lease?.publish(entry, lifetimeMs)
    return wanted.shared ? (await this.#codec.decode(entry, true)).value : value
  }

  #draft(encoded: EncodedValue, options: ResolvedValueOptions): [entry: EntryDraft, lifetimeMs: number] {
    const now = this.#scope.now()
    const entry = draftEntry(encoded, this.#refs.groups(options.groups), options, now)
    return [entry, usefulUntil(entry) - now]
  }

  /** How messages name what a batch loads. */
  describe(wanted: readonly Wanted[]): string {
    const [only] = wanted
    return wanted.length === 1 && only !== undefined ? this.#refs.describe(only.key) : `${wanted.length} keys`
  }
}

/** One call of a loader, for those values of a call that turn out to be this caller's to load. */
class LoadBatch {
  readonly size: number
  readonly run: RunLoader
  readonly throttle = new Throttle()
  readonly #loader: ValueLoader
  readonly #tasks: Task[] = []
  readonly #loaded: Promise<ReadonlyMap<Task, unknown>>
  #start!: (loading: Promise<ReadonlyMap<Task, unknown>>) => void
  #undecided: number

  constructor(loader: ValueLoader, size: number, run: RunLoader) {
    this.#loader = loader
    this.#undecided = this.size = size
    this.run = run
    this.#loaded = new Promise((resolve) => {
      this.#start = resolve
    })
  }

  /** One of the values is not loaded by this batch. The loader runs when all are decided. */
  skip(): void {
    this.#undecided -= 1
    if (this.#undecided === 0 && this.#tasks.length > 0) this.#start(this.#load())
  }

  /** One of the values is. Resolves with what its caller gets. */
  async join(wanted: Wanted, stale: Stale | undefined, lease: FillLease | undefined): Promise<unknown> {
    const task = new Task(wanted, stale, lease)
    this.#tasks.push(task)
    this.skip()
    try {
      const loaded = (await this.#loaded).get(task)
      if (loaded instanceof LoadFailure) throw loaded.error
      return await this.throttle.run(() => this.#loader.conclude(task, loaded))
    } catch (error) {
      await lease?.release()
      throw error
    }
  }

  async #load(): Promise<ReadonlyMap<Task, unknown>> {
    // Leases come in any order; the loader gets its keys in that of the caller.
    const tasks = this.#tasks.toSorted((a, b) => a.wanted.index - b.wanted.index)
    const wanted = tasks.map((task) => task.wanted)
    const controller = new AbortController()
    const contexts = tasks.map((task) => task.context(controller))
    const indexes = wanted.map(({ index }) => index)
    const what = (): string => this.#loader.describe(wanted)
    const values = await runWithin(wanted[0], what, controller, () =>
      this.#loader.run(tasks, () => this.run(indexes, contexts, controller)),
    )
    return new Map(tasks.map((task, index) => [task, values[index]]))
  }
}

/**
 * Runs a loader within its limits. At a limit the caller continues at once, whatever the loader does about its signal;
 * what the loader returns or throws later is dropped.
 */
async function runWithin<T>(
  limits: Wanted | undefined,
  what: () => string,
  controller: AbortController,
  run: () => MaybePromise<T>,
): Promise<T> {
  const caller = limits?.signal
  const timeoutMs = limits?.options.timeoutMs ?? Infinity
  if (timeoutMs === Infinity && caller === undefined) return run()
  caller?.throwIfAborted()
  let stop = (): void => {}
  const stopped = new Promise<never>((_, reject) => {
    const end = (reason: Error): void => {
      controller.abort(reason)
      reject(reason)
    }
    const abort = (): void => end(caller?.reason as Error)
    caller?.addEventListener('abort', abort, { once: true })
    const late = (): void => end(new TimeoutError(`The loader of ${what()} did not end within ${timeoutMs} ms.`))
    const timer = timeoutMs === Infinity ? undefined : setTimeout(late, timeoutMs)
    stop = () => {
      clearTimeout(timer)
      caller?.removeEventListener('abort', abort)
    }
  })
  try {
    return await Promise.race([run(), stopped])
  } finally {
    stop()
  }
}

/** The value, or undefined if the promise takes longer. */
async function within<T>(promise: Promise<T>, limitMs: number): Promise<{ readonly value: T } | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), limitMs)
  })
  try {
    return await Promise.race([promise.then((value) => ({ value })), late])
  } finally {
    clearTimeout(timer)
  }
}

/** What telemetry gets of a value that was not in the store when it was looked for. */
function lookupResult(acquired: Acquired, known: boolean, reason: string, place: EntryRef): LookupResult {
  switch (acquired.state) {
    case 'fill':
      return { outcome: 'miss', reason, place }
    case 'found':
      return known
        ? { outcome: 'hit', reason: 'collapsed', entry: acquired.entry, place }
        : { outcome: 'miss', reason: 'undecodable', place }
    case 'alone': {
      const named = acquired.reason === 'outage' || acquired.reason === 'hit-for-pass'
      return { outcome: 'miss', reason: named ? acquired.reason : 'wait', place }
    }
  }
}

function ignore(): void {}
