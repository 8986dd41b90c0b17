import type { PathRule } from '../cache/key.js'
import type { Space } from '../cache/space.js'
import { OptionsError } from '../errors.js'
import { type HttpPolicy, resolveHttpPolicy } from '../http/index.js'
import type { Logger } from '../logger.js'
import { CachedPaths } from './cached-paths.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions, ResponseDefaults } from './options.js'
import { checkNames, resolveEvictPolicy, resolvePolicy, type RouteDefaults } from './policy.js'
import { RouteCache, type RouteOptions } from './route-cache.js'
import { RouteWrite } from './route-write.js'

/** What the routes of one application share. */
export interface RoutesContext {
  readonly space: (prefix?: string) => Space
  readonly logger: Logger
  /** `REDIS_DEFAULT_TTL`. */
  readonly defaultTtlMs: number
  /** Options that routes have when they do not say otherwise. */
  readonly defaults: ResponseDefaults
  /** Why a text cannot be a prefix. */
  readonly prefixProblem: RouteDefaults['prefixProblem']
}

/** Options as they stand on a route, and how its author calls that place. */
export interface Declared<Options> {
  readonly where: string
  readonly options: Options
}

/** What an adapter says about its framework. */
export type Traits = Pick<RouteOptions, 'refreshes' | 'stripsHead'> & {
  /** How the framework tells paths apart. */
  readonly path: PathRule
}

/** The cached and the invalidating routes of one application. */
export class Routes {
  /** Where the routes cache their URIs. */
  readonly paths = new CachedPaths()
  readonly #context: RoutesContext
  readonly #http: HttpPolicy
  #unsafe: RouteWrite<unknown> | undefined

  constructor(context: RoutesContext) {
    this.#context = context
    const problems: string[] = []
    checkNames(context.defaults, 'defaults', problems)
    this.#http = resolveHttpPolicy(context.defaults, problems, context)
    if (problems.length > 0) throw new OptionsError('defaults', problems)
  }

  /** The cache of a GET route. Throws OptionsError with every problem of its options. `name`: method and template. */
  cache<Req>(name: string, { where, options }: Declared<CacheOptions<Req>>, traits: Traits): RouteCache<Req> {
    const { space, logger } = this.#context
    const policy = resolvePolicy(where, options, this.#defaults(traits.path))
    return new RouteCache(space(policy.prefix), policy, { name, logger, paths: this.paths, ...traits })
  }

  /** What a route that writes stores and invalidates. */
  write<Req>(
    put: Declared<CachePutOptions<Req>> | undefined,
    evict: Declared<CacheEvictOptions<Req>> | undefined,
    path: PathRule,
  ): RouteWrite<Req> {
    const { space } = this.#context
    const defaults = this.#defaults(path)
    const putPolicy = put && resolvePolicy(put.where, put.options, defaults)
    const evictPolicy = evict && resolveEvictPolicy(evict.where, evict.options, defaults)
    return new RouteWrite(
      putPolicy && { space: space(putPolicy.prefix), policy: putPolicy },
      evictPolicy && { space: space(evictPolicy.prefix), policy: evictPolicy },
      { paths: this.paths, policy: this.#http },
    )
  }

  /** Any other request by an unsafe method: it invalidates its URI where routes cache it (RFC 9111 section 4.4). */
  get unsafe(): RouteWrite<unknown> {
    this.#unsafe ??= new RouteWrite(undefined, undefined, { paths: this.paths, policy: this.#http })
    return this.#unsafe
  }

  #defaults(path: PathRule): RouteDefaults {
    const { defaultTtlMs, defaults, prefixProblem } = this.#context
    return { defaultTtlMs, defaults, host: this.#http.host, prefixProblem, path }
  }
}
