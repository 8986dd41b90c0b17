import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../route/options.js'
import { resolveEvictPolicy, resolvePolicy, type RouteDefaults } from '../route/policy.js'
import type { RouteCache } from '../route/route-cache.js'
import type { RouteWrite } from '../route/route-write.js'
import type { Declared, Routes, Traits } from '../route/routes.js'
import type { Refresher } from './refresher.js'

/** One application: its routes, and what its framework is like. */
export interface Host {
  readonly routes: Routes
  readonly traits: Traits
  readonly refresher: Refresher
}

/** Why a text cannot be a prefix. */
type PrefixProblem = RouteDefaults['prefixProblem']

/** Throws OptionsError with every problem. Where options are declared before any application is known. */
export function checkCache<Req>(
  { where, options }: Declared<CacheOptions<Req> | CachePutOptions<Req>>,
  prefixProblem: PrefixProblem,
): void {
  resolvePolicy(where, options, unbound(prefixProblem))
}

/** As `checkCache`. */
export function checkEvict<Req>(
  { where, options }: Declared<CacheEvictOptions<Req>>,
  prefixProblem: PrefixProblem,
): void {
  resolveEvictPolicy(where, options, unbound(prefixProblem))
}

function unbound(prefixProblem: PrefixProblem): RouteDefaults {
  return { defaultTtlMs: 0, defaults: {}, host: false, path: {}, prefixProblem }
}

/** Every `cache` that was declared in this process, in order. */
const declarations: WeakRef<DeclaredCache<never>>[] = []

/** How far each application knows them. */
const known = new WeakMap<Host, number>()

/**
 * Lets an application know under which keys its routes cache, before the first request of each: what a write has to
 * invalidate may have been stored by another process. Routes of other applications in this process do no harm.
 */
export function expectDeclared(host: Host): void {
  const from = known.get(host) ?? 0
  if (from === declarations.length) return
  known.set(host, declarations.length)
  for (const declared of declarations.slice(from)) declared.deref()?.expectOn(host)
}

/** A route as its framework has it: the same object at each of its requests. */
type RouteIdentity = object

/** Options of `cache` that were declared once: a cache of its own for each application and route that uses them. */
export class DeclaredCache<Req> {
  readonly #declared: Declared<CacheOptions<Req>>
  readonly #caches = new WeakMap<Host, WeakMap<RouteIdentity, RouteCache<Req>>>()

  constructor(declared: Declared<CacheOptions<Req>>) {
    this.#declared = declared
    declarations.push(new WeakRef<DeclaredCache<never>>(this))
  }

  expectOn({ routes, traits }: Host): void {
    routes.expect(this.#declared, traits.path)
  }

  /** `name`: method and template. */
  on(host: Host, route: RouteIdentity, name: () => string): RouteCache<Req> {
    let routes = this.#caches.get(host)
    if (routes === undefined) this.#caches.set(host, (routes = new WeakMap()))
    let cache = routes.get(route)
    if (cache === undefined) routes.set(route, (cache = host.routes.cache(name(), this.#declared, host.traits)))
    return cache
  }
}

/** What a write route declares: `cachePut`, `cacheEvict`, or both. */
export class DeclaredWrite<Req> {
  readonly put: Declared<CachePutOptions<Req>> | undefined
  readonly evict: Declared<CacheEvictOptions<Req>> | undefined
  readonly #writes = new WeakMap<Host, RouteWrite<Req>>()

  readonly #name: string | undefined

  /** `name` is the route's, where it is known; otherwise its requests tell it. */
  constructor(
    put: Declared<CachePutOptions<Req>> | undefined,
    evict: Declared<CacheEvictOptions<Req>> | undefined,
    name?: string,
  ) {
    this.put = put
    this.evict = evict
    this.#name = name
  }

  on(host: Host): RouteWrite<Req> {
    let write = this.#writes.get(host)
    if (write === undefined) {
      write = host.routes.write(this.put, this.evict, host.traits.path, this.#name)
      this.#writes.set(host, write)
    }
    return write
  }
}
