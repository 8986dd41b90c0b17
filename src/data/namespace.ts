import type { CacheScope, Evicted } from '../cache/cache-scope.js'
import { type Key, namespaceGroup, PREFIX_GROUP } from '../cache/key.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import { WriteStamp } from '../cache/write.js'
import { describeValue, OptionsError, UNDEFINED_TTL, UsageError } from '../errors.js'
import type { Logger } from '../logger.js'
import { isPromise } from '../maybe-promise.js'
import { type Budgets, lifetimeOf, type RequestMemo, Throttle, ValueEngine } from './engine.js'
import { LoadFailure, type RunLoader, ValueLoader, type Wanted } from './loader.js'
import {
  checkLoader,
  pickOptions,
  type ResolvedValueOptions,
  resolveNamespace,
  resolveOptions,
  sameOptions,
  withGroups,
} from './options.js'
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
import { type EncodedValue, isKnown, ValueCodec, ValueRefs } from './stored-value.js'

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
  /** Name, the same in keys, statistics and events. */
  readonly name: string
  readonly #context: DataContext
  readonly #engine: ValueEngine
  readonly #loader: ValueLoader
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
    const { coder, schema, version, key, group, shared = false } = options
    this.name = name ?? ''
    this.#context = context
    const { scope, logger } = context
    if ('ttl' in options && options.ttl === undefined)
      logger.warn(`redwell: namespace '${this.name}': ${UNDEFINED_TTL}`)
    const refs = new ValueRefs(this.name, version)
    const codec = new ValueCodec({ coder, schema, compressor, logger }, refs)
    this.#engine = new ValueEngine(scope, refs, codec, scope.telemetry.namespace(this.name), context)
    this.#loader = new ValueLoader(this.#engine)
    this.#allGroup = name === undefined ? PREFIX_GROUP : namespaceGroup(name)
    this.#defaults = defaults
    this.#shared = shared
    this.#key = key ?? ((own) => own as Key)
    this.#groups = typeof group === 'function' ? group : undefined
    scope.groupNames.declare(group)
  }

  /** The name of a value's key in Redis, for `redis-cli` and logs. */
  keyOf(key: K): string {
    return this.#context.scope.nameOf(this.#path(key))
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

  /** The value with its outcome, age and remaining lifetime; distinguishes a miss from an outage. */
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
    const base = this.#resolve('getMany', options)
    const refs = keys.map((key) => this.#item('getMany', key, base).ref)
    const entries = await this.#engine.entries('getMany', refs, this.#isShared(options))
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
    const item = this.#item('set', key, this.#resolve('set', options))
    const encoded = await this.#encode(item, value)
    return this.#engine.set(item.ref, encoded, item.options, options.ifUnchangedSince)
  }

  /** Stores many values, or none if one of them cannot be encoded. Results are in the order of the items. */
  async setMany(items: Iterable<SetItem<K, In>>, options: ValueOptions = NO_OPTIONS): Promise<SetResult[]> {
    const base = this.#resolve('setMany', options)
    const encoding = Array.from(items, async ([key, value, ownOptions]) => {
      const all = ownOptions === undefined ? base : resolveOptions('options of setMany', ownOptions, base)
      const item = this.#item('setMany', key, all)
      return { ...item, encoded: await this.#encode(item, value) }
    })
    const throttle = new Throttle()
    const stores = await Promise.all(encoding)
    return Promise.all(
      stores.map(({ ref, encoded, options: own }) => throttle.run(() => this.#engine.set(ref, encoded, own))),
    )
  }

  /** Removes a value; a load of it that is under way is not stored. */
  delete(key: K): Promise<Evicted> {
    return this.deleteMany([key])
  }

  /** Removes values; loads of them that are under way are not stored. */
  async deleteMany(keys: readonly K[]): Promise<Evicted> {
    const paths = keys.map((key) => this.#path(key))
    return this.#engine.evictPaths('delete', paths, 'hard')
  }

  /** Makes a value stale at once: within its `staleWhileRevalidate` it is served while it is reloaded. */
  async expire(key: K): Promise<Evicted> {
    return this.#engine.evictPaths('expire', [this.#path(key)], 'soft')
  }

  /**
   * Invalidates all values of the namespace, of every version, at the cost of one group. On the cache itself it
   * invalidates everything under the prefix, responses too.
   */
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
    return this.#engine.deleteMatching(this.#engine.refs.pattern(pattern), options)
  }

  /**
   * Takes a stamp before a write whose result is to be stored with `set(key, value, { ifUnchangedSince })`. Name here
   * the groups that the value will have.
   */
  async beginWrite(key: K, options: ValueOptions = NO_OPTIONS): Promise<WriteStamp> {
    const { ref, options: resolved } = this.#item('beginWrite', key, this.#resolve('beginWrite', options))
    const { scope, budget } = this.#context
    const write = await scope.beginWrite(ref, { groupTtlMs: lifetimeOf(resolved), budget: budget?.() })
    return new WriteStamp(ref.key, write)
  }

  /**
   * The value of a key, loaded if there is none: by one caller of all processes, while the others wait for its result.
   * The loader's errors go to its own caller (within `staleIfError` the stale value is returned instead). `undefined`
   * is not stored (see `negativeTtl`), and for a short time after it callers of the key load in parallel.
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
    const base = this.#resolve('getOrSetMany', options)
    const items = keys.map((key) => this.#item('getOrSetMany', key, base))
    const distinct = new Map<string, Item>()
    for (const item of items) if (!distinct.has(item.ref.key)) distinct.set(item.ref.key, item)
    const read = await this.#engine.lookup('getOrSetMany', [...distinct.values()])
    const run: RunLoader = async (wanted, contexts, controller) => {
      const context: BatchContext = {
        items: contexts,
        get signal() {
          return controller.signal
        },
        store: (stored) => contexts.forEach((one) => one.store(stored)),
        noStore: () => contexts.forEach((one) => one.noStore()),
      }
      const names = wanted.map(({ name }) => name)
      const values = await loader(names as never[], context as BatchContext<never>)
      if (Array.isArray(values) && values.length === names.length)
        return values.map((value: unknown) => (value instanceof Error ? new LoadFailure(value) : value))
      const must = `must return a list with a value for each of its ${names.length} keys`
      throw new UsageError(`The loader of getOrSetMany ${must}; it returned ${describeValue(values)}.`)
    }
    const { signal } = options
    const call = { signal, shared: this.#isShared(options), budget: () => this.#context.bulkBudget?.() }
    const loads = await this.#loader.load(
      read.map((item) => ({ ...item, ...call })),
      run,
    )
    const settled = await Promise.allSettled(loads)
    const results = new Map(read.map(({ ref }, index) => [ref.key, settled[index]]))
    return items.flatMap(({ ref }) => results.get(ref.key) ?? [])
  }

  /** A hit from memory takes no turn of the event loop: nothing is awaited that is there already. */
  async #getOrSet(key: K, loader: AnyLoader, options: GetOrSetOptions): Promise<unknown> {
    const { scope, codec, recorder, refs } = this.#engine
    const resolved = this.#resolveFor('getOrSet', key, this.#resolve('getOrSet', options))
    const own = this.#key(key)
    const ref = refs.ref(own, resolved.groups)
    const shared = this.#isShared(options)
    const now = scope.now()
    const budget = this.#context.budget?.()
    const timer = recorder.start('getOrSet')
    const looking = timer.run(() => scope.lookup(ref, now, budget))
    const lookup = isPromise(looking) ? await looking : looking
    if (lookup.state === 'valid' && !lookup.softened && now < lookup.entry.freshUntil) {
      const decoding = codec.recall(lookup.entry, shared) ?? codec.decode(lookup.entry, shared)
      const decoded = isPromise(decoding) ? await decoding : decoding
      if (isKnown(decoded)) {
        const reason = decoded.state === 'value' ? 'fresh' : 'negative'
        timer.found({ outcome: 'hit', reason, entry: lookup.entry, ref })
        return decoded.value
      }
    }
    checkLoader('getOrSet', loader)
    const { signal } = options
    const wanted = { name: key, key: own, ref, options: resolved, lookup, budget: () => budget, signal, shared, timer }
    const [loading] = await this.#loader.load([wanted], (_, contexts) =>
      Promise.all(contexts.map(async (context) => loader(context as LoaderContext<never>))),
    )
    return loading
  }

  /** @internal Invalidates and counts it as an operation of this namespace. */
  protected evict(operation: string, target: InvalidationTarget): Promise<Evicted> {
    return this.#engine.evict(operation, target)
  }

  #resolve(operation: string, options: LoadOptions): ResolvedValueOptions {
    if (options === NO_OPTIONS) return this.#defaults
    if (this.#last !== undefined && sameOptions(options, this.#last.options)) return this.#last.resolved
    const resolved = resolveOptions(`options of ${operation}`, options, this.#defaults)
    if ('ttl' in options && options.ttl === undefined && this.#last === undefined)
      this.#context.logger.warn(
        `redwell: ${operation}${this.name === '' ? '' : ` of '${this.name}'`}: ${UNDEFINED_TTL}`,
      )
    this.#last = { options: pickOptions(options), resolved }
    return resolved
  }

  /** With the groups that the namespace has for the key. */
  #resolveFor(operation: string, key: K, base: ResolvedValueOptions): ResolvedValueOptions {
    return this.#groups === undefined ? base : withGroups(`groups of ${operation}`, base, this.#groups(key))
  }

  #item(operation: string, name: K, base: ResolvedValueOptions): Item {
    const options = this.#resolveFor(operation, name, base)
    const key = this.#key(name)
    return { name, key, ref: this.#engine.refs.ref(key, options.groups), options }
  }

  #path(key: K): string {
    return this.#engine.refs.key(this.#key(key))
  }

  /** The stored form of a value. Throws ValueError if the schema or the coder rejects it. */
  async #encode({ key }: Item, value: unknown): Promise<EncodedValue> {
    return this.#engine.codec.encode(key, await this.#engine.codec.check(key, value))
  }

  #isShared({ shared }: ReadOptions): boolean {
    // Options that equal those of the last call are not checked again, and this one is not compared.
    if (shared !== undefined && typeof shared !== 'boolean')
      throw new OptionsError(`options of a call of ${this.name === '' ? 'cache' : this.name}`, [
        `shared: ${describeValue(shared)} must be true or false`,
      ])
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
    if (Object(owner) !== owner)
      throw new OptionsError(`options of ${operation}`, [
        `memo: ${describeValue(owner)} must be an object, such as the request`,
      ])
    const question = this.#isShared(options) ? `shared ${operation}` : operation
    return this.#context.memo.answer(owner, question, this.#path(key), ask)
  }

  async #entry(operation: string, key: K, options: ReadOptions): Promise<ValueEntry<unknown>> {
    const { ref } = this.#item(operation, key, this.#resolve(operation, options))
    return this.#engine.entry(operation, ref, this.#isShared(options))
  }
}

/** One of the keys of a call. */
type Item = Pick<Wanted, 'name' | 'key' | 'ref' | 'options'>

const NOT_FOUND = Symbol('not found')
