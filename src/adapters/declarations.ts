import { createRedis, OPTION_NAMES, type Redis, type RedisOptions } from '../create-redis.js'
import { describeValue, isOptionsObject, OptionsError, unknownOptions } from '../errors.js'
import type { Logger } from '../logger.js'
import { prefixProblem } from '../redis/resolve-settings.js'
import type { CachedRoute } from '../route/cached-route.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions, PrincipalOf } from '../route/options.js'
import { resolveEvictPolicy, resolvePolicy, type RouteDefaults } from '../route/policy.js'
import { type Declared, type HostTraits, resolveDefaults, RouteRegistry } from '../route/registry.js'
import type { WriteRoute } from '../route/write-session.js'
import { valueAt } from '../value-at.js'

/** Options of an adapter: the settings of `createRedis`, or an existing handle. */
export interface AdapterOptions<Req> extends RedisOptions {
  /** Uses this handle instead of creating one; you remain responsible for closing it. */
  readonly redis?: Redis | undefined
  /**
   * Function of the request that returns its principal, such as the id of the signed-in user; `undefined` for an
   * anonymous request. If it is set, requests with a principal do not share entries unless the route has `per` or
   * `shared`. Called for each lookup, and again after the handler of a request without a principal. Default: none.
   */
  readonly principal?: PrincipalOf<Req> | undefined
}

/** A connection to Redis and how to end it. */
export interface AdapterRedis extends AsyncDisposable {
  /** The handle: connection and cache. */
  readonly redis: Redis
  /** Ends background refreshes and closes the connection; a handle that was passed in stays open. Call it after the server has closed. */
  close(): Promise<void>
}

/** Rejects values that are not an options object, and unknown names. `more`: options of the framework. */
export function checkedOptions<Options extends object>(options: Options, more: readonly string[] = []): Options {
  if (!isOptionsObject(options))
    throw new OptionsError('options of redwell', [
      `${describeValue(options)} is not an options object; write { url: 'redis://…' }`,
    ])
  // Values are not shown: a misspelt name may be that of a password.
  const problems = unknownOptions(options, [...OPTION_NAMES, 'redis', 'principal', ...more], false)
  if (problems.length > 0) throw new OptionsError('options of redwell', problems)
  return options
}

/** `logger`: that of the framework, where the options have none. */
export function openRedis<Req>(
  { redis: given, principal, ...settings }: AdapterOptions<Req>,
  logger?: Logger,
): AdapterRedis {
  const problems: string[] = []
  if (principal !== undefined && typeof principal !== 'function')
    problems.push(`principal: ${describeValue(principal)} must be a function of the request`)
  if (given !== undefined && !(isOptionsObject(given) && 'scope' in given))
    problems.push(
      `redis: ${describeValue(given)} must be what createRedis returns; a client is handed over as \`client\``,
    )
  else if (given !== undefined)
    for (const [name, value] of Object.entries(settings))
      if (value !== undefined) problems.push(`${name}: it has no effect next to \`redis\`; give it to createRedis`)
  if (problems.length > 0) throw new OptionsError('options of redwell', problems)
  const { defaults } = given ?? settings
  if (isOptionsObject(defaults)) resolveDefaults(defaults)
  const redis = given ?? createRedis({ ...settings, logger: settings.logger ?? logger })
  const close = (): Promise<void> => (given === undefined ? redis.close() : redis.cache.settled())
  return { redis, close, [Symbol.asyncDispose]: close }
}

/** Throws OptionsError for values that are not booleans, such as the string 'false'. */
export function checkFlags(flags: Readonly<Record<string, unknown>>): void {
  const wrong = Object.entries(flags).filter(([, value]) => value !== undefined && typeof value !== 'boolean')
  const problems = wrong.map(([name, value]) => `${name}: ${describeValue(value)} must be true or false`)
  if (problems.length > 0) throw new OptionsError('options of redwell', problems)
}

/** An application: its routes, and properties of its framework. */
export interface Host {
  readonly routes: RouteRegistry
  readonly traits: HostTraits
}

const registries = new WeakMap<Redis, RouteRegistry>()

/**
 * The routes of an application. Kept apart from `Redis`, so that the data cache loads no HTTP. `early`: of a framework
 * whose routes are declared before their Redis is known.
 */
export function routesOf(redis: Redis, early?: HostTraits): RouteRegistry {
  return valueAt(registries, redis, () => {
    const { scope, logger, defaults, settings } = redis
    const { defaultTtlMs } = settings
    const onCached = (route: string): void => noteShared(redis, route)
    const routes = new RouteRegistry({ scope, logger, defaults, defaultTtlMs, prefixProblem, onCached })
    redis.cache.explainWith((request) => routes.explain(request))
    redis.cache.findPathsWith((url, options) => routes.paths.of(url, options))
    if (early !== undefined) expectDeclared({ routes, traits: early })
    return routes
  })
}

/** The error for a declaration on a route with the wrong method. `word`: a middleware, or a decorator with its `@`. */
export function misplaced(word: string, where: string): OptionsError {
  const [put, evict] = word.startsWith('@') ? ['@CachePut', '@CacheEvict'] : ['cachePut', 'cacheEvict']
  const problem = [put, evict].includes(word)
    ? `${word} belongs on a route that writes (POST, PUT, PATCH, DELETE)`
    : `only GET responses are cached: use ${put} or ${evict} on a route that writes, or \`preset: 'rfc9111'\` on one that answers all methods`
  return new OptionsError(where, [problem])
}

/** Handles of this process by where their entries are, and by the routes that they cache. */
const handles = new Map<string, Map<string, WeakRef<Redis>>>()

const warned = new WeakSet<Redis>()

/** Logs once that two handles' routes have the same entries: each answers with what the other has stored. */
function noteShared(redis: Redis, route: string): void {
  const server = serverAndPrefix(redis)
  if (server === undefined) return
  const routes = valueAt(handles, server, () => new Map<string, WeakRef<Redis>>())
  const other = routes.get(route)?.deref()
  routes.set(route, new WeakRef(redis))
  if (other === undefined || other === redis || other.status === 'closed' || warned.has(other)) return
  warned.add(other).add(redis)
  redis.logger.warn(
    `redwell: ${route} is cached by two applications of this process under the prefix '${redis.settings.prefix}', so each answers with what the other has stored: give each a \`prefix\` (REDIS_PREFIX) of its own, or both the same handle (\`redis\`) where they are one application`,
  )
}

/** Undefined: no other handle reaches its entries, or it is not known which server it is. */
function serverAndPrefix({ settings }: Redis): string | undefined {
  const { kind, nodes, sentinel, db, prefix, client } = settings
  return kind === 'memory' || client !== undefined ? undefined : JSON.stringify([nodes, sentinel?.nodes, db, prefix])
}

/** Whether `cache` can answer requests by this method. */
export function isCacheable(method: string, { anyMethod }: CachedRoute<never>): boolean {
  return anyMethod || method === 'GET' || method === 'HEAD'
}

/** For checking options before a Redis is known. */
const UNBOUND: RouteDefaults = { defaultTtlMs: 0, defaults: {}, host: false, path: {}, prefixProblem }

/** A declaration that was made before its Redis was known. */
interface Early {
  expectOn(routes: RouteRegistry, traits: HostTraits): void
}

/** Every early declaration of this process, in order. */
const declarations: WeakRef<Early>[] = []

/** How many of them an application has registered. */
const expected = new WeakMap<RouteRegistry, number>()

/**
 * Registers the keys of cached routes before their first request, because a write may have to invalidate what another
 * process has stored. Registering routes of other applications in this process is harmless.
 */
export function expectDeclared({ routes, traits }: Host): void {
  const from = expected.get(routes) ?? 0
  if (from === declarations.length) return
  expected.set(routes, declarations.length)
  for (const declared of declarations.slice(from)) declared.deref()?.expectOn(routes, traits)
}

/** Options of `cache` on routes that are declared before their Redis is known: checked at once, bound by the first request. */
export class DeclaredCache<Req> {
  readonly #declared: Declared<CacheOptions<Req>>
  readonly #bound = new WeakMap<RouteRegistry, Map<string, CachedRoute<Req>>>()

  constructor(declared: Declared<CacheOptions<Req>>) {
    resolvePolicy(declared.where, declared.options, UNBOUND)
    this.#declared = { ...declared, order: declarations.length }
    declarations.push(new WeakRef<Early>(this))
  }

  expectOn(routes: RouteRegistry, { path }: HostTraits): void {
    routes.expect(this.#declared, path)
  }

  /** `name`: method and template of the route. */
  on({ routes, traits }: Host, name: string): CachedRoute<Req> {
    const caches = valueAt(this.#bound, routes, () => new Map<string, CachedRoute<Req>>())
    return valueAt(caches, name, () => routes.cache(name, this.#declared, traits))
  }
}

/** Options of `cachePut`, `cacheEvict`, or both on one route, checked like those of `cache`. */
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
    declarations.push(new WeakRef<Early>(this))
  }

  /** Whether a function of the options needs the body of the response. */
  get readsBody(): boolean {
    const { group, key } = this.#evict?.options ?? {}
    return this.#put !== undefined || typeof group === 'function' || typeof key === 'function'
  }

  expectOn(routes: RouteRegistry): void {
    routes.expectGroup(this.#put?.options.group)
    routes.expectEvicted(this.#evict?.options.group)
  }

  /** `name`: method and template of the route. */
  on({ routes, traits }: Host, name?: string): WriteRoute<Req> {
    return valueAt(this.#bound, routes, () => routes.write(this.#put, this.#evict, traits, name))
  }

  /**
   * Combines a `cachePut` and a `cacheEvict` on the same route into one write, which can store an entry in a group that
   * it invalidates. Undefined: they cannot be combined.
   */
  join(other: DeclaredWrite<Req>): DeclaredWrite<Req> | undefined {
    if (this.#put !== undefined && other.#put !== undefined) return undefined
    if (this.#evict !== undefined && other.#evict !== undefined) return undefined
    const join = () => new DeclaredWrite(this.#put ?? other.#put, this.#evict ?? other.#evict)
    return valueAt(this.#joined, other, join)
  }
}
