import { Background } from '../cache/background.js'
import type { Evicted, CacheScope, InvalidationTarget } from '../cache/cache-scope.js'
import type { ExplainRequest, Explanation } from '../cache/explanation.js'
import { checkedGroups, PREFIX_GROUP } from '../cache/group.js'
import type { Key } from '../cache/key.js'
import type { WriteStamp } from '../cache/write.js'
import { UsageError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { CacheStats } from '../telemetry/stats.js'
import { Many } from './batch.js'
import type { Loader } from './loader.js'
import { deleteMatching, type MatchOptions, sweep, type SweepOptions } from './matching.js'
import { memoize, type Memoized, type MemoizeOptions, RequestMemo } from './memoize.js'
import { Namespace, type NamespaceOptions } from './namespace.js'
import {
  type BatchLoader,
  type GetOptions,
  type GetOrSetManyOptions,
  type GetOrSetOptions,
  plainOptions,
  type ReadOptions,
  type SetItem,
  type SetOptions,
  type SetResult,
  type ValueEntry,
  type ValueOptions,
} from './options.js'
import { type Shared, ValueCache } from './value-cache.js'
import { type Frozen, type SchemaInput, type SchemaOutput, type StandardSchema, Values } from './values.js'

/** How long an application that ends waits for refreshes. */
const SETTLE_MS = 5000

type Sharing = { readonly shared: true }

/** Values of the application beside its routes: the same store, the same groups, the same rules. Redis trouble never throws. */
export class CacheBackend {
  readonly #shared: Shared
  readonly #logger: Logger
  readonly #cache: ValueCache
  readonly #many: Many<Key>
  #explainer: ((request: ExplainRequest) => Promise<Explanation>) | undefined

  /** @internal Applications get theirs from `createRedis()` or their framework. */
  constructor(space: CacheScope, defaultTtlMs: number, logger: Logger) {
    this.#logger = logger
    this.#shared = { space, background: new Background(), memo: new RequestMemo(space.changes) }
    const defaults = { options: plainOptions(defaultTtlMs), shared: false }
    this.#cache = new ValueCache(this.#shared, new Values({ namespace: '' }), defaults)
    this.#many = new Many(this.#cache, this.#shared, { key: (key) => key, groups: () => [] })
  }

  /**
   * Values of one kind, with their own schema, lifetime, version and coder; `clear()` ends them all at once.
   *
   * @example
   * const users = redis.cache.namespace('users', { schema: User, ttl: '10m', jitter: 0.1, version: 2 })
   * const user = await users.getOrSet(42, () => db.user(42))
   */
  namespace<S extends StandardSchema, K = Key>(
    name: string,
    options: NamespaceOptions<K> & Sharing & { readonly schema: S },
  ): Namespace<K, SchemaInput<S>, Frozen<SchemaOutput<S>>>
  namespace<S extends StandardSchema, K = Key>(
    name: string,
    options: NamespaceOptions<K> & { readonly schema: S },
  ): Namespace<K, SchemaInput<S>, SchemaOutput<S>>
  namespace<V = unknown, K = Key>(
    name: string,
    options: NamespaceOptions<K> & Sharing & { readonly schema?: undefined },
  ): Namespace<K, V, Frozen<V>>
  namespace<V = unknown, K = Key>(
    name: string,
    options?: NamespaceOptions<K> & { readonly schema?: undefined },
  ): Namespace<K, V>
  namespace<K>(name: string, options: NamespaceOptions<K> = {}): Namespace<K> {
    return new Namespace<K>(this.#shared, name, options, this.#cache.defaults.options, this.#logger)
  }

  /**
   * The same function, cached: calls with equal arguments are answered from the cache, over all processes.
   *
   * @example
   * const userById = redis.cache.memoize((id: number) => db.user(id), { name: 'userById', ttl: '5m' })
   * await userById(42)
   * await userById.delete(42)
   */
  memoize<Args extends readonly unknown[], R>(
    fn: (...args: Args) => R,
    policy: MemoizeOptions<Args>,
  ): Memoized<Args, Awaited<R>> {
    const open = (name: string, options: NamespaceOptions<Args>): Namespace<Args, Awaited<R>> =>
      this.namespace<Awaited<R>, Args>(name, { ...options, schema: undefined })
    return memoize(open, fn as (...args: Args) => Awaited<R> | Promise<Awaited<R>>, policy)
  }

  /** The name of a value's key in Redis, for `redis-cli` and logs. */
  keyOf(key: Key): string {
    return this.#cache.keyOf(key)
  }

  /** The value of a key while it is fresh, or `undefined` (or the default). `null` is a value. */
  get<T>(key: Key, options: GetOptions & { readonly default: T }): Promise<T>
  get<T = unknown>(key: Key, options?: GetOptions): Promise<T | undefined>
  get(key: Key, options?: GetOptions): Promise<unknown> {
    return this.#cache.get(key, options)
  }

  /** The value with its outcome, age and remaining lifetime, so that a miss and an outage can be told apart. */
  getEntry<T = unknown>(key: Key, options?: ReadOptions): Promise<ValueEntry<T>> {
    return this.#cache.getEntry(key, options) as Promise<ValueEntry<T>>
  }

  /** Many values in one trip, in the order of the keys. */
  getMany<T>(keys: readonly Key[], options: ReadOptions & { readonly default: T }): Promise<T[]>
  getMany<T = unknown>(keys: readonly Key[], options?: ReadOptions): Promise<(T | undefined)[]>
  getMany(keys: readonly Key[], options: ReadOptions & { readonly default?: unknown } = {}): Promise<unknown[]> {
    return this.#many.get(keys, options)
  }

  /** Stores a value. A fill of the same key that is under way anywhere will not overwrite it. Throws ValueError where it cannot be encoded. */
  set(key: Key, value: unknown, options?: SetOptions): Promise<SetResult> {
    return this.#cache.set(key, value, options)
  }

  /** Stores many values in one pipeline; none where one of them cannot be encoded. Results are in the order of the items. */
  setMany(items: Iterable<SetItem>, options?: ValueOptions): Promise<SetResult[]> {
    return this.#cache.setMany(items, options)
  }

  /** Whether there is a fresh value. */
  async has(key: Key, options?: ReadOptions): Promise<boolean> {
    return (await this.#cache.getEntry(key, options, 'has')).outcome === 'hit'
  }

  /** Seconds for which the value (or the knowledge that there is none) is still fresh; Infinity without an end, undefined where there is none. */
  ttl(key: Key, options?: ReadOptions): Promise<number | undefined> {
    return this.#cache.ttl(key, options)
  }

  /** Removes a value; a load of it that is under way will not be stored. */
  delete(key: Key): Promise<Evicted> {
    return this.#cache.evict([key], 'hard')
  }

  deleteMany(keys: readonly Key[]): Promise<Evicted> {
    return this.#cache.evict(keys, 'hard')
  }

  /** Makes a value stale at once: within its `staleWhileRevalidate` it is served while it is loaded anew. */
  expire(key: Key): Promise<Evicted> {
    return this.#cache.evict([key], 'soft')
  }

  /** Invalidates every entry, value or response, that carries one of the groups. Costs the same for one entry and a million. */
  async deleteGroup(group: string | readonly string[]): Promise<Evicted> {
    return this.#evict('deleteGroup', { groups: checkedGroups(group) })
  }

  /** Makes every entry that carries one of the groups stale at once: those with `staleWhileRevalidate` are served while they are made anew. */
  async expireGroup(group: string | readonly string[]): Promise<Evicted> {
    return this.#evict('expireGroup', { groups: checkedGroups(group), mode: 'soft' })
  }

  /** Invalidates everything under the prefix, responses and values, at the cost of one group. */
  clear(): Promise<Evicted> {
    return this.#evict('clear', { groups: [PREFIX_GROUP] })
  }

  /** For operators: deletes the values (of no namespace) whose keys match, such as `'report:*'`, by going through all keys of Redis in small steps. Gives how many went. */
  async deleteMatching(pattern: string, options?: MatchOptions): Promise<number> {
    return deleteMatching(this.#shared.space, this.#cache.values.pattern(pattern), options)
  }

  /**
   * Removes entries that no reader can accept any more, at most `count` keys looked at in a step. Entries with a
   * lifetime go by themselves; this is for those without one. Gives how many went.
   */
  sweep(options?: SweepOptions): Promise<number> {
    return sweep(this.#shared.space, options)
  }

  /** Before a write whose result is to be stored: `set(key, value, { ifUnchangedSince })`. Use it with `await using`. */
  announce(key: Key): Promise<WriteStamp> {
    return this.#cache.announce(key)
  }

  /**
   * The value of a key, loaded when there is none: by one caller of all processes, while the others wait for it.
   * `undefined` from the loader is not stored (see `negativeTtl`); for a short time after it callers do not wait for one another.
   * What the loader throws goes to its own caller (or, within `staleIfError`, yields the stale value); the next caller tries again.
   */
  getOrSet<T>(key: Key, loader: Loader<T>, options: GetOrSetOptions & Sharing): Promise<Frozen<T>>
  getOrSet<T>(key: Key, loader: Loader<T>, options?: GetOrSetOptions): Promise<T>
  getOrSet<T>(key: Key, loader: Loader<T>, options?: GetOrSetOptions): Promise<T> {
    return this.#cache.getOrSet(key, loader, options)
  }

  /** Many values: one trip to read them, one call of the loader for those that are not there; a result or an error for each key. */
  getOrSetMany<T, K extends Key = Key>(
    keys: readonly K[],
    loader: BatchLoader<K, T>,
    options?: GetOrSetManyOptions,
  ): Promise<PromiseSettledResult<T>[]> {
    return this.#many.getOrSet(keys, loader as unknown as BatchLoader<Key, T>, options ?? {})
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

  /** What routes and namespaces did since the start, or since `resetStats`: hits, misses by reason, stores, latency. */
  stats(): CacheStats {
    return this.#shared.space.telemetry.stats()
  }

  /** Begins the numbers of `stats` anew. OpenTelemetry's counters go on. */
  resetStats(): void {
    this.#shared.space.telemetry.reset()
  }

  /** Resolves when no refresh runs in the background any more, or after so many milliseconds (default 5000). */
  settled(limitMs: number = SETTLE_MS): Promise<void> {
    return this.#shared.background.settled(limitMs)
  }

  #evict(operation: string, target: InvalidationTarget): Promise<Evicted> {
    return this.#cache.recorder.evict(operation, target, (named) => this.#shared.space.evict(named))
  }
}
