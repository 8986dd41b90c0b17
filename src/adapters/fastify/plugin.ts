import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { subscribe } from 'node:diagnostics_channel'
import { createRedis, type Redis, type RedisOptions } from '../../create-redis.js'
import type { CacheBackend } from '../../data/backend.js'
import { OptionsError, UsageError } from '../../errors.js'
import { isSafe } from '../../http/index.js'
import type { Logger } from '../../logger.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../route/options.js'
import type { HostTraits } from '../../route/registry.js'
import { routesOf } from '../declarations.js'
import { Exchange } from '../exchange.js'
import { defaultLimit } from '../limiting.js'
import { type FastifyRateLimit, limitApplication, limitRoute, settleOnResponse } from './rate-limit.js'
import { cachedHandler, endResponse, type FastifyHost, unsafeResponse, writingHandler } from './hooks.js'

/** Options of the plugin: the settings of `createRedis`, or a handle that exists already. */
export interface RedwellFastifyOptions extends Omit<RedisOptions, 'prefix'> {
  /** First part of every key in Redis (not of the routes). Letters, digits, `_ . - :`. Default `redwell`. */
  prefix?: string

  /** Use this handle, and leave its life to whoever made it. */
  redis?: Redis | undefined
  /** Wait for Redis at start, and fail where it does not answer. Default false: the application starts without it. */
  connect?: boolean | undefined
  /** Limits every request of the application, unknown routes included: rates, or options of `config.rateLimit`. */
  rateLimit?: FastifyRateLimit | undefined
}

// Named here because the compiler drops an import that only the augmentation below uses.
export type FastifyCacheOptions = CacheOptions<FastifyRequest>

export type FastifyCachePutOptions = CachePutOptions<FastifyRequest>

export type FastifyCacheEvictOptions = CacheEvictOptions<FastifyRequest>

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answer this GET from the cache. */
    cache?: FastifyCacheOptions
    /** Store what this write answers as the entry of its path's GET. */
    cachePut?: FastifyCachePutOptions
    /** Invalidate entries when this write has succeeded. */
    cacheEvict?: FastifyCacheEvictOptions
  }
  interface FastifyInstance {
    /** The application's Redis; `redis.client` is the node-redis client. */
    redis: Redis
    /** Values beside the routes. */
    cache: CacheBackend
  }
  interface FastifyReply {
    /** Adds groups to the entry that this reply becomes. */
    cacheGroups(...names: string[]): this
  }
}

/** Registers connection, decorations and the onRoute hook. */
export async function redwellPlugin(app: FastifyInstance, options: RedwellFastifyOptions): Promise<void> {
  if (app.hasDecorator('redis') || app.hasDecorator('cache')) {
    throw new UsageError(
      'app.redis or app.cache exists already: register redwell once, and before other plugins that use these names.',
    )
  }
  const early = routesDeclaredBefore(app)
  if (early.length > 0) throw new UsageError(earlyMessage(early))
  const { redis: given, connect = false, rateLimit, ...settings } = options
  const redis = given ?? createRedis({ logger: loggerOf(app), ...settings })
  app.decorate('redis', redis)
  app.decorate('cache', redis.cache)
  app.decorateReply('cacheGroups', function cacheGroups(this: FastifyReply, ...names: string[]) {
    Exchange.of(this.raw).addGroups(names)
    return this
  })
  const host: FastifyHost = {
    routes: routesOf(redis),
    traits: traitsOf(app),
    requests: { application: (message, response) => app.routing(message, response), fieldsAsSent: true },
  }
  const limit = rateLimit ?? defaultLimit(redis.settings)
  if (limit !== undefined) limitApplication(app, redis, limit)
  settleOnResponse(app)
  app.addHook('onRoute', (route) => {
    limitRoute(route, redis, routeName(route))
    attach(route, host)
  })
  app.addHook('onClose', async () => {
    await (given === undefined ? redis.close() : redis.cache.settled())
  })
  await redis.telemetryReady()
  if (connect) await redis.connect()
}

function earlyMessage(early: readonly EarlyRoute[]): string {
  const routes = early.map(({ method, url }) => `${method} ${url}`).join(', ')
  return `These routes were declared before redwell was loaded and would not be cached: ${routes}. Write \`await app.register(redwell)\` before them, or declare them in a plugin that is registered after it.`
}

function loggerOf(app: FastifyInstance): Logger {
  return {
    info: (message) => app.log.info(message),
    warn: (message) => app.log.warn(message),
    error: (message) => app.log.error(message),
  }
}

function traitsOf(app: FastifyInstance): HostTraits {
  const { ignoreTrailingSlash, ignoreDuplicateSlashes } = {
    ...app.initialConfig,
    ...app.initialConfig.routerOptions,
  }
  return { path: { ignoreTrailingSlash, ignoreDuplicateSlashes }, stripsHead: true }
}

function attach(route: RouteOptions, host: FastifyHost): void {
  const { cache, cachePut, cacheEvict } = route.config ?? {}
  if (cache !== undefined) attachCache(route, cache, host)
  if (cachePut !== undefined || cacheEvict !== undefined) attachWrite(route, cachePut, cacheEvict, host)
  else if (cache === undefined && methodsOf(route).some((method) => !isSafe(method)))
    prepend(route, unsafeResponse(host))
}

function attachCache(route: RouteOptions, options: CacheOptions<FastifyRequest>, host: FastifyHost): void {
  const name = routeName(route)
  const cachedRoute = host.routes.cache(name, { where: `config.cache of ${name}`, options }, host.traits)
  if (!cachedRoute.anyMethod && methodsOf(route).some((method) => method !== 'GET' && method !== 'HEAD')) {
    throw new OptionsError(`config.cache of ${name}`, [
      "only GET responses are cached: use cachePut or cacheEvict on a route that writes, or `preset: 'rfc9111'` on one that answers all methods",
    ])
  }
  route.handler = cachedHandler(cachedRoute, route.handler, host)
  prepend(route, endResponse)
}

function attachWrite(
  route: RouteOptions,
  put: CachePutOptions<FastifyRequest> | undefined,
  evict: CacheEvictOptions<FastifyRequest> | undefined,
  host: FastifyHost,
): void {
  const name = routeName(route)
  const word = put === undefined ? 'cacheEvict' : 'cachePut'
  if (methodsOf(route).some((method) => isSafe(method))) {
    throw new OptionsError(`config.${word} of ${name}`, [
      `${word} belongs on a route that writes (POST, PUT, PATCH, DELETE)`,
    ])
  }
  const writeRoute = host.routes.write(
    put && { where: `config.cachePut of ${name}`, options: put },
    evict && { where: `config.cacheEvict of ${name}`, options: evict },
    host.traits.path,
    name,
  )
  route.handler = writingHandler(writeRoute, route.handler, host)
  prepend(route, endResponse)
}

/** A new array: Fastify declares the HEAD route from the same options, and a hook pushed in place would run twice there. */
function prepend(route: RouteOptions, hook: typeof endResponse): void {
  route.onSend = [hook, ...[route.onSend ?? []].flat()]
}

function methodsOf(route: RouteOptions): string[] {
  return (Array.isArray(route.method) ? route.method : [route.method]).map((method) => method.toUpperCase())
}

function routeName(route: RouteOptions): string {
  return `${methodsOf(route).join('|')} ${route.url}`
}

export interface EarlyRoute {
  readonly method: string
  readonly url: string
}

/*
 * A plugin sees only the routes that are declared after it was loaded, and `app.register` without `await` loads it
 * later than it looks. Such a route would silently not be cached. Fastify announces every instance when it is made;
 * from then on its routes with a cache configuration are noted here, so that the plugin can name those it came too late for.
 */
const declared = new WeakMap<object, EarlyRoute[]>()

subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance }
  const routes: EarlyRoute[] = []
  declared.set(fastify.server, routes)
  fastify.addHook('onRoute', ({ method, url, config }) => {
    if (
      config?.cache !== undefined ||
      config?.cachePut !== undefined ||
      config?.cacheEvict !== undefined ||
      config?.rateLimit !== undefined
    ) {
      routes.push({ method: String(method), url })
    }
  })
})

/** Routes with a cache configuration that this application has declared so far. */
function routesDeclaredBefore(app: FastifyInstance): readonly EarlyRoute[] {
  return declared.get(app.server) ?? []
}
