import type { CacheScope, Evicted } from '../cache/cache-scope.js'
import type { EntryRef } from '../cache/lookup.js'
import { namespaceGroup, PREFIX_GROUP, type Key } from '../cache/key.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import { WriteStamp } from '../cache/write.js'
import { describeValue, UsageError } from '../errors.js'
import type { Logger } from '../logger.js'
import { isPromise } from '../maybe-promise.js'
import type { Recorder } from '../telemetry/recorder.js'
import { LoadFailure, type RunLoader, Throttle, ValueLoader } from './loader.js'
import {
  checkLoader,
  pickOptions,
  type ResolvedValueOptions,
  resolveNamespace,
  resolveOptions,
  sameOptions,
  withGroups,
} from './options.js'
import type { RequestMemo } from './request-memo.js'
import type {
  AnyBatchLoader,
  AnyLoader,
  BatchContext,
  BatchLoader,
  Frozen,
  GetOptions,
  GetOrSetManyOptions,
  GetOrSetOptions,
  KeyOf,
  Loader,
  LoaderContext,
  LoadOptions,
  NamespaceOptions,
  OrDefault,
  ReadOptions,
  ScanOptions,
  SetItem,
  SetOptions,
  SetResult,
  ValueEntry,
  ValueOf,
  ValueOptions,
} from './types.js'
import { isKnown, ValueCodec } from './value-codec.js'
import { type Budgets, ValueReader } from './value-reader.js'
import { ValueRefs } from './value-refs.js'
import { ValueWriter } from './value-writer.js'

/** What the namespaces of one application share. */
export interface DataContext extends Budgets {
  readonly scope: CacheScope
  readonly memo: RequestMemo
  readonly logger: Logger
  readonly defaults: ResolvedValueOptions
}

const NO_OPTIONS = {}

/**
 * Values of one kind: `K` identifies them, `In` is stored, `Out` is read. Redis errors never throw; invalid keys or
 * options, values that cannot be encoded, and the loader's own errors do.
 */
export class Namespace<K = Key, In = unknown, Out = In> {
  readonly name: string
  readonly #context: DataContext
  readonly #scope: CacheScope
  readonly #recorder: Recorder
  readonly #refs: ValueRefs
  readonly #codec: ValueCodec
  readonly #reader: ValueReader
  readonly #loader: ValueLoader
  readonly #writer: ValueWriter
  readonly #defaults: ResolvedValueOptions
  readonly #shared: boolean
  /** The group of all values of the namespace. */
  readonly #allGroup: string
  readonly #key: (key: K) => Key
  readonly #groups: ((key: K) => string | readonly string[]) | undefined
  /** The options of the last call: calls in a loop repeat them. */
  #last: { readonly options: LoadOptions; readonly resolved: ResolvedValueOptions } | undefined

  /** @internal Use `cache.namespace()`. Without a name: the cache itself. */
  constructor(context: DataContext, name: string | undefined, options: NamespaceOptions<K>) {
    const { defaults, compressor } = resolveNamespace(name, options, context.defaults)
    const { coder, schema, version, key, group, shared } = options
    this.name = name ?? ''
    this.#context = context
    this.#scope = context.scope
    this.#recorder = context.scope.telemetry.namespace(this.name)
    this.#refs = new ValueRefs(this.name, version)
    const onInvalid = (reason: string): void =>
      context.logger.warn(
        `redwell: a stored value of namespace '${this.name}' fails its schema ${reason}; it is a miss. Raise the namespace's \`version\` with its schema; further ones are not logged`,
      )
    this.#codec = new ValueCodec({ coder, schema, compressor, onInvalid }, (wrong) => this.#refs.describe(wrong))
    this.#reader = new ValueReader(this.#scope, this.#codec, this.#recorder, context)
    this.#loader = new ValueLoader(this.#scope, this.#refs, this.#codec, this.#recorder)
    this.#writer = new ValueWriter(this.#scope, this.#codec, this.#recorder)
    this.#allGroup = name === undefined ? PREFIX_GROUP : namespaceGroup(name)
    this.#defaults = defaults
    this.#shared = shared === true
    this.#key = key ?? ((own) => own as Key)
    this.#groups = typeof group === 'function' ? group : undefined
  }

  /** The name of a value's key in Redis, for `redis-cli` and logs. */
  keyOf(key: K): string {
    return this.#scope.nameOf(this.#refs.key(this.#key(key)))
  }

  /** The value of a key while it is fresh, otherwise `undefined` or the default. `null` is a value. */
  get<T extends Out = Out, D = T>(key: K, options: GetOptions & { readonly default: D }): Promise<OrDefault<T, D>>
  get<T extends Out = Out>(key: K, options?: GetOptions): Promise<T | undefined>
  async get(key: K, options: GetOptions & { readonly default?: unknown } = NO_OPTIONS): Promise<unknown> {
    if (options?.memo !== undefined) {
      const ask = (): Promise<unknown> => this.get(key, { ...options, memo: undefined, default: NOT_FOUND })
      const found = await this.#remember(options.memo, 'get', key, options, ask)
      return found === NOT_FOUND ? options.default : found
    }
    const entry = await this.#entry('get', key, options)
    return entry.outcome === 'hit' ? entry.value : options.default
  }

  /** The value with its outcome, age and remaining lifetime, which tell a miss from an outage. */
  async getEntry<T extends Out = Out>(key: K, options?: ReadOptions): Promise<ValueEntry<T>>
  async getEntry(key: K, options: ReadOptions = NO_OPTIONS): Promise<ValueEntry<unknown>> {
    return this.#entry('getEntry', key, options)
  }

  /** Many values in the order of the keys, read with one round trip per 100. */
  getMany<T extends Out = Out, D = T>(
    keys: readonly K[],
    options: ReadOptions & { readonly default: D },
  ): Promise<OrDefault<T, D>[]>
  getMany<T extends Out = Out>(keys: readonly K[], options?: ReadOptions): Promise<(T | undefined)[]>
  async getMany(
    keys: readonly K[],
    options: ReadOptions & { readonly default?: unknown } = NO_OPTIONS,
  ): Promise<unknown[]> {
    const refs = keys.map((key) => this.#ref('getMany', key, options))
    const entries = await this.#reader.entries('getMany', refs, this.#isShared(options))
    return entries.map((entry) => (entry.outcome === 'hit' ? entry.value : options.default))
  }

  /** Whether there is a fresh value. */
  async has(key: K, options: ReadOptions = NO_OPTIONS): Promise<boolean> {
    return (await this.#entry('has', key, options)).outcome === 'hit'
  }

  /** Seconds for which the value, or the negative result, is still fresh. Infinity without expiry, undefined without a value. */
  async ttl(key: K, options: ReadOptions = NO_OPTIONS): Promise<number | undefined> {
    const entry = await this.#entry('ttl', key, options)
    return entry.outcome === 'hit' || (entry.outcome === 'negative' && entry.ttlMs > 0) ? entry.ttlMs / 1000 : undefined
  }

  /**
   * Stores a value. A load of the key that is under way in any process does not overwrite it. Throws ValueError if the
   * value cannot be encoded or the schema rejects it.
   */
  async set(key: K, value: In, options: SetOptions = NO_OPTIONS): Promise<SetResult> {
    const resolved = this.#resolve('set', key, options)
    const ref = this.#refs.ref(this.#key(key), resolved.groups)
    const encoded = await this.#writer.encode(this.#key(key), value)
    return this.#writer.set(ref, encoded, resolved, options.ifUnchangedSince)
  }

  /** Stores many values, or none if one of them cannot be encoded. Results are in the order of the items. */
  async setMany(items: Iterable<SetItem<K, In>>, options: ValueOptions = NO_OPTIONS): Promise<SetResult[]> {
    const base = this.#resolveCall('setMany', options)
    const encoding = Array.from(items, async ([key, value, ownOptions]) => {
      const all = ownOptions === undefined ? base : resolveOptions('options of setMany', ownOptions, base)
      const resolved = this.#withKeyGroups('setMany', key, all)
      const own = this.#key(key)
      return { ref: this.#refs.ref(own, resolved.groups), encoded: await this.#writer.encode(own, value), resolved }
    })
    const throttle = new Throttle()
    const stores = await Promise.all(encoding)
    return Promise.all(
      stores.map(({ ref, encoded, resolved }) => throttle.run(() => this.#writer.set(ref, encoded, resolved))),
    )
  }

  /** Removes a value; a load of it that is under way is not stored. */
  delete(key: K): Promise<Evicted> {
    return this.deleteMany([key])
  }

  async deleteMany(keys: readonly K[]): Promise<Evicted> {
    return this.#writer.evictPaths('delete', this.#paths(keys), 'hard')
  }

  /** Makes a value stale at once: within its `staleWhileRevalidate` it is served while it is reloaded. */
  async expire(key: K): Promise<Evicted> {
    return this.#writer.evictPaths('expire', this.#paths([key]), 'soft')
  }

  /** Invalidates all values of the namespace, of every version, at the cost of one group. */
  clear(): Promise<Evicted> {
    return this.evict('clear', { groups: [this.#allGroup] })
  }

  /** Makes all values of the namespace stale at once. */
  expireAll(): Promise<Evicted> {
    return this.evict('expireAll', { groups: [this.#allGroup], mode: 'soft' })
  }

  /**
   * For operators: deletes the values whose keys match, such as `'42:*'`, by scanning all keys of Redis in small steps.
   * Resolves with their number.
   */
  async deleteMatching(pattern: string, options?: ScanOptions): Promise<number> {
    return this.#writer.deleteMatching(this.#refs.pattern(pattern), options)
  }

  /**
   * Takes a stamp before a write whose result is to be stored with `set(key, value, { ifUnchangedSince })`. Name here the
   * groups that the value will have.
   */
  async beginWrite(key: K, options: ValueOptions = NO_OPTIONS): Promise<WriteStamp> {
    const resolved = this.#resolve('beginWrite', key, options)
    const ref = this.#refs.ref(this.#key(key), resolved.groups)
    const groupTtlMs = resolved.ttlMs + Math.max(resolved.staleIfErrorMs, resolved.staleWhileRevalidateMs)
    return new WriteStamp(ref.key, await this.#scope.beginWrite(ref, { groupTtlMs, budget: this.#context.budget?.() }))
  }

  /**
   * The value of a key, loaded if there is none: by one caller of all processes, while the others wait for its result.
   * The loader's errors go to its own caller (within `staleIfError` the stale value is returned instead). `undefined` is
   * not stored (see `negativeTtl`), and for a short time after it callers of the key load in parallel.
   */
  getOrSet<T extends In = In>(
    key: K,
    loader: Loader<T, ValueOf<Out, T>>,
    options: GetOrSetOptions & { readonly shared: true },
  ): Promise<Frozen<ValueOf<Out, T>>>
  getOrSet<T extends In = In>(
    key: K,
    loader: Loader<T, ValueOf<Out, T>>,
    options?: GetOrSetOptions,
  ): Promise<ValueOf<Out, T>>
  getOrSet(key: K, loader: AnyLoader, options: GetOrSetOptions = NO_OPTIONS): Promise<unknown> {
    if (options?.memo === undefined) return this.#getOrSet(key, loader, options)
    return this.#remember(options.memo, 'getOrSet', key, options, () => this.#getOrSet(key, loader, options))
  }

  /**
   * Many values: read together, and one call of the loader for those that are missing. Results are in the order of the
   * keys, a value or an error for each.
   */
  getOrSetMany<T extends In = In, N extends K = K>(
    keys: readonly N[],
    loader: BatchLoader<KeyOf<K, N>, T, ValueOf<Out, T>>,
    options?: GetOrSetManyOptions,
  ): Promise<PromiseSettledResult<ValueOf<Out, T>>[]>
  async getOrSetMany(
    keys: readonly K[],
    loader: AnyBatchLoader,
    options: GetOrSetManyOptions = NO_OPTIONS,
  ): Promise<PromiseSettledResult<unknown>[]> {
    checkLoader('getOrSetMany', loader)
    const items = this.#distinct('getOrSetMany', keys, options)
    const read = await this.#reader.lookup('getOrSetMany', items)
    const run: RunLoader = async (indexes, contexts, controller) => {
      const context: BatchContext = {
        items: contexts,
        get signal() {
          return controller.signal
        },
        store: (stored) => contexts.forEach((one) => one.store(stored)),
        noStore: () => contexts.forEach((one) => one.noStore()),
      }
      const names = indexes.map((index) => items[index]?.name)
      const values = await loader(names as never[], context as BatchContext<never>)
      if (Array.isArray(values) && values.length === names.length)
        return values.map((value: unknown) => (value instanceof Error ? new LoadFailure(value) : value))
      const must = `must return a list with a value for each of its ${names.length} keys`
      throw new UsageError(`The loader of getOrSetMany ${must}; it returned ${describeValue(values)}.`)
    }
    const wanted = {
      signal: options.signal,
      shared: this.#isShared(options),
      budget: () => this.#context.bulkBudget?.(),
    }
    const loads = this.#loader.load(
      read.map((item, index) => ({ ...item, ...wanted, index })),
      run,
    )
    const results: PromiseSettledResult<unknown>[] = []
    const settled = await Promise.allSettled(loads)
    settled.forEach((result, index) => items[index]?.positions.forEach((position) => (results[position] = result)))
    return results
  }

  /** A hit from memory takes no turn of the event loop: nothing is awaited that is there already. */
  async #getOrSet(key: K, loader: AnyLoader, options: GetOrSetOptions): Promise<unknown> {
    const resolved = this.#resolve('getOrSet', key, options)
    const own = this.#key(key)
    const ref = this.#refs.ref(own, resolved.groups)
    const shared = this.#isShared(options)
    const now = this.#scope.now()
    const budget = this.#context.budget?.()
    const timer = this.#recorder.start('getOrSet')
    const looking = timer.run(() => this.#scope.lookup(ref, now, budget))
    const lookup = isPromise(looking) ? await looking : looking
    if (lookup.state === 'valid' && !lookup.softened && now < lookup.entry.freshUntil) {
      const decoding = this.#codec.recall(lookup.entry, shared) ?? this.#codec.decode(lookup.entry, shared)
      const decoded = isPromise(decoding) ? await decoding : decoding
      if (isKnown(decoded)) {
        const reason = decoded.state === 'value' ? 'fresh' : 'negative'
        timer.found({ outcome: 'hit', reason, entry: lookup.entry, place: ref })
        return decoded.value
      }
    }
    checkLoader('getOrSet', loader)
    const { signal } = options
    const wanted = { key: own, ref, options: resolved, lookup, budget: () => budget, signal, shared, timer, index: 0 }
    const run: RunLoader = (_, contexts) =>
      Promise.all(contexts.map(async (context) => loader(context as LoaderContext<never>)))
    return this.#loader.load([wanted], run)[0]
  }

  /** @internal Invalidates and counts it as an operation of this namespace. */
  protected evict(operation: string, target: InvalidationTarget): Promise<Evicted> {
    return this.#writer.evict(operation, target)
  }

  #resolve(operation: string, key: K, options: LoadOptions): ResolvedValueOptions {
    const resolved = this.#resolveCall(operation, options)
    return this.#groups === undefined ? resolved : this.#withKeyGroups(operation, key, resolved)
  }

  #resolveCall(operation: string, options: LoadOptions): ResolvedValueOptions {
    if (options === NO_OPTIONS) return this.#defaults
    if (this.#last !== undefined && sameOptions(options, this.#last.options)) return this.#last.resolved
    const resolved = resolveOptions(`options of ${operation}`, options, this.#defaults)
    this.#last = { options: pickOptions(options), resolved }
    return resolved
  }

  #withKeyGroups(operation: string, key: K, resolved: ResolvedValueOptions): ResolvedValueOptions {
    if (this.#groups === undefined) return resolved
    return withGroups(`groups of ${operation}`, resolved, this.#groups(key))
  }

  #ref(operation: string, key: K, options: ReadOptions): EntryRef {
    const { groups } =
      options === NO_OPTIONS && this.#groups === undefined ? this.#defaults : this.#resolve(operation, key, options)
    return this.#refs.ref(this.#key(key), groups)
  }

  #paths(keys: readonly K[]): readonly string[] {
    return keys.map((key) => this.#refs.key(this.#key(key)))
  }

  #isShared({ shared }: ReadOptions): boolean {
    return shared ?? this.#shared
  }

  /** Shared and unshared values are remembered apart: one is frozen, the other is the caller's to change. */
  async #remember(
    owner: object,
    operation: string,
    key: K,
    options: ReadOptions,
    ask: () => Promise<unknown>,
  ): Promise<unknown> {
    const question = this.#isShared(options) ? `shared ${operation}` : operation
    return this.#context.memo.answer(owner, question, this.#refs.key(this.#key(key)), ask)
  }

  /** The different keys of a call, each with its positions among them. */
  #distinct(operation: string, keys: readonly K[], options: LoadOptions): Item<K>[] {
    const base = this.#resolveCall(operation, options)
    const items = new Map<string, Item<K>>()
    keys.forEach((name, position) => {
      const key = this.#key(name)
      const resolved = this.#withKeyGroups(operation, name, base)
      const ref = this.#refs.ref(key, resolved.groups)
      const known = items.get(ref.key)
      if (known === undefined) items.set(ref.key, { name, key, ref, options: resolved, positions: [position] })
      else known.positions.push(position)
    })
    return [...items.values()]
  }

  #entry(operation: string, key: K, options: ReadOptions): Promise<ValueEntry<unknown>> {
    return this.#reader.entry(operation, this.#ref(operation, key, options), this.#isShared(options))
  }
}

/** One of the different keys of a call. */
interface Item<K> {
  readonly name: K
  readonly key: Key
  readonly ref: EntryRef
  readonly options: ResolvedValueOptions
  readonly positions: number[]
}

const NOT_FOUND = Symbol('not found')
