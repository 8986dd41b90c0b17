import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { subscribe } from 'node:diagnostics_channel'
import { createRedis, type Redis, type RedisOptions } from '../../create-redis.js'
import type { CacheBackend } from '../../data/backend.js'
import { OptionsError, UsageError } from '../../errors.js'
import { isSafe } from '../../http/index.js'
import type { Logger } from '../../logger.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../route/options.js'
import type { RouteRegistry, HostTraits } from '../../route/registry.js'
import { routesOf } from '../declarations.js'
import { cacheReader, responseWriter, STATE, unsafeWriter, writeReader } from './hooks.js'
import { Refresher } from './refresher.js'

/** Options of the plugin: the settings of `createRedis`, or a handle that exists already. */
export interface RedwellFastifyOptions extends Omit<RedisOptions, 'prefix'> {
  /** First part of every key in Redis (not of the routes). Letters, digits, `_ . - :`. Default `redwell`. */
  prefix?: string

  /** Use this handle, and leave its life to whoever made it. */
  redis?: Redis | undefined
  /** Wait for Redis at start, and fail where it does not answer. Default false: the application starts without it. */
  connect?: boolean | undefined
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

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Registers connection, decorations and the onRoute hook. */
export async function redwellPlugin(app: FastifyInstance, options: RedwellFastifyOptions): Promise<void> {
  if (app.hasDecorator('redis') || app.hasDecorator('cache')) {
    throw new UsageError(
      'app.redis or app.cache exists already: register redwell once, and before other plugins that use these names.',
    )
  }
  const early = routesDeclaredBefore(app)
  if (early.length > 0) throw new UsageError(earlyMessage(early))
  const { redis: given, connect = false, ...settings } = options
  const redis = given ?? createRedis({ logger: loggerOf(app), ...settings })
  const refresher = new Refresher(app)
  app.decorate('redis', redis)
  app.decorate('cache', redis.cache)
  app.decorateRequest(STATE, undefined)
  app.decorateReply('cacheGroups', function cacheGroups(this: FastifyReply, ...names: string[]) {
    const state = this.request[STATE]
    if (state !== undefined && 'run' in state) state.run.addGroups(names)
    if (state !== undefined && 'write' in state) state.write.addGroups(names)
    return this
  })
  const attached = { routes: routesOf(redis), refresher, traits: traitsOf(app) }
  app.addHook('onRoute', (route) => attach(route, attached))
  app.addHook('onClose', async () => {
    await refresher.settled()
    if (given === undefined) await redis.close()
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
  return { path: { ignoreTrailingSlash, ignoreDuplicateSlashes }, refreshes: true, stripsHead: true }
}

interface Attached {
  readonly routes: RouteRegistry
  readonly refresher: Refresher
  readonly traits: HostTraits
}

function attach(route: RouteOptions, attached: Attached): void {
  const { cache, cachePut, cacheEvict } = route.config ?? {}
  if (cache !== undefined) attachCache(route, cache, attached)
  if (cachePut !== undefined || cacheEvict !== undefined) attachWrite(route, cachePut, cacheEvict, attached)
  else if (cache === undefined && methodsOf(route).some((method) => !isSafe(method))) {
    route.onSend = [unsafeWriter(attached.routes.unsafe), ...listOf(route.onSend)] as NonNullable<
      RouteOptions['onSend']
    >
  }
}

function attachCache(route: RouteOptions, options: CacheOptions<FastifyRequest>, attached: Attached): void {
  const { routes, refresher, traits } = attached
  const name = routeName(route)
  const cache = routes.cache(name, { where: `config.cache of ${name}`, options }, traits)
  if (!cache.anyMethod && methodsOf(route).some((method) => method !== 'GET' && method !== 'HEAD')) {
    throw new OptionsError(`config.cache of ${name}`, [
      "only GET responses are cached: use cachePut or cacheEvict on a route that writes, or `preset: 'rfc9111'` on one that answers all methods",
    ])
  }
  wrap(route, cacheReader(cache, refresher))
}

function attachWrite(
  route: RouteOptions,
  put: CachePutOptions<FastifyRequest> | undefined,
  evict: CacheEvictOptions<FastifyRequest> | undefined,
  { routes, traits }: Attached,
): void {
  const name = routeName(route)
  const word = put === undefined ? 'cacheEvict' : 'cachePut'
  if (methodsOf(route).some((method) => SAFE_METHODS.has(method))) {
    throw new OptionsError(`config.${word} of ${name}`, [
      `${word} belongs on a route that writes (POST, PUT, PATCH, DELETE)`,
    ])
  }
  const write = routes.write(
    put && { where: `config.cachePut of ${name}`, options: put },
    evict && { where: `config.cacheEvict of ${name}`, options: evict },
    traits.path,
    name,
  )
  wrap(route, writeReader(write))
}

/** New arrays: Fastify declares the HEAD route from the same options, and hooks pushed in place would run twice there. */
function wrap(route: RouteOptions, reader: ReturnType<typeof cacheReader> | ReturnType<typeof writeReader>): void {
  route.preHandler = [...listOf(route.preHandler), reader] as NonNullable<RouteOptions['preHandler']>
  route.onSend = [responseWriter, ...listOf(route.onSend)] as NonNullable<RouteOptions['onSend']>
}

function listOf(hooks: unknown): unknown[] {
  return hooks === undefined ? [] : Array.isArray(hooks) ? hooks : [hooks]
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
    if (config?.cache !== undefined || config?.cachePut !== undefined || config?.cacheEvict !== undefined) {
      routes.push({ method: String(method), url })
    }
  })
})

/** Routes with a cache configuration that this application has declared so far. */
export function routesDeclaredBefore(app: FastifyInstance): readonly EarlyRoute[] {
  return declared.get(app.server) ?? []
}
