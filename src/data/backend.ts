import type { CacheScope, Evicted } from '../cache/cache-scope.js'
import type { ExplainRequest, Explanation } from '../cache/explanation.js'
import { type Key, type KeyPart, NO_PARTS, type PathOptions, plainPathKey, sentUrl } from '../cache/key.js'
import { describeValue, OptionsError, unknownOptions, UsageError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { CacheStats } from '../telemetry/stats.js'
import { type Budgets, RequestMemo, scan } from './engine.js'
import { type DataContext, Namespace } from './namespace.js'
import { defaultOptions, encodedGroups } from './options.js'
import type { Frozen, NamespaceOptions, ScanOptions, SchemaInput, SchemaOutput, StandardSchema } from './types.js'

const NO_BUDGETS: Budgets = { budget: undefined, bulkBudget: undefined }

/** How long closing waits for refreshes. */
const SETTLE_MS = 5000

type Sharing = { readonly shared: true }

/** How the results of a function are cached. */
export type MemoizeOptions<Args extends readonly unknown[]> = Omit<
  NamespaceOptions<Args>,
  'key' | 'group' | 'shared'
> & {
  /** Name of the namespace: the same for the same function in every process and version of the application. */
  readonly name: string
  /** Groups of a result, or a function of the arguments that returns them. */
  readonly group?: string | readonly string[] | ((...args: Args) => string | readonly string[]) | undefined
} & KeyOption<Args>

/** Arguments that are key parts are the key by themselves; others need a function that returns one. */
type KeyOption<Args extends readonly unknown[]> = Args extends readonly (KeyPart | undefined)[]
  ? { readonly key?: ((...args: Args) => Key) | undefined }
  : { readonly key: (...args: Args) => Key }

interface MemoizeKey<Args extends readonly unknown[]> {
  readonly key?: ((...args: Args) => Key) | undefined
}

/** A function whose results are cached. */
export interface Memoized<Args extends readonly unknown[], R> {
  (...args: Args): Promise<R>
  /** Removes the result for these arguments, in every process. */
  delete(...args: Args): Promise<Evicted>
  /** Removes all results. */
  clear(): Promise<Evicted>
  /** The results themselves. */
  readonly cache: Namespace<Args, R>
}

/** The data cache: values that share store and groups with the cached routes. Redis errors never throw. */
export class CacheBackend extends Namespace {
  readonly #context: DataContext
  #explain: ((request: ExplainRequest) => Promise<Explanation>) | undefined
  #pathsOf: ((url: string, options: PathOptions) => readonly string[]) | undefined

  /** @internal Use `createRedis()` or a framework's plugin. */
  constructor(scope: CacheScope, defaultTtlMs: number, logger: Logger, budgets: Budgets = NO_BUDGETS) {
    const context = {
      scope,
      memo: new RequestMemo(scope.changes),
      logger,
      defaults: defaultOptions(defaultTtlMs),
      ...budgets,
    }
    super(context, undefined, {})
    this.#context = context
  }

  /**
   * Values of one kind, with their own schema, lifetime, version and coder; `clear()` invalidates them all at once.
   *
   * @example
   * const users = redis.cache.namespace('users', { schema: User, ttl: '10m', jitter: 0.1, version: 2 })
   * const user = await users.getOrSet(42, () => db.user(42))
   * @example
   * const reports = redis.cache.namespace<number, Report>('reports', { ttl: '1h' })
   */
  namespace<S extends StandardSchema, K = Key>(
    name: string,
    options: NamespaceOptions<K> & Sharing & { readonly schema: S },
  ): Namespace<K, SchemaInput<S>, Frozen<SchemaOutput<S>>>
  namespace<S extends StandardSchema, K = Key>(
    name: string,
    options: NamespaceOptions<K> & { readonly schema: S },
  ): Namespace<K, SchemaInput<S>, SchemaOutput<S>>
  namespace<K = Key, V = unknown>(
    name: string,
    options: NamespaceOptions<K> & Sharing & { readonly schema?: undefined },
  ): Namespace<K, V, Frozen<V>>
  namespace<K = Key, V = unknown>(
    name: string,
    options?: NamespaceOptions<K> & { readonly schema?: undefined },
  ): Namespace<K, V>
  namespace<K>(name: string, options: NamespaceOptions<K> = {}): Namespace<K> {
    return new Namespace<K>(this.#context, name, options)
  }

  /**
   * Returns the function with caching: calls with equal arguments return one result, across all processes.
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
    if (typeof fn !== 'function')
      throw new OptionsError('arguments of memoize', ['the first argument must be a function'])
    const { name, key, group, ...options } = policy as MemoizeOptions<Args> & MemoizeKey<Args>
    const cache = this.namespace<Args, Awaited<R>>(name, {
      ...options,
      schema: undefined,
      key: (args) => (key === undefined ? keyOfArguments(args) : key(...args)),
      group: typeof group === 'function' ? (args) => group(...args) : group,
    })
    const load = fn as (...args: Args) => Awaited<R> | Promise<Awaited<R>>
    const memoized = (...args: Args) => cache.getOrSet(args, () => load(...args)) as Promise<Awaited<R>>
    return Object.assign(memoized, {
      delete: (...args: Args) => cache.delete(args),
      clear: () => cache.clear(),
      cache,
    })
  }

  /** Invalidates every entry, value or response, that is in one of the groups. Costs the same for one entry and a million. */
  async deleteGroup(group: string | readonly string[]): Promise<Evicted> {
    return this.evict('deleteGroup', { groups: encodedGroups('deleteGroup', group) })
  }

  /** Makes every entry in one of the groups stale at once: within its `staleWhileRevalidate` it is served while it is reloaded. */
  async expireGroup(group: string | readonly string[]): Promise<Evicted> {
    return this.evict('expireGroup', { groups: encodedGroups('expireGroup', group), mode: 'soft' })
  }

  /**
   * Invalidates the cached responses of a URL, with all variants and for all principals unless options select some, and
   * of a URL without a query those with every query. Works in any process; name the `prefix` if the routes have one.
   *
   * @example
   * await redis.cache.deletePath('/products/42')
   */
  async deletePath(url: string, options: PathOptions = {}): Promise<Evicted> {
    if (typeof url !== 'string' || !(url.startsWith('/') || URL.canParse(url)))
      throw new OptionsError('arguments of deletePath', [`${describeValue(url)} is not a URL; write '/products/42'`])
    const problems = unknownOptions(options, ['host', 'per', 'prefix'])
    if (problems.length > 0) throw new OptionsError('options of deletePath', problems)
    if (this.#pathsOf !== undefined) return this.#context.scope.evict({ paths: this.#pathsOf(sentUrl(url), options) })
    return this.evict('deletePath', { paths: [plainPathKey(url, options)] })
  }

  /**
   * Removes entries that no reader can accept, looking at `count` keys in a step; resolves with their number. Entries
   * with a lifetime expire by themselves: this is for those without one.
   */
  sweep(options?: ScanOptions): Promise<number> {
    return scan(options, (cursor, count) => this.#context.scope.sweep(cursor, count))
  }

  /**
   * What the route cache would do with a request, and why; nothing runs and nothing is stored. Rejects with UsageError
   * if no cached route of this application matches it.
   */
  async explain(request: ExplainRequest): Promise<Explanation> {
    if (this.#explain === undefined) throw new UsageError('This application has no cached routes to explain.')
    return this.#explain(request)
  }

  /** @internal */
  explainWith(explain: (request: ExplainRequest) => Promise<Explanation>): void {
    this.#explain = explain
  }

  /** @internal The routes of this application know under which keys they cache a URL. */
  findPathsWith(pathsOf: (url: string, options: PathOptions) => readonly string[]): void {
    this.#pathsOf = pathsOf
  }

  /** @internal Keys under which the routes of this application cache a URL. Undefined: it has no routes. */
  pathsOf(url: string, options: PathOptions): readonly string[] | undefined {
    return this.#pathsOf?.(sentUrl(url), options)
  }

  /** Hits, misses by reason, stores and latency of routes and namespaces, since the start or the last `resetStats`. */
  stats(): CacheStats {
    return this.#context.scope.telemetry.stats()
  }

  /** Sets the numbers of `stats` to zero. OpenTelemetry's counters continue. */
  resetStats(): void {
    this.#context.scope.telemetry.reset()
  }

  /** Resolves when no response is being stored and no background refresh runs, or after this many milliseconds (default 5000). */
  settled(limitMs: number = SETTLE_MS): Promise<void> {
    return this.#context.scope.background.settled(limitMs)
  }
}

/** Optional arguments that were left out are not part of the key. */
function keyOfArguments(args: readonly unknown[]): Key {
  const given = args.findLastIndex((arg) => arg !== undefined) + 1
  return given === 0 ? NO_PARTS : (args.slice(0, given) as readonly KeyPart[])
}
