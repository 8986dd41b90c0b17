import type { PathRule } from '../cache/key.js'
import { prefixProblem } from '../connection/resolve.js'
import type { Redis } from '../redis.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../route/options.js'
import { resolveEvictPolicy, resolvePolicy, type RouteDefaults } from '../route/policy.js'
import { RouteCache } from '../route/route-cache.js'
import { type EvictTarget, type PutTarget, RouteWrite } from '../route/route-write.js'
import { Refresher } from './refresher.js'

/** One application's Redis, and what the application says once for all routes. */
export class Host {
  readonly redis: Redis
  readonly refresher = new Refresher()
  readonly defaults: RouteDefaults

  constructor(redis: Redis, path: PathRule) {
    this.redis = redis
    this.defaults = { defaultTtlMs: redis.settings.defaultTtlMs, path, prefixProblem }
  }
}

/** Enough to check options by, where no Redis is known yet. */
const UNBOUND: RouteDefaults = { defaultTtlMs: 0, path: {}, prefixProblem }

/** A route as its framework has declared it: the same object at each of its requests. */
type RouteIdentity = object

/** What options declared once are to each application, and there to each route that uses them. */
class PerRoute<T> {
  readonly #known = new WeakMap<Host, WeakMap<RouteIdentity, T>>()

  get(host: Host, route: RouteIdentity, make: () => T): T {
    let routes = this.#known.get(host)
    if (routes === undefined) this.#known.set(host, (routes = new WeakMap()))
    let made = routes.get(route)
    if (made === undefined) routes.set(route, (made = make()))
    return made
  }
}

/** Options of `cache`, checked where they are declared. */
export class DeclaredCache<Req> {
  readonly #where: string
  readonly #options: CacheOptions<Req>
  readonly #caches = new PerRoute<RouteCache<Req>>()

  constructor(where: string, options: CacheOptions<Req>) {
    resolvePolicy(where, options, UNBOUND)
    this.#where = where
    this.#options = options
  }

  on(host: Host, route: RouteIdentity, name: () => string): RouteCache<Req> {
    return this.#caches.get(host, route, () => {
      const policy = resolvePolicy(this.#where, this.#options, host.defaults)
      const { redis } = host
      const options = { name: name(), logger: redis.logger, refreshes: true, stripsHead: false }
      return new RouteCache(redis.space(policy.prefix), policy, options)
    })
  }
}

/** Options of `cachePut`, checked where they are declared. */
export class DeclaredPut<Req> {
  readonly #where: string
  readonly #options: CachePutOptions<Req>

  constructor(where: string, options: CachePutOptions<Req>) {
    resolvePolicy(where, options, UNBOUND)
    this.#where = where
    this.#options = options
  }

  on(host: Host): PutTarget<Req> {
    const policy = resolvePolicy(this.#where, this.#options, host.defaults)
    return { space: host.redis.space(policy.prefix), policy }
  }
}

/** Options of `cacheEvict`, checked where they are declared. */
export class DeclaredEvict<Req> {
  readonly #where: string
  readonly #options: CacheEvictOptions<Req>

  constructor(where: string, options: CacheEvictOptions<Req>) {
    resolveEvictPolicy(where, options, UNBOUND)
    this.#where = where
    this.#options = options
  }

  on(host: Host): EvictTarget<Req> {
    const policy = resolveEvictPolicy(this.#where, this.#options, host.defaults)
    return { space: host.redis.space(policy.prefix), policy }
  }
}

/** What a write route declares: one of the two, or both. */
export class DeclaredWrite<Req> {
  readonly put: DeclaredPut<Req> | undefined
  readonly evict: DeclaredEvict<Req> | undefined
  readonly #writes = new WeakMap<Host, RouteWrite<Req>>()

  constructor(put: DeclaredPut<Req> | undefined, evict: DeclaredEvict<Req> | undefined) {
    this.put = put
    this.evict = evict
  }

  on(host: Host): RouteWrite<Req> {
    let write = this.#writes.get(host)
    if (write === undefined) this.#writes.set(host, (write = new RouteWrite(this.put?.on(host), this.evict?.on(host))))
    return write
  }
}
