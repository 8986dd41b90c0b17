import type { Evicted, CacheScope, InvalidationTarget } from '../cache/cache-scope.js'
import { groupProblem, namespaceGroup } from '../cache/group.js'
import type { Key } from '../cache/key.js'
import type { WriteStamp } from '../cache/write.js'
import { OptionsError } from '../errors.js'
import type { Logger } from '../logger.js'
import { Many } from './batch.js'
import type { Coder } from './coder.js'
import { type CompressionOptions, type Compressor, resolveCompression } from './compression.js'
import type { Loader } from './loader.js'
import { deleteMatching, type MatchOptions } from './matching.js'
import {
  type BatchLoader,
  checkValueOptions,
  type GetOptions,
  type GetOrSetManyOptions,
  type GetOrSetOptions,
  type LoadOptions,
  type ReadOptions,
  type ResolvedValueOptions,
  type SetItem,
  type SetOptions,
  type SetResult,
  type ValueEntry,
  type ValueOptions,
} from './options.js'
import { type Shared, ValueCache, type ValueDefaults } from './value-cache.js'
import { schemaProblem, type StandardSchema, Values } from './values.js'

/** Values of one kind: `K` names them, `In` is stored, `Out` is read. Redis trouble never throws. */
export class Namespace<K = Key, In = unknown, Out = In> {
  readonly name: string
  readonly #space: CacheScope
  readonly #cache: ValueCache
  readonly #many: Many<K>
  readonly #key: (key: K) => Key
  readonly #groups: ((key: K) => string | readonly string[]) | undefined

  /** @internal Made by `cache.namespace()`. */
  constructor(shared: Shared, name: string, options: NamespaceOptions<K>, base: ResolvedValueOptions, logger: Logger) {
    const { values, defaults } = resolveNamespace(name, options, base, logger)
    this.name = name
    this.#space = shared.space
    this.#cache = new ValueCache(shared, values, defaults)
    this.#key = options.key ?? ((key) => key as Key)
    this.#groups = typeof options.group === 'function' ? options.group : undefined
    const groups = (key: K): readonly string[] => this.#groupsOf(key)
    this.#many = new Many(this.#cache, shared, { key: this.#key, groups })
  }

  /** The name of a value's key in Redis, for `redis-cli` and logs. */
  keyOf(key: K): string {
    return this.#cache.keyOf(this.#key(key))
  }

  /** The value of a key while it is fresh, or `undefined` (or the default). `null` is a value. */
  get<D>(key: K, options: GetOptions & { readonly default: D }): Promise<Out | D>
  get(key: K, options?: GetOptions): Promise<Out | undefined>
  async get(key: K, options?: GetOptions): Promise<unknown> {
    return this.#cache.get(this.#key(key), this.#grouped(key, options))
  }

  /** The value with its outcome, age and remaining lifetime, so that a miss and an outage can be told apart. */
  async getEntry(key: K, options?: ReadOptions): Promise<ValueEntry<Out>> {
    return this.#cache.getEntry(this.#key(key), this.#grouped(key, options)) as Promise<ValueEntry<Out>>
  }

  /** Many values in one trip, in the order of the keys. */
  getMany<D>(keys: readonly K[], options: ReadOptions & { readonly default: D }): Promise<(Out | D)[]>
  getMany(keys: readonly K[], options?: ReadOptions): Promise<(Out | undefined)[]>
  getMany(keys: readonly K[], options: ReadOptions & { readonly default?: unknown } = {}): Promise<unknown[]> {
    return this.#many.get(keys, options)
  }

  /** Stores a value. A fill of the same key that is under way anywhere will not overwrite it. Throws ValueError where the schema or the coder refuses it. */
  async set(key: K, value: In, options?: SetOptions): Promise<SetResult> {
    return this.#cache.set(this.#key(key), value, this.#grouped(key, options))
  }

  /** Stores many values in one pipeline; none where one of them is refused. Results are in the order of the items. */
  async setMany(items: Iterable<SetItem<K, In>>, options?: ValueOptions): Promise<SetResult[]> {
    const named = Array.from(items, ([key, value, own]) => [this.#key(key), value, this.#grouped(key, own)] as const)
    return this.#cache.setMany(named, options)
  }

  /** Whether there is a fresh value. */
  async has(key: K, options?: ReadOptions): Promise<boolean> {
    return (await this.#cache.getEntry(this.#key(key), this.#grouped(key, options), 'has')).outcome === 'hit'
  }

  /** Seconds for which the value (or the knowledge that there is none) is still fresh; Infinity without an end, undefined where there is none. */
  async ttl(key: K, options?: ReadOptions): Promise<number | undefined> {
    return this.#cache.ttl(this.#key(key), this.#grouped(key, options))
  }

  /** Removes a value; a load of it that is under way will not be stored. */
  async delete(key: K): Promise<Evicted> {
    return this.#cache.evict([this.#key(key)], 'hard')
  }

  async deleteMany(keys: readonly K[]): Promise<Evicted> {
    return this.#cache.evict(
      keys.map((key) => this.#key(key)),
      'hard',
    )
  }

  /** Makes a value stale at once: within its `staleWhileRevalidate` it is served while it is loaded anew. */
  async expire(key: K): Promise<Evicted> {
    return this.#cache.evict([this.#key(key)], 'soft')
  }

  /** Invalidates all values of the namespace, of every version, at the cost of one group. */
  clear(): Promise<Evicted> {
    return this.#evict('clear', { groups: [namespaceGroup(this.name)] })
  }

  /** Makes all values of the namespace stale at once. */
  expireAll(): Promise<Evicted> {
    return this.#evict('expireAll', { groups: [namespaceGroup(this.name)], mode: 'soft' })
  }

  /** For operators: deletes the values whose keys match, such as `'42:*'`, by going through all keys of Redis in small steps. Gives how many went. */
  async deleteMatching(pattern: string, options?: MatchOptions): Promise<number> {
    return deleteMatching(this.#space, this.#cache.values.pattern(pattern), options)
  }

  /** Before a write whose result is to be stored: `set(key, value, { ifUnchangedSince })`. Use it with `await using`. */
  async announce(key: K): Promise<WriteStamp> {
    return this.#cache.announce(this.#key(key))
  }

  /**
   * The value of a key, loaded when there is none: by one caller of all processes, while the others wait for it.
   * What the loader throws goes to its own caller (or, within `staleIfError`, yields the stale value); the next caller tries again.
   */
  async getOrSet(key: K, loader: Loader<In, Out>, options?: GetOrSetOptions): Promise<Out> {
    const load = loader as unknown as Loader<Out>
    return this.#cache.getOrSet(this.#key(key), load, this.#grouped(key, options))
  }

  /** Many values: one trip to read them, one call of the loader for those that are not there; a result or an error for each key. */
  getOrSetMany(
    keys: readonly K[],
    loader: BatchLoader<K, In, Out>,
    options: GetOrSetManyOptions = {},
  ): Promise<PromiseSettledResult<Out>[]> {
    return this.#many.getOrSet(keys, loader as unknown as BatchLoader<K, Out>, options)
  }

  #evict(operation: string, target: InvalidationTarget): Promise<Evicted> {
    return this.#cache.recorder.evict(operation, target, (named) => this.#space.evict(named))
  }

  #groupsOf(key: K): readonly string[] {
    const groups = this.#groups?.(key) ?? []
    return typeof groups === 'string' ? [groups] : groups
  }

  #grouped<O extends { readonly group?: string | readonly string[] | undefined }>(
    key: K,
    options: O | undefined,
  ): O | undefined {
    const groups = this.#groupsOf(key)
    if (groups.length === 0) return options
    const own = options?.group ?? []
    return { ...(options as O), group: [...groups, ...(typeof own === 'string' ? [own] : own)] }
  }
}

/** What holds for all values of a namespace; calls may say otherwise, and their groups add up. */
export interface NamespaceOptions<K = Key> extends Omit<LoadOptions, 'group'> {
  /** Groups that all values are in, or a function of the key that names them. */
  group?: string | readonly string[] | ((key: K) => string | readonly string[]) | undefined
  /** Part of every key: values of another version are never met, so that a deploy is a miss and not a crash. */
  version?: number | string | undefined
  /** How values become bytes. Default JSON. A `Uint8Array` is kept as it is by every coder, and read as a Buffer. */
  coder?: Coder | undefined
  /** Compress values of 4 KiB and more (Brotli), or as said. Default false. */
  compression?: boolean | CompressionOptions | undefined
  /** Checks values when they are stored and when they are read. What it gives is what is stored; what it refuses when read is a miss. */
  schema?: StandardSchema | undefined
  /** The parts of a key, from the identifier that callers use. */
  key?: ((key: K) => Key) | undefined
  /** True: values are deep-frozen, and as long as one is in this process' memory everybody is given the same object. Default false. */
  shared?: boolean | undefined
}

/** Checked options of a namespace. */
export interface ResolvedNamespace {
  readonly values: Values
  readonly defaults: ValueDefaults
}

/** Throws OptionsError with every problem. */
export function resolveNamespace<K>(
  name: string,
  options: NamespaceOptions<K>,
  base: ResolvedValueOptions,
  logger: Logger,
): ResolvedNamespace {
  const problems: string[] = []
  const { group, coder, schema, version } = options
  const nameProblem = groupProblem(name)
  if (nameProblem !== undefined) problems.push(`name: ${nameProblem.replace('group', 'namespace')}`)
  if (schema !== undefined) problems.push(...[schemaProblem(schema)].filter((problem) => problem !== undefined))
  problems.push(...coderProblems(coder), ...versionProblems(version))
  if (options.key !== undefined && typeof options.key !== 'function') problems.push('key: must be a function')
  const compressor: Compressor = resolveCompression(options.compression, problems)
  const fixed = { ...options, group: typeof group === 'function' ? undefined : group }
  const resolved = checkValueOptions(fixed, base, problems)
  if (problems.length > 0) throw new OptionsError(`options of namespace '${name}'`, problems)
  const onInvalid = once((reason) => logger.warn(invalidMessage(name, reason)))
  const values = new Values({ namespace: name, version, coder, schema, compressor, onInvalid })
  return { values, defaults: { options: resolved, shared: options.shared === true } }
}

function coderProblems(coder: unknown): string[] {
  if (coder === undefined) return []
  const { name, encode, decode } = (coder ?? {}) as Partial<Coder>
  const problems: string[] = []
  if (typeof encode !== 'function' || typeof decode !== 'function')
    problems.push('coder: needs a name, encode(value) and decode(bytes)')
  // It stands in the entry's header lines, which are latin1.
  if (typeof name !== 'string' || !/^[\x20-\x7e]+$/.test(name)) problems.push('coder: its name must be printable ASCII')
  return problems
}

function versionProblems(version: unknown): string[] {
  const good =
    version === undefined || (typeof version === 'number' && Number.isFinite(version)) || typeof version === 'string'
  return good ? [] : ['version: must be a number or a text']
}

function invalidMessage(name: string, reason: string): string {
  return `redwell: a stored value of namespace '${name}' fails its schema ${reason}; it is a miss. Raise the namespace's \`version\` with its schema; this is said once`
}

function once(say: (reason: string) => void): (reason: string) => void {
  let said = false
  return (reason) => {
    if (said) return
    said = true
    say(reason)
  }
}
