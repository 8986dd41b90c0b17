/**
 * The Fastify plugin.
 *
 * @module redwell/fastify
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteGenericInterface, RouteOptions } from 'fastify'
import { subscribe } from 'node:diagnostics_channel'
import fp from 'fastify-plugin'
import type { Redis } from '../../create-redis.js'
import type { CacheBackend } from '../../data/backend.js'
import { OptionsError, UsageError } from '../../errors.js'
import { isSafe } from '../../http/index.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../route/options.js'
import {
  type AdapterOptions,
  checkedOptions,
  checkFlags,
  DeclaredWrite,
  isCacheable,
  misplaced,
  openRedis,
  routesOf,
} from '../declarations.js'
import type { Sessions } from '../../session/sessions.js'
import { Exchange } from '../exchange.js'
import { defaultLimit } from '../limiting.js'
import { principalOfSession } from '../sessions.js'
import type { SelectedField } from '../../http/index.js'
import type { SentFields } from '../node/request.js'
import { fastifyPath, rewrittenOf } from '../node/routed.js'
import { cachedHandler, confirmWrite, endFirst, type FastifyHost, writingHandler } from './hooks.js'
import { type FastifyNames, reserveNames, type ResolvedNames, resolveNames } from './names.js'
import { addSessions, endLast, type FastifySessionOptions, guardRoute } from './session.js'
import { type FastifyRateLimit, limitApplication, limitRoutes } from './rate-limit.js'

export type { FastifyNames } from './names.js'

export type { FastifyRateLimit } from './rate-limit.js'

export type { FastifySessionOptions, FastifySessionRequirement } from './session.js'

/** Options of the plugin: the settings of `createRedis`, or an existing handle. */
export interface RedwellFastifyOptions extends Omit<AdapterOptions<FastifyRequest>, 'prefix' | 'sessions'> {
  /** First part of every key in Redis (not of the routes). Letters, digits, `_ . - :`. Default `redwell`. */
  prefix?: string
  /** Waits for Redis at start, and fails if it does not answer. Default false: the application starts without it. */
  connect?: boolean | undefined
  /** Limits all requests of the application, including those to unknown routes: rates, or options of `config.rateLimit`. Default: none. */
  rateLimit?: FastifyRateLimit | undefined
  /** Enables sessions with these options. Default: no sessions, or those of the handle that was passed in. */
  sessions?: FastifySessionOptions | undefined
  /** Other names for what the plugin adds, if other plugins use the same. Default: `redis`, `cache`, `sessions`, `cacheGroups`, `rateLimit`. */
  names?: FastifyNames | undefined
}

// Declared here because the compiler drops an import that only the augmentation below uses.
/** Options of `cache` whose functions get the Fastify request. `Route`: types of its parameters, such as `{ Params: { id: string } }`. */
export type FastifyCacheOptions<Route extends RouteGenericInterface = RouteGenericInterface> = CacheOptions<
  FastifyRequest<Route>
>

/** Options of `cachePut` whose functions get the Fastify request. `Route`: types of its parameters, such as `{ Params: { id: string } }`. */
export type FastifyCachePutOptions<Route extends RouteGenericInterface = RouteGenericInterface> = CachePutOptions<
  FastifyRequest<Route>
>

/** Options of `cacheEvict` whose functions get the Fastify request. `Route`: types of its parameters, such as `{ Params: { id: string } }`. */
export type FastifyCacheEvictOptions<Route extends RouteGenericInterface = RouteGenericInterface> = CacheEvictOptions<
  FastifyRequest<Route>
>

/** Properties that the plugin adds to an application. */
export interface RedwellInstance {
  /** The application's Redis; `redis.client` is the node-redis client. */
  redis: Redis
  /** The data cache. */
  cache: CacheBackend
  /** Lists and ends sessions. */
  sessions: Sessions
}

/**
 * Properties of the application that have another name by the option `names`, for the compiler.
 *
 * @example
 * declare module 'redwell/fastify' {
 *   interface FastifyRenamed { redis: true }
 * }
 */
export interface FastifyRenamed {}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answers this GET from the cache. */
    cache?: FastifyCacheOptions
    /** Stores the response of this write as the entry of the path's GET. */
    cachePut?: FastifyCachePutOptions
    /** Invalidates entries after a successful write. */
    cacheEvict?: FastifyCacheEvictOptions
  }
  // Inherited, so that another plugin's declaration of the same name has precedence over it.
  interface FastifyInstance extends Omit<RedwellInstance, keyof FastifyRenamed> {}
  interface FastifyReply {
    /** Adds groups to the entry of this reply. */
    cacheGroups(...names: string[]): this
  }
}

/** `logLevel` and `logSerializers` are options of Fastify's own for every plugin. */
const OWN_OPTIONS = ['connect', 'rateLimit', 'sessions', 'names', 'logLevel', 'logSerializers']

/** Registers the connection, the decorators and the onRoute hook. */
async function redwellPlugin(app: FastifyInstance, options: RedwellFastifyOptions): Promise<void> {
  const names = resolveNames(options.names)
  reserveNames(app, names)
  const unseen = earlyRoutes.get(app.server) ?? new Set()
  registered.add(app.server)
  const early = namesOf(unseen, names)
  if (early.length > 0) {
    throw new UsageError(
      `These routes were declared before redwell was loaded and would not be cached: ${early.join(', ')}. Write \`await app.register(redwell)\` before them, or declare them in a plugin that is registered after it.`,
    )
  }
  const { connect = false, rateLimit, sessions, names: _, ...settings } = checkedOptions(options, OWN_OPTIONS)
  checkFlags({ connect })
  const own = openRedis(settings, app.log)
  if (sessions !== undefined) own.redis.sessions.configure(sessions)
  const principal = settings.principal ?? (own.redis.sessions.isConfigured ? principalOfSession : undefined)
  app.decorate(names.redis, own.redis)
  app.decorate(names.cache, own.redis.cache)
  app.decorate(names.sessions, own.redis.sessions)
  if (own.redis.sessions.isConfigured) addSessions(app, own.redis)
  app.decorateReply(names.cacheGroups, function cacheGroups(this: FastifyReply, ...groups: string[]) {
    Exchange.of(this.raw).addGroups(groups)
    return this
  })
  const host: FastifyHost = {
    routes: routesOf(own.redis),
    traits: { path: fastifyPath(app.initialConfig), stripsHead: true, knowsRoutes: true, bySpecificity: true },
    requests: { application: (message, response) => app.routing(message, response), principal, fieldsAsSent: true },
  }
  // Of an application that is older than this module. Others have it before any other hook.
  if (!earlyRoutes.has(app.server)) endFirst(app)
  const limit = rateLimit ?? defaultLimit(own.redis.settings)
  if (limit !== undefined) limitApplication(app, own.redis, limit, names.rateLimit)
  const limitRoute = limitRoutes(own.redis, names.rateLimit)
  app.addHook('onRoute', (route) => {
    unseen.delete(route)
    guardRoute(route, own.redis, routeName(route))
    limitRoute(route, routeName(route))
    attach(route, host)
    if (own.redis.sessions.isConfigured) endLast(route)
  })
  // Checked after the routes, because another plugin may have added it.
  app.addHook('onReady', async () => {
    const outside = namesOf(unseen, names)
    if (outside.length > 0) throw new UsageError(outsideMessage(outside))
    host.routes.expectPrincipal(host.requests.principal)
    host.routes.checkEvicted()
    await own.redis.attempted()
  })
  app.addHook('onClose', () => own.close())
  await own.redis.telemetryReady()
  if (connect) await own.redis.connect()
}

/** Applies a route's `config.cache`, `config.cachePut` and `config.cacheEvict`. */
function attach(route: RouteOptions, host: FastifyHost): void {
  const { cache, cachePut, cacheEvict } = route.config ?? {}
  const methods = methodsOf(route)
  const name = routeName(route)
  const constraints = constraintsOf(route)
  const routed = (request: FastifyRequest, sent: SentFields): readonly SelectedField[] => {
    const rewritten = rewrittenOf(request)
    return constraints === undefined ? rewritten : [...constraints.fields(sent.header('host') ?? ''), ...rewritten]
  }
  const routedBy = constraints?.names
  const requests = { ...host.requests, routed, routedBy, route: name }
  const declared = <Options>(word: string, options: Options) => ({ where: `config.${word} of ${name}`, options })
  if (cache !== undefined) {
    if (Reflect.get(route, 'websocket') === true)
      throw new OptionsError(`config.cache of ${name}`, [
        'a WebSocket has no response to store: remove `cache`, or declare the route again for HTTP',
      ])
    const traits = { ...host.traits, routedBy, routed: constraints?.fields }
    const cachedRoute = host.routes.cache(name, declared('cache', cache), traits)
    if (!methods.every((method) => isCacheable(method, cachedRoute)))
      throw misplaced('cache', `config.cache of ${name}`)
    route.handler = cachedHandler(cachedRoute, route, { ...host, requests: { ...requests, route: undefined } })
  } else host.routes.noteUncached(name)
  if (cachePut !== undefined || cacheEvict !== undefined) {
    const word = cachePut === undefined ? 'cacheEvict' : 'cachePut'
    if (methods.some((method) => isSafe(method))) throw misplaced(word, `config.${word} of ${name}`)
    const write = new DeclaredWrite<FastifyRequest>(
      cachePut && declared('cachePut', cachePut),
      cacheEvict && declared('cacheEvict', cacheEvict),
    )
    write.on(host, name)
    route.handler = writingHandler(write, route, { ...host, requests })
  }
  // A new array, because Fastify declares the HEAD route from the same options.
  if (methods.some((method) => !isSafe(method))) route.onSend = [...[route.onSend ?? []].flat(), confirmWrite(host)]
}

/** The constraints that the router uses in addition to the path. Different hosts that match an expression are different values. */
function constraintsOf({
  constraints = {},
}: RouteOptions):
  | { readonly fields: (host: string) => readonly SelectedField[]; readonly names: readonly string[] }
  | undefined {
  const fields = Object.entries(constraints as Readonly<Record<string, unknown>>)
  if (fields.length === 0) return undefined
  const by: Readonly<Record<string, string>> = { version: 'accept-version', host: 'host' }
  return {
    fields: (host) => fields.map(([name, value]) => [`:${name}`, name === 'host' ? host.toLowerCase() : String(value)]),
    // A strategy of the application's own may decide by anything.
    names: fields.map(([name]) => by[name] ?? '*'),
  }
}

function methodsOf({ method }: RouteOptions): string[] {
  return [method].flat().map((one) => one.toUpperCase())
}

function routeName(route: RouteOptions): string {
  return `${methodsOf(route).join('|')} ${route.url}`
}

/*
 * A plugin sees only routes that are declared after it was loaded, and `app.register` without `await` loads it later than
 * it appears. Earlier routes would not be cached, without any error. Fastify publishes every new instance; from then on its
 * routes with a cache configuration are recorded here, so that the plugin can report those that it missed.
 */
const earlyRoutes = new WeakMap<object, Set<RouteOptions>>()

/** Servers with an application that has the plugin. */
const registered = new WeakSet<object>()

/** Routes with one of our configurations. `session` and the rate limit are ours only where the plugin is. */
function namesOf(routes: Iterable<RouteOptions>, names?: ResolvedNames): readonly string[] {
  const keys = ['cache', 'cachePut', 'cacheEvict', ...(names === undefined ? [] : [names.rateLimit, 'session'])]
  const isOurs = ({ config = {} }: RouteOptions): boolean =>
    Object.entries(config).some(([key, value]) => value !== undefined && keys.includes(key))
  return [...routes].filter(isOurs).map(routeName)
}

/** The plugin is in a scope of its own: it does not see what is declared outside of that. */
function outsideMessage(routes: readonly string[]): string {
  return `These routes are outside of the scope in which redwell is registered, so they would not be cached: ${routes.join(', ')}. Register redwell on the application itself, before the plugins that have the routes.`
}

subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: FastifyInstance }
  const routes = new Set<RouteOptions>()
  earlyRoutes.set(fastify.server, routes)
  fastify.addHook('onRoute', (route) => void routes.add(route))
  endFirst(fastify)
  fastify.addHook('onReady', (done) => {
    const missed = registered.has(fastify.server) ? [] : namesOf(routes)
    if (missed.length > 0)
      fastify.log.warn(
        `redwell: nothing is cached, because the plugin is not registered: ${missed.join(', ')}. Write \`await app.register(redwell)\` before these routes`,
      )
    done()
  })
})

/**
 * Fastify plugin: connects to Redis and closes with the application, caches routes by `config.cache`, `config.cachePut` and
 * `config.cacheEvict`, and provides the data cache as `app.cache`.
 *
 * @example
 * await app.register(redwell, { url: 'redis://localhost:6379' })
 * app.get('/products/:id', { config: { cache: { ttl: '5m', group: 'products' } } }, handler)
 */
const redwell = fp(redwellPlugin, { name: 'redwell', fastify: '5.x' })

export default redwell

export { redwell }
