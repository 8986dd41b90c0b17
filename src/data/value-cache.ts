import type { Background } from '../cache/background.js'
import type { Evicted, CacheScope } from '../cache/cache-scope.js'
import type { EntryLookup, EntryRef } from '../cache/entry-ref.js'
import type { Key } from '../cache/key.js'
import { WriteStamp } from '../cache/write.js'
import { UsageError } from '../errors.js'
import type { Entry } from '../store/entry.js'
import type { LookupResult, Recorder } from '../telemetry/recorder.js'
import { isKnown, type Loader, Loads } from './loader.js'
import type { RequestMemo } from './memoize.js'
import {
  type GetOptions,
  type GetOrSetOptions,
  type LoadOptions,
  type ReadOptions,
  type ResolvedValueOptions,
  resolveValueOptions,
  sayings,
  saysTheSame,
  type SetItem,
  type SetOptions,
  type SetResult,
  type ValueEntry,
  type ValueOptions,
} from './options.js'
import { type Decoded, type Encoded, lifeMs, type Values } from './values.js'

/** What the caches of one backend have in common. */
export interface Shared {
  readonly space: CacheScope
  readonly background: Background
  readonly memo: RequestMemo
}

/** How the values of one namespace are kept when nothing else is said. */
export interface ValueDefaults {
  readonly options: ResolvedValueOptions
  readonly shared: boolean
}

/** The values of one namespace, without their types. Everything that is done to a value is done here or in `Loads`. */
export class ValueCache {
  readonly values: Values
  readonly loads: Loads
  readonly defaults: ValueDefaults
  readonly recorder: Recorder
  readonly #space: CacheScope
  readonly #memo: RequestMemo
  /** Calls in a loop say the same again and again. */
  #last: { readonly options: LoadOptions; readonly resolved: ResolvedValueOptions } | undefined

  constructor({ space, background, memo }: Shared, values: Values, defaults: ValueDefaults) {
    this.values = values
    this.recorder = space.telemetry.namespace(values.namespace)
    this.loads = new Loads(space, values, background, this.recorder)
    this.defaults = defaults
    this.#space = space
    this.#memo = memo
  }

  /** The name of the key in Redis. */
  keyOf(key: Key): string {
    return this.#space.nameOf(this.values.key(key))
  }

  async get(key: Key, options: GetOptions & { readonly default?: unknown } = NO_OPTIONS): Promise<unknown> {
    const found = await (options.memo === undefined
      ? this.#find(key, options)
      : this.#memo.answer(options.memo, 'get', this.values.key(key), () => this.#find(key, options)))
    return found === undefined ? options.default : found.value
  }

  async getEntry(key: Key, options: ReadOptions = NO_OPTIONS, operation = 'getEntry'): Promise<ValueEntry<unknown>> {
    const place = this.#place('getEntry', key, options)
    const looking = this.recorder.start(operation)
    const look = await looking.run(() => this.#space.lookup(place))
    const entry = await this.describe(look, this.#isShared(options))
    looking.found(entryFound(entry, look, place))
    return entry
  }

  /** Seconds; undefined where there is nothing fresh. */
  async ttl(key: Key, options: ReadOptions = NO_OPTIONS): Promise<number | undefined> {
    const entry = await this.getEntry(key, options, 'ttl')
    return entry.outcome === 'hit' || (entry.outcome === 'negative' && entry.ttlMs > 0) ? entry.ttlMs / 1000 : undefined
  }

  async set(key: Key, value: unknown, options: SetOptions = NO_OPTIONS): Promise<SetResult> {
    const resolved = this.resolve('set', options)
    const place = this.values.key(key)
    const encoded = await this.#form(key, value)
    if (options.ifUnchangedSince !== undefined)
      return this.#setUnder(options.ifUnchangedSince, place, encoded, resolved)
    return this.#store(place, encoded, resolved)
  }

  /** Nothing is stored where one of the values cannot be. */
  async setMany(items: Iterable<SetItem>, options: ValueOptions = NO_OPTIONS): Promise<SetResult[]> {
    const base = this.resolve('setMany', options)
    const forms = [...items].map(async ([key, value, own]) => ({
      place: this.values.key(key),
      resolved: own === undefined ? base : resolveValueOptions('options of setMany', own, base),
      encoded: await this.#form(key, value),
    }))
    const stored = (await Promise.all(forms)).map((form) => this.#store(form.place, form.encoded, form.resolved))
    return Promise.all(stored)
  }

  async announce(key: Key): Promise<WriteStamp> {
    const place = this.values.key(key)
    return new WriteStamp(place, await this.#space.announce(place))
  }

  async evict(keys: readonly Key[], mode: 'hard' | 'soft'): Promise<Evicted> {
    const target = { keys: keys.map((key) => this.values.key(key)), mode }
    return this.recorder.evict(mode === 'soft' ? 'expire' : 'delete', target, (named) => this.#space.evict(named))
  }

  /** A hit from memory takes no turn of the event loop: nothing is awaited that is there already. */
  async getOrSet<T>(key: Key, loader: Loader<T>, options: GetOrSetOptions = NO_OPTIONS): Promise<T> {
    if (options.memo !== undefined) return this.#remembered(options.memo, key, loader, options)
    const resolved = this.resolve('getOrSet', options)
    const place = this.values.place(key, resolved.groups)
    const shared = this.#isShared(options)
    const now = this.#space.now()
    const asking = this.recorder.start('getOrSet')
    const looking = asking.run(() => this.#space.lookup(place, now))
    const look = looking instanceof Promise ? await looking : looking
    if (look.state === 'valid' && !look.softened && now < look.entry.freshUntil) {
      const known = this.values.recall(look.entry, shared) ?? this.values.decode(look.entry, shared)
      const decoded = known instanceof Promise ? await known : known
      if (isKnown(decoded)) {
        asking.found(freshFound(look, decoded, place))
        return decoded.value as T
      }
    }
    const wanted = { key, place, options: resolved, signal: options.signal, shared, asking }
    return this.loads.getOrLoad(wanted, look, loader)
  }

  resolve(operation: string, options: LoadOptions): ResolvedValueOptions {
    if (options === NO_OPTIONS) return this.defaults.options
    if (this.#last !== undefined && saysTheSame(options, this.#last.options)) return this.#last.resolved
    const resolved = resolveValueOptions(`options of ${operation}`, options, this.defaults.options)
    this.#last = { options: sayings(options), resolved }
    return resolved
  }

  #remembered<T>(memo: object, key: Key, loader: Loader<T>, options: GetOrSetOptions): Promise<T> {
    const ask = (): Promise<T> => this.getOrSet(key, loader, { ...options, memo: undefined })
    return this.#memo.answer(memo, 'getOrSet', this.values.key(key), ask)
  }

  #place(operation: string, key: Key, options: ReadOptions): EntryRef {
    const groups = options.group === undefined ? this.defaults.options.groups : this.resolve(operation, options).groups
    return this.values.place(key, groups)
  }

  #isShared({ shared }: ReadOptions): boolean {
    return shared ?? this.defaults.shared
  }

  async #find(key: Key, options: ReadOptions): Promise<{ readonly value: unknown } | undefined> {
    const now = this.#space.now()
    const place = this.#place('get', key, options)
    const asking = this.recorder.start('get')
    const looking = asking.run(() => this.#space.lookup(place, now))
    const look = looking instanceof Promise ? await looking : looking
    const fresh = this.#fresh(look, this.#isShared(options), now)
    const decoded = fresh instanceof Promise ? await fresh : fresh
    asking.found(freshFound(look, decoded, place))
    return decoded?.state === 'value' ? decoded : undefined
  }

  #fresh(look: EntryLookup, shared: boolean, now: number): ReturnType<Values['decode']> | undefined {
    if (look.state !== 'valid' || look.softened) return undefined
    const { entry } = look
    return entry.kind === 'value' && now < entry.freshUntil ? this.values.decode(entry, shared) : undefined
  }

  async #form(key: Key, value: unknown): Promise<Encoded> {
    return this.values.encode(key, await this.values.check(key, value))
  }

  async #store(place: string, encoded: Encoded, options: ResolvedValueOptions): Promise<SetResult> {
    const now = this.#space.now()
    const entry = this.values.entry(encoded, options, now)
    const ttlMs = lifeMs(entry, now)
    try {
      const set = () => this.#space.set(place, entry, ttlMs)
      return (await this.recorder.store('set', { key: place, entry, ttlMs }, set)) === 'stored' ? STORED : CONTESTED
    } catch {
      return OUTAGE
    }
  }

  async #setUnder(
    stamp: WriteStamp,
    place: string,
    encoded: Encoded,
    options: ResolvedValueOptions,
  ): Promise<SetResult> {
    if (stamp.key !== place) throw new UsageError('`ifUnchangedSince` was announced for another key.')
    if (stamp.write === undefined) {
      await this.recorder.evict('set', { keys: [place] }, (target) => this.#space.evict(target))
      return OUTAGE
    }
    const now = this.#space.now()
    const entry = { ...this.values.entry(encoded, options, now), stamp: stamp.write.stamp }
    const [write, stored] = [stamp.write, { entry, ttlMs: lifeMs(entry, now) }]
    const commit = () => this.#space.commit(write, stored, {})
    const { published, confirmed } = await this.recorder.put({}, { key: place, ...stored }, commit)
    if (!confirmed) return OUTAGE
    if (published !== 'stored') return CONTESTED
    // A group that was invalidated since the announcement fences the entry only when it is read; it is said now.
    const look = await this.#space.lookup({ key: place, groups: entry.groups })
    return look.state === 'absent' ? CONTESTED : STORED
  }

  async describe(look: EntryLookup, shared: boolean): Promise<ValueEntry<unknown>> {
    if (look.state === 'outage') return { outcome: 'miss', reason: 'outage', value: undefined }
    if (look.state === 'absent' || look.entry.kind === 'pass')
      return { outcome: 'miss', reason: 'absent', value: undefined }
    const decoded = await this.values.decode(look.entry, shared)
    return this.#outcome(decoded, look.entry, look.softened)
  }

  #outcome(decoded: Decoded, entry: Entry, softened: boolean): ValueEntry<unknown> {
    if (decoded.state === 'undecodable' || decoded.state === 'invalid')
      return { outcome: 'miss', reason: decoded.state, value: undefined }
    const now = this.#space.now()
    const ageMs = now - entry.storedAt
    const ttlMs = softened ? 0 : Math.max(entry.freshUntil - now, 0)
    if (decoded.state === 'negative') return { outcome: 'negative', value: undefined, ageMs, ttlMs }
    return { outcome: ttlMs > 0 ? 'hit' : 'stale', value: decoded.value, ageMs, ttlMs }
  }
}

const NO_OPTIONS = {}

const STORED: SetResult = { stored: true }

const CONTESTED: SetResult = { stored: false, reason: 'contested' }

const OUTAGE: SetResult = { stored: false, reason: 'outage' }

/** What telemetry is told of a value that is served while it is fresh, and of nothing else. */
export function freshFound(look: EntryLookup, decoded: Decoded | undefined, place: EntryRef): LookupResult {
  if (look.state !== 'valid' || decoded === undefined) return { outcome: 'miss', reason: whyMissed(look), place }
  const { entry } = look
  if (decoded.state === 'value') return { outcome: 'hit', reason: 'fresh', entry, place }
  // It is known that there is nothing, which saved a loader as well.
  if (decoded.state === 'negative') return { outcome: 'hit', reason: 'negative', entry, place }
  return { outcome: 'miss', reason: decoded.state, place }
}

/** Why what was seen at a key is no fresh value. */
export function whyMissed(look: EntryLookup): string {
  if (look.state !== 'valid') return look.state
  if (look.entry.kind === 'pass') return 'hit-for-pass'
  return look.softened ? 'softened' : 'stale'
}

/** What telemetry is told of a value that is given whatever its age. */
export function entryFound(entry: ValueEntry<unknown>, look: EntryLookup, place: EntryRef): LookupResult {
  if (entry.outcome === 'miss' || look.state !== 'valid')
    return { outcome: 'miss', reason: entry.outcome === 'miss' ? entry.reason : 'absent', place }
  if (entry.outcome === 'stale') return { outcome: 'stale', reason: 'stale', entry: look.entry, place }
  return { outcome: 'hit', reason: entry.outcome === 'hit' ? 'fresh' : 'negative', entry: look.entry, place }
}
