import { createRedis, type Redis, type RedisOptions } from '../create-redis.js'
import { describeValue, OptionsError } from '../errors.js'
import { prefixProblem } from '../redis/resolve-settings.js'
import type { CachedRoute } from '../route/cached-route.js'
import {
  type CacheEvictOptions,
  type CacheOptions,
  type CachePutOptions,
  type PrincipalOf,
  resolveEvictPolicy,
  resolvePolicy,
  type RouteDefaults,
} from '../route/options.js'
import { type Declared, type HostTraits, RouteRegistry } from '../route/registry.js'
import type { WriteRoute } from '../route/write-session.js'

/** Options of an adapter: the settings of `createRedis`, or a handle that exists already. */
export interface AdapterOptions<Req> extends RedisOptions {
  /** Use this handle; you remain responsible for closing it. */
  readonly redis?: Redis | undefined
  /**
   * Function of the request that returns who asks, such as the id of a signed-in user; `undefined` for an anonymous
   * request. From then on no route shares an entry between principals unless it says `per` or `shared`. Called at each
   * lookup, and again when a handler has answered a request without a principal. Default: none.
   */
  readonly principal?: PrincipalOf<Req> | undefined
}

/** A Redis and what ends it. */
export interface AdapterRedis extends AsyncDisposable {
  /** The handle: connection and cache. */
  readonly redis: Redis
  /** Ends refreshes and the connection. A handle that was given stays open. Call it when the server has closed. */
  close(): Promise<void>
}

export function openRedis<Req>({ redis: given, principal, ...settings }: AdapterOptions<Req>): AdapterRedis {
  if (principal !== undefined && typeof principal !== 'function') {
    throw new OptionsError('options of redwell', [
      `principal: ${describeValue(principal)} must be a function of the request`,
    ])
  }
  const redis = given ?? createRedis(settings)
  const close = (): Promise<void> => (given === undefined ? redis.close() : redis.cache.settled())
  return { redis, close, [Symbol.asyncDispose]: close }
}

/** An application: its routes, and what its framework is like. */
export interface Host {
  readonly routes: RouteRegistry
  readonly traits: HostTraits
}

/** The value of a key, made at its first use. */
export function valueAt<K, V>(
  map: { get(key: K): V | undefined; set(key: K, value: V): unknown },
  key: K,
  make: () => V,
): V {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}

const registries = new WeakMap<Redis, RouteRegistry>()

/** The routes of an application. Kept apart from `Redis`, so that the data cache loads no HTTP. */
export function routesOf(redis: Redis): RouteRegistry {
  return valueAt(registries, redis, () => {
    const { scope, logger, defaults, settings } = redis
    const routes = new RouteRegistry({ scope, logger, defaults, defaultTtlMs: settings.defaultTtlMs, prefixProblem })
    redis.cache.explainWith((request) => routes.explain(request))
    redis.cache.findPathsWith((url, options) => routes.paths.of(url, options))
    return routes
  })
}

/** The error of a declaration on a route whose methods it is not for. `word`: a middleware, or a decorator with its `@`. */
export function misplaced(word: string, where: string): OptionsError {
  const [put, evict] = word.startsWith('@') ? ['@CachePut', '@CacheEvict'] : ['cachePut', 'cacheEvict']
  const problem = [put, evict].includes(word)
    ? `${word} belongs on a route that writes (POST, PUT, PATCH, DELETE)`
    : `only GET responses are cached: use ${put} or ${evict} on a route that writes, or \`preset: 'rfc9111'\` on one that answers all methods`
  return new OptionsError(where, [problem])
}

/** Whether `cache` can answer requests by this method. */
export function isCacheable(method: string, { anyMethod }: CachedRoute<never>): boolean {
  return anyMethod || method === 'GET' || method === 'HEAD'
}

/** Enough to check options by, where no Redis is known yet. */
const UNBOUND: RouteDefaults = { defaultTtlMs: 0, defaults: {}, host: false, path: {}, prefixProblem }

/** Every `cache` of this process that was declared before its Redis was known, in order. */
const declarations: WeakRef<DeclaredCache<never>>[] = []

/** How many of them an application knows. */
const expected = new WeakMap<RouteRegistry, number>()

/**
 * Registers the keys under which routes will cache, before the first request of each: what a write has to invalidate may
 * have been stored by another process. Routes of other applications in this process do no harm.
 */
export function expectDeclared({ routes, traits }: Host): void {
  const from = expected.get(routes) ?? 0
  if (from === declarations.length) return
  expected.set(routes, declarations.length)
  for (const declared of declarations.slice(from)) declared.deref()?.expectOn(routes, traits)
}

/** Options of `cache` where routes are declared before their Redis is known: checked now, bound at a first request. */
export class DeclaredCache<Req> {
  readonly #declared: Declared<CacheOptions<Req>>
  readonly #bound = new WeakMap<RouteRegistry, Map<string, CachedRoute<Req>>>()

  constructor(declared: Declared<CacheOptions<Req>>) {
    resolvePolicy(declared.where, declared.options, UNBOUND)
    this.#declared = declared
    declarations.push(new WeakRef<DeclaredCache<never>>(this))
  }

  expectOn(routes: RouteRegistry, { path }: HostTraits): void {
    routes.expect(this.#declared, path)
  }

  /** `name`: method and template of the route that uses them. */
  on({ routes, traits }: Host, name: string): CachedRoute<Req> {
    const caches = valueAt(this.#bound, routes, () => new Map<string, CachedRoute<Req>>())
    return valueAt(caches, name, () => routes.cache(name, this.#declared, traits))
  }
}

/** Options of `cachePut`, of `cacheEvict`, or of both on one route, checked as those of `cache` are. */
export class DeclaredWrite<Req> {
  readonly #put: Declared<CachePutOptions<Req>> | undefined
  readonly #evict: Declared<CacheEvictOptions<Req>> | undefined
  readonly #bound = new WeakMap<RouteRegistry, WriteRoute<Req>>()
  readonly #joined = new WeakMap<DeclaredWrite<Req>, DeclaredWrite<Req>>()

  constructor(put: Declared<CachePutOptions<Req>> | undefined, evict: Declared<CacheEvictOptions<Req>> | undefined) {
    if (put !== undefined) resolvePolicy(put.where, put.options, UNBOUND)
    if (evict !== undefined) resolveEvictPolicy(evict.where, evict.options, UNBOUND)
    this.#put = put
    this.#evict = evict
  }

  /** Whether the answer's body is asked for. */
  get readsBody(): boolean {
    const { group, key } = this.#evict?.options ?? {}
    return this.#put !== undefined || typeof group === 'function' || typeof key === 'function'
  }

  on({ routes, traits }: Host): WriteRoute<Req> {
    return valueAt(this.#bound, routes, () => routes.write(this.#put, this.#evict, traits.path))
  }

  /**
   * The one write that a `cachePut` and a `cacheEvict` on the same route are: only together can they store an entry in a
   * group that they invalidate. Undefined: they do not complete each other.
   */
  join(other: DeclaredWrite<Req>): DeclaredWrite<Req> | undefined {
    if (this.#put !== undefined && other.#put !== undefined) return undefined
    if (this.#evict !== undefined && other.#evict !== undefined) return undefined
    const join = () => new DeclaredWrite(this.#put ?? other.#put, this.#evict ?? other.#evict)
    return valueAt(this.#joined, other, join)
  }
}
