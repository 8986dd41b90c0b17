import type { Background } from '../cache/background.js'
import type { CacheScope } from '../cache/cache-scope.js'
import { type Absent, type EntryLookup, type EntryRef, replacing } from '../cache/entry-ref.js'
import type { Acquired, FillLease } from '../cache/fill.js'
import type { Key } from '../cache/key.js'
import { OptionsError, TimeoutError, UsageError } from '../errors.js'
import type { Entry } from '../store/entry.js'
import type { LookupResult, LookupTimer, Recorder } from '../telemetry/recorder.js'
import { checkValueOptions, type LoadOptions, type ResolvedValueOptions, type ValueOptions } from './options.js'
import { whyMissed } from './value-cache.js'
import { type Decoded, type Encoded, ENCODED_NEGATIVE, lifeMs, type Values } from './values.js'

/** Options that only the loaded value tells. Groups add to those of the call. */
export type StoreOptions = ValueOptions & Pick<LoadOptions, 'negativeTtl'>

/** A value that was there before the loader ran. */
export interface Previous<T> {
  readonly value: T
  readonly ageMs: number
}

/** What any loader is given. */
export interface LoadContext {
  /** Aborted when the caller's signal is, or at the loader's time limit. */
  readonly signal: AbortSignal
  /** Changes how this value is kept: a lifetime that comes with the data, a group that only the data names. */
  readonly store: (options: StoreOptions) => void
  /** The value is given to its caller, and not stored. */
  readonly noStore: () => void
}

/** What the loader of one value is given. `T` is what it gives, `Out` what readers get, where a schema makes a difference. */
export interface LoaderContext<T = unknown, Out = T> extends LoadContext {
  /** The stale value that this load is to replace, where it is still at hand. */
  readonly previous: Previous<Out> | undefined
  /** `return context.unchanged()`: the previous value is still right, and lives for another lifetime. Throws UsageError where there is none. */
  readonly unchanged: () => T
}

export type Loader<T, Out = T> = (context: LoaderContext<T, Out>) => T | Promise<T>

/** What a loader decided about one value. */
export class Decisions {
  options: ResolvedValueOptions
  stored = true
  unchanged = false

  constructor(options: ResolvedValueOptions) {
    this.options = options
  }

  store(options: StoreOptions): void {
    const problems: string[] = []
    const resolved = checkValueOptions(options, this.options, problems)
    if (problems.length > 0) throw new OptionsError('options given by a loader', problems)
    this.options = resolved
  }
}

/** A signal that costs nothing until a loader asks for it: most never do. */
export class LazySignal {
  #controller: AbortController | undefined
  #reason: { readonly value: unknown } | undefined

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason !== undefined) this.#controller.abort(this.#reason.value)
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.#reason ??= { value: reason }
    this.#controller?.abort(reason)
  }
}

/** The context of the loader of one value. */
export function contextOf<T>(
  signal: LazySignal,
  decisions: Decisions,
  previous: Previous<T> | undefined,
): LoaderContext<T> {
  return {
    previous,
    get signal() {
      return signal.signal
    },
    store: (options) => decisions.store(options),
    noStore: () => {
      decisions.stored = false
    },
    unchanged: () => {
      if (previous === undefined)
        throw new UsageError('There is no previous value to keep: look at `context.previous` before `unchanged()`.')
      decisions.unchanged = true
      return previous.value
    },
  }
}

/** How long a loader may run, and who may end it. */
export interface Limits {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  /** For the message: what was being loaded. */
  readonly what: () => string
}

/**
 * Runs a loader within its limits. At a limit the caller goes on at once, whatever the loader does about its signal;
 * what a loader gives or throws later is dropped.
 */
export async function runWithin<T>(limits: Limits, signal: LazySignal, run: () => T | Promise<T>): Promise<T> {
  const { timeoutMs, signal: caller, what } = limits
  if (timeoutMs === Infinity && caller === undefined) return run()
  caller?.throwIfAborted()
  let stop = (): void => {}
  const stopped = new Promise<never>((_, reject) => {
    const end = (reason: Error): void => {
      signal.abort(reason)
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

/** The promise, or `undefined` where it has not settled in time. Leaves no timer behind. */
export function soonEnough<T>(promise: Promise<T>, limitMs: number): Promise<{ readonly value: T } | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), limitMs)
    promise.then(
      (value) => {
        clearTimeout(timer)
        resolve({ value })
      },
      (error: Error) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}

/** One value that is asked for. */
export interface Wanted {
  readonly key: Key
  readonly place: EntryRef
  readonly options: ResolvedValueOptions
  readonly signal: AbortSignal | undefined
  /** Whether what is given may be the same frozen object for everybody. */
  readonly shared: boolean
  /** The lookup that ends when it is decided who loads. */
  readonly asking?: LookupTimer | undefined
}

/** A value that is not fresh any more, with the entry it was in. */
export interface Stale {
  readonly entry: Entry
  readonly value: unknown
  readonly ageMs: number
  /** May be given in place of a failure. */
  readonly standsIn: boolean
}

/** What is to be done about a wanted value. */
export type Plan =
  | { readonly do: 'give'; readonly value: unknown; readonly entry: Entry }
  /** Give the stale value, and load behind it. */
  | { readonly do: 'refresh'; readonly stale: Stale; readonly absent: Absent }
  | { readonly do: 'load'; readonly stale: Stale | undefined; readonly absent: Absent; readonly reason: string }
  /** Load, and store nothing. */
  | { readonly do: 'alone'; readonly reason: string }

/** How values come to be: who loads, what is stored, and what callers are given when that fails. */
export class Loads {
  readonly #space: CacheScope
  readonly #values: Values
  readonly #background: Background
  readonly #recorder: Recorder

  constructor(space: CacheScope, values: Values, background: Background, recorder: Recorder) {
    this.#space = space
    this.#values = values
    this.#background = background
    this.#recorder = recorder
  }

  async plan(wanted: Wanted, look: EntryLookup): Promise<Plan> {
    if (look.state === 'outage') return { do: 'alone', reason: 'outage' }
    if (look.state === 'absent') return { do: 'load', stale: undefined, absent: look, reason: 'absent' }
    const { entry, softened } = look
    if (entry.kind === 'pass') return { do: 'alone', reason: 'hit-for-pass' }
    const decoded = await this.#values.decode(entry, wanted.shared)
    const absent = replacing(entry)
    if (!isKnown(decoded)) return { do: 'load', stale: undefined, absent, reason: decoded.state }
    const now = this.#space.now()
    if (now < entry.freshUntil && !softened) return { do: 'give', value: decoded.value, entry }
    const stale = { entry, value: decoded.value, ageMs: now - entry.storedAt, standsIn: now < entry.errorUntil }
    const servable = now < entry.staleUntil && wanted.options.staleWhileRevalidateMs > 0
    return servable ? { do: 'refresh', stale, absent } : { do: 'load', stale, absent, reason: whyMissed(look) }
  }

  async getOrLoad<T>(wanted: Wanted, look: EntryLookup, loader: Loader<T>): Promise<T> {
    const plan = await this.plan(wanted, look)
    tellPlan(wanted, plan)
    switch (plan.do) {
      case 'give':
        return plan.value as T
      case 'refresh':
        this.#background.add(this.#refresh(wanted, plan, loader))
        return plan.stale.value as T
      case 'load':
        return this.orStale(
          wanted,
          plan.stale,
          this.loadOne(wanted, plan, (fill) => this.#fill(wanted, plan.stale, fill, loader)),
        )
      case 'alone':
        return this.#fill(wanted, undefined, undefined, loader)
    }
  }

  /** The loaded value; the stale one where loading fails, or takes longer than the soft limit. */
  async orStale<T>(wanted: Wanted, stale: Stale | undefined, loading: Promise<T>): Promise<T> {
    if (stale === undefined || !stale.standsIn) return loading
    const { softTimeoutMs } = wanted.options
    try {
      if (softTimeoutMs === Infinity) return await loading
      const soon = await soonEnough(loading, softTimeoutMs)
      if (soon !== undefined) return soon.value
      this.#background.add(loading)
      this.#recorder.standsIn()
      return stale.value as T
    } catch (error) {
      if (wanted.signal?.aborted === true) throw error
      this.#recorder.standsIn()
      return stale.value as T
    }
  }

  acquire(wanted: Wanted, absent: Absent, waitMs?: number): ReturnType<CacheScope['acquire']> {
    const { ttlMs, negativeTtlMs = 0, staleIfErrorMs, staleWhileRevalidateMs, timeoutMs } = wanted.options
    return this.#space.acquire(wanted.place, absent, {
      accept: (entry, softened) => !softened && this.#space.now() < entry.freshUntil,
      groupTtlMs: Math.max(ttlMs, negativeTtlMs) + Math.max(staleIfErrorMs, staleWhileRevalidateMs),
      signal: wanted.signal,
      recorder: this.#recorder,
      waitMs: waitMs ?? (timeoutMs === Infinity ? undefined : timeoutMs),
    })
  }

  /** The value in an entry that somebody else has just filled; undefined where it is of no use here. */
  async #taken(wanted: Wanted, entry: Entry): Promise<{ readonly value: unknown } | undefined> {
    const decoded = await this.#values.decode(entry, wanted.shared)
    return isKnown(decoded) ? decoded : undefined
  }

  /** Stores what was loaded under a fill (or stores nothing, without one), and gives what the caller is to have. */
  async conclude(
    wanted: Wanted,
    stale: Stale | undefined,
    loaded: unknown,
    decisions: Decisions,
    fill: FillLease | undefined,
  ): Promise<unknown> {
    const now = this.#space.now()
    if (decisions.unchanged && stale !== undefined) {
      if (fill !== undefined) await this.#publish(fill, this.#values.renewed(stale.entry, decisions.options, now))
      return stale.value
    }
    const value = loaded === undefined ? undefined : await this.#values.check(wanted.key, loaded)
    const negative = value === undefined || value === null
    const { options } = decisions
    const kept = decisions.stored && (value !== undefined || options.negativeTtlMs !== undefined)
    if (!kept) await fill?.pass(now).catch(ignore)
    if (!wanted.shared && (!kept || fill === undefined)) return value
    const encoded = value === undefined ? ENCODED_NEGATIVE : await this.#values.encode(wanted.key, value)
    const entry = this.#entry(encoded, negative, options)
    if (kept && fill !== undefined) await this.#publish(fill, entry)
    return wanted.shared ? (await this.#values.decode(entry, true)).value : value
  }

  #entry(encoded: Encoded, negative: boolean, options: ResolvedValueOptions): Entry {
    const { negativeTtlMs } = options
    const own = negative && negativeTtlMs !== undefined ? { ...options, ttlMs: negativeTtlMs } : options
    return this.#values.entry(encoded, own, this.#space.now())
  }

  /** A store that is away costs the caller nothing but the time limit of one command. */
  async #publish(fill: FillLease, entry: Entry): Promise<void> {
    await fill.publish({ ...entry, stamp: fill.stamp }, lifeMs(entry, entry.storedAt)).catch(ignore)
  }

  /** One refresh over all processes; who finds the lease taken leaves it to its holder. */
  async #refresh<T>(wanted: Wanted, { stale, absent }: { stale: Stale; absent: Absent }, loader: Loader<T>) {
    const own = { ...wanted, signal: undefined }
    const acquired = await this.acquire(own, absent, 0)
    if (acquired.state !== 'fill') return
    this.#recorder.refreshes('stale')
    await this.#fill(own, stale, acquired.fill, loader)
  }

  /** Waits for whoever loads it already, or runs `load`: with a fill, or without one to store nothing. */
  async loadOne<T>(
    wanted: Wanted,
    { absent, reason }: { readonly absent: Absent; readonly reason: string },
    load: (fill: FillLease | undefined) => Promise<T>,
  ): Promise<T> {
    const { asking, place } = wanted
    const acquired = await (asking === undefined
      ? this.acquire(wanted, absent)
      : asking.run(() => this.acquire(wanted, absent)))
    if (acquired.state === 'fill') {
      asking?.found({ outcome: 'miss', reason, place })
      return load(acquired.fill)
    }
    const taken = acquired.state === 'found' ? await this.#taken(wanted, acquired.entry) : undefined
    asking?.found(acquiredFound(acquired, taken !== undefined, place))
    return taken === undefined ? load(undefined) : (taken.value as T)
  }

  async #fill<T>(wanted: Wanted, stale: Stale | undefined, fill: FillLease | undefined, loader: Loader<T>): Promise<T> {
    try {
      const signal = new LazySignal()
      const decisions = new Decisions(wanted.options)
      const context = contextOf<T>(signal, decisions, previousOf<T>(stale))
      const loaded = await runWithin(this.#limits(wanted), signal, () => loader(context))
      return (await this.conclude(wanted, stale, loaded, decisions, fill)) as T
    } catch (error) {
      await fill?.release().catch(ignore)
      throw error
    }
  }

  #limits({ key, options, signal }: Wanted): Parameters<typeof runWithin>[0] {
    return { timeoutMs: options.timeoutMs, signal, what: () => this.#values.nameOf(key) }
  }
}

/** The entry says what is, even where that is nothing. */
export function isKnown(decoded: Decoded): boolean {
  return decoded.state === 'value' || decoded.state === 'negative'
}

export function previousOf<T>(stale: Stale | undefined): Previous<T> | undefined {
  return stale === undefined ? undefined : { value: stale.value as T, ageMs: stale.ageMs }
}

/** What telemetry is told of a plan that needs nobody's lease. */
export function tellPlan({ asking, place }: Wanted, plan: Plan): void {
  if (plan.do === 'give') asking?.found({ outcome: 'hit', reason: 'fresh', entry: plan.entry, place })
  else if (plan.do === 'refresh')
    asking?.found({ outcome: 'stale', reason: 'stale-while-revalidate', entry: plan.stale.entry, place })
  else if (plan.do === 'alone') asking?.found({ outcome: 'miss', reason: plan.reason, place })
}

/** What telemetry is told of somebody who got no lease: somebody else's value, or why there is none. */
export function acquiredFound(
  acquired: Exclude<Acquired, { state: 'fill' }>,
  taken: boolean,
  place: EntryRef,
): LookupResult {
  if (acquired.state === 'found')
    return taken
      ? { outcome: 'hit', reason: 'collapsed', entry: acquired.entry, place }
      : { outcome: 'miss', reason: 'undecodable', place }
  const told = acquired.reason === 'outage' || acquired.reason === 'hit-for-pass'
  return { outcome: 'miss', reason: told ? acquired.reason : 'wait', place }
}

function ignore(): void {}
