import type { Found } from '../diagnostics/facts.js'
import type { Looking, Recorder } from '../diagnostics/recorder.js'
import type { Entry } from '../store/entry.js'
import type { Fill } from './fill.js'
import type { Acquired } from './fills.js'
import type { Background } from './background.js'
import type { Key } from './key.js'
import { contextOf, Decisions, LazySignal, type Loader, type Previous, runWithin, soonEnough } from './loader.js'
import type { ResolvedValueOptions } from './options.js'
import { type Absent, type Look, type Place, replacing } from './place.js'
import type { Space } from './space.js'
import { whyMissed } from './value-found.js'
import { type Decoded, type Encoded, ENCODED_NEGATIVE, lifeMs, type Values } from './values.js'

/** One value that is asked for. */
export interface Wanted {
  readonly key: Key
  readonly place: Place
  readonly options: ResolvedValueOptions
  readonly signal: AbortSignal | undefined
  /** Whether what is given may be the same frozen object for everybody. */
  readonly shared: boolean
  /** The lookup that ends when it is decided who loads. */
  readonly asking?: Looking | undefined
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
  readonly #space: Space
  readonly #values: Values
  readonly #background: Background
  readonly #recorder: Recorder

  constructor(space: Space, values: Values, background: Background, recorder: Recorder) {
    this.#space = space
    this.#values = values
    this.#background = background
    this.#recorder = recorder
  }

  async plan(wanted: Wanted, look: Look): Promise<Plan> {
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

  async getOrLoad<T>(wanted: Wanted, look: Look, loader: Loader<T>): Promise<T> {
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

  acquire(wanted: Wanted, absent: Absent, waitMs?: number): ReturnType<Space['acquire']> {
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
    fill: Fill | undefined,
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
    if (!kept && !wanted.shared) return value
    if (fill === undefined && !wanted.shared) return value
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
  async #publish(fill: Fill, entry: Entry): Promise<void> {
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
    load: (fill: Fill | undefined) => Promise<T>,
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

  async #fill<T>(wanted: Wanted, stale: Stale | undefined, fill: Fill | undefined, loader: Loader<T>): Promise<T> {
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
export function acquiredFound(acquired: Exclude<Acquired, { state: 'fill' }>, taken: boolean, place: Place): Found {
  if (acquired.state === 'found')
    return taken
      ? { outcome: 'hit', reason: 'collapsed', entry: acquired.entry, place }
      : { outcome: 'miss', reason: 'undecodable', place }
  const told = acquired.reason === 'outage' || acquired.reason === 'hit-for-pass'
  return { outcome: 'miss', reason: told ? acquired.reason : 'wait', place }
}

function ignore(): void {}
