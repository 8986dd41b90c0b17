import type { Entry } from '../store/entry.js'
import type { ExplainRequest, Explanation } from './explanation.js'
import { encodeGroup, groupProblem } from './group.js'
import type { Key } from './key.js'
import { type ResolvedValueOptions, resolveValueOptions, type ValueOptions } from './options.js'
import { type Absent, type Look, type Place, replacing } from './place.js'
import type { Evicted, Space } from './space.js'
import { jsonCoder, lifeMs, Values } from './values.js'
import { OptionsError, UsageError } from '../errors.js'
import type { Fill } from './fill.js'

export interface GetOptions {
  /** Groups the value was stored with. Naming them here saves a round trip; a value without them is a miss. */
  readonly group?: string | readonly string[] | undefined
}

export interface GetOrSetOptions extends ValueOptions {
  /** Ends the wait for another process's loader, and is handed to this one's. */
  readonly signal?: AbortSignal | undefined
}

export interface LoaderContext {
  /** Aborted when the caller's signal is. */
  readonly signal: AbortSignal | undefined
}

export type Loader<T> = (context: LoaderContext) => T | Promise<T>

/** What `getEntry` tells of a key. */
export type ValueEntry<T> =
  | { readonly outcome: 'hit' | 'stale'; readonly value: T; readonly ageMs: number; readonly ttlMs: number }
  /** `outage`: the store could not answer in time, so nobody knows. */
  | { readonly outcome: 'miss'; readonly reason: 'absent' | 'undecodable' | 'outage'; readonly value: undefined }

export interface SetResult {
  /** False: refused because a writer of the key was active, or the store was away (`outage`). */
  readonly stored: boolean
  readonly reason?: 'contested' | 'outage'
}

export interface SweepOptions {
  /** Keys the server looks at in one step. Default 100: well under a millisecond of its time. */
  readonly count?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const SWEEP_COUNT = 100

/** Values of the application beside its routes: the same store, the same groups, the same rules. Redis trouble never throws. */
export class CacheBackend {
  readonly #space: Space
  readonly #values: Values
  readonly #defaultTtlMs: number
  readonly #background = new Set<Promise<unknown>>()
  #explainer: ((request: ExplainRequest) => Promise<Explanation>) | undefined

  /** @internal Applications get theirs from `createRedis()` or their framework. */
  constructor(space: Space, defaultTtlMs: number) {
    this.#space = space
    this.#values = new Values('', jsonCoder)
    this.#defaultTtlMs = defaultTtlMs
  }

  /** The value of a key while it is fresh, or `undefined`. `null` is a value. */
  async get<T = unknown>(key: Key, options: GetOptions = {}): Promise<T | undefined> {
    const found = await this.getEntry<T>(key, options)
    return found.outcome === 'hit' ? found.value : undefined
  }

  /** The value with its outcome, age and remaining lifetime (milliseconds), so that a miss and an outage can be told apart. */
  async getEntry<T = unknown>(key: Key, options: GetOptions = {}): Promise<ValueEntry<T>> {
    const { groups } = resolveValueOptions('options of get', options, 0)
    return this.#describe<T>(await this.#space.look(this.#values.place(key, groups)))
  }

  /** Stores a value. A fill of the same key that is under way anywhere will not overwrite it. */
  async set(key: Key, value: unknown, options: ValueOptions = {}): Promise<SetResult> {
    const resolved = resolveValueOptions('options of set', options, this.#defaultTtlMs)
    const now = this.#space.now()
    const place = this.#values.key(key)
    const entry = this.#values.entry(key, value, resolved, now)
    try {
      const stored = (await this.#space.set(place, entry, lifeMs(entry, now))) === 'stored'
      return stored ? { stored } : { stored, reason: 'contested' }
    } catch {
      return { stored: false, reason: 'outage' }
    }
  }

  /** Whether there is a fresh value. */
  async has(key: Key, options: GetOptions = {}): Promise<boolean> {
    return (await this.getEntry(key, options)).outcome === 'hit'
  }

  /** Removes a value; a load of it that is under way will not be stored. */
  async delete(key: Key): Promise<Evicted> {
    return this.#space.evict({ keys: [this.#values.key(key)] })
  }

  /** Makes a value stale at once: within its `staleWhileRevalidate` it is served while it is loaded anew. */
  async expire(key: Key): Promise<Evicted> {
    return this.#space.evict({ keys: [this.#values.key(key)], mode: 'soft' })
  }

  /** Invalidates every entry, value or response, that carries one of the groups. Costs the same for one entry and a million. */
  async deleteGroup(group: string | readonly string[]): Promise<Evicted> {
    return this.#space.evict({ groups: checkedGroups(group) })
  }

  /** Makes every entry that carries one of the groups stale at once: those with `staleWhileRevalidate` are served while they are made anew. */
  async expireGroup(group: string | readonly string[]): Promise<Evicted> {
    return this.#space.evict({ groups: checkedGroups(group), mode: 'soft' })
  }

  /** Invalidates everything under the prefix, responses and values, at the cost of one group. */
  clear(): Promise<Evicted> {
    return this.#space.clear()
  }

  /**
   * Removes entries that no reader can accept any more, at most `count` keys looked at in a step. Entries with a
   * lifetime go by themselves; this is for those without one. Gives how many went.
   */
  async sweep(options: SweepOptions = {}): Promise<number> {
    const { count = SWEEP_COUNT, signal } = options
    let removed = 0
    let cursor = '0'
    do {
      signal?.throwIfAborted()
      const step = await this.#space.sweep(cursor, count)
      removed += step.removed
      cursor = step.cursor
    } while (cursor !== '0')
    return removed
  }

  /**
   * The value of a key, loaded when there is none: by one caller of all processes, while the others wait for it.
   * `undefined` from the loader is not stored; for a short time after it callers do not wait for one another.
   * What the loader throws goes to its own caller (or, within `staleIfError`, yields the stale value); the next caller tries again.
   */
  async getOrSet<T>(key: Key, loader: Loader<T>, options: GetOrSetOptions = {}): Promise<T> {
    const resolved = resolveValueOptions('options of getOrSet', options, this.#defaultTtlMs)
    const place = this.#values.place(key, resolved.groups)
    const looking = this.#space.look(place)
    const look = looking instanceof Promise ? await looking : looking
    const load: Load<T> = { key, place, loader, options: resolved, signal: options.signal }
    if (look.state === 'outage') return loader({ signal: options.signal })
    if (look.state === 'absent') return this.#load(load, look, undefined)
    return this.#useOrLoad(load, look)
  }

  /**
   * What the route cache would do with a request, and why, as data; nothing runs and nothing is stored. Rejects with
   * UsageError where no cached route of this application answers it.
   */
  async explain(request: ExplainRequest): Promise<Explanation> {
    if (this.#explainer === undefined) throw new UsageError('This application has no cached routes to explain.')
    return this.#explainer(request)
  }

  /** @internal Cached routes tell how they decide. */
  explainWith(explainer: (request: ExplainRequest) => Promise<Explanation>): void {
    this.#explainer = explainer
  }

  /** Resolves when no refresh runs in the background any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#background])
  }

  async #useOrLoad<T>(load: Load<T>, { entry, softened }: Extract<Look, { state: 'valid' }>): Promise<T> {
    if (entry.kind === 'pass') return load.loader({ signal: load.signal })
    const decoded = this.#values.decode(entry)
    const absent = replacing(entry)
    if (decoded === undefined) return this.#load(load, absent, undefined)
    const now = this.#space.now()
    if (now < entry.freshUntil && !softened) return decoded.value as T
    if (now >= entry.staleUntil) return this.#load(load, absent, now < entry.errorUntil ? decoded : undefined)
    this.#refresh(load, absent)
    return decoded.value as T
  }

  /** One refresh over all processes; who finds the lease taken leaves it to its holder. */
  #refresh<T>(load: Load<T>, absent: Absent): void {
    const refreshing = this.#acquire(load, absent, 0)
      .then((acquired) => (acquired.state === 'fill' ? this.#fill(load, acquired.fill) : undefined))
      .catch(() => {})
      .finally(() => this.#background.delete(refreshing))
    this.#background.add(refreshing)
  }

  async #load<T>(load: Load<T>, absent: Absent, fallback: { readonly value: unknown } | undefined): Promise<T> {
    const acquired = await this.#acquire(load, absent)
    if (acquired.state === 'found') {
      const decoded = this.#values.decode(acquired.entry)
      if (decoded !== undefined) return decoded.value as T
    }
    try {
      load.signal?.throwIfAborted()
      return await (acquired.state === 'fill' ? this.#fill(load, acquired.fill) : load.loader({ signal: load.signal }))
    } catch (error) {
      if (acquired.state === 'fill') await acquired.fill.release().catch(() => {})
      if (fallback !== undefined) return fallback.value as T
      throw error
    }
  }

  #acquire<T>(load: Load<T>, absent: Absent, waitMs?: number): ReturnType<Space['acquire']> {
    const { ttlMs, staleIfErrorMs, staleWhileRevalidateMs } = load.options
    return this.#space.acquire(load.place, absent, {
      accept: (entry, softened) => !softened && this.#space.now() < entry.freshUntil,
      groupTtlMs: ttlMs + Math.max(staleIfErrorMs, staleWhileRevalidateMs),
      signal: load.signal,
      waitMs,
    })
  }

  async #fill<T>(load: Load<T>, fill: Fill): Promise<T> {
    try {
      const value = await load.loader({ signal: load.signal })
      const now = this.#space.now()
      if (value === undefined) await fill.pass(now)
      else {
        const entry: Entry = { ...this.#values.entry(load.key, value, load.options, now), stamp: fill.stamp }
        await fill.publish(entry, lifeMs(entry, now)).catch(() => {})
      }
      return value
    } catch (error) {
      await fill.release().catch(() => {})
      throw error
    }
  }

  #describe<T>(look: Look): ValueEntry<T> {
    if (look.state === 'outage') return { outcome: 'miss', reason: 'outage', value: undefined }
    if (look.state === 'absent') return { outcome: 'miss', reason: 'absent', value: undefined }
    const decoded = this.#values.decode(look.entry)
    if (decoded === undefined) return { outcome: 'miss', reason: 'undecodable', value: undefined }
    const now = this.#space.now()
    const fresh = now < look.entry.freshUntil && !look.softened
    return {
      outcome: fresh ? 'hit' : 'stale',
      value: decoded.value as T,
      ageMs: now - look.entry.storedAt,
      ttlMs: look.softened ? 0 : Math.max(look.entry.freshUntil - now, 0),
    }
  }
}

function checkedGroups(group: string | readonly string[]): string[] {
  const names = typeof group === 'string' ? [group] : group
  const problems = names.map(groupProblem).filter((problem) => problem !== undefined)
  if (problems.length > 0) throw new OptionsError('group', problems)
  return names.map(encodeGroup)
}

interface Load<T> {
  readonly key: Key
  readonly place: Place
  readonly loader: Loader<T>
  readonly options: ResolvedValueOptions
  readonly signal: AbortSignal | undefined
}
