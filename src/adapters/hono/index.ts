/**
 * Middlewares for Hono.
 *
 * @module redwell/hono
 */
import type { Context, ExecutionContext, MiddlewareHandler, Next } from 'hono'
import type { Redis } from '../../create-redis.js'
import type { CacheBackend } from '../../data/backend.js'
import { isSafe } from '../../http/index.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions, PrincipalOf } from '../../route/options.js'
import {
  type AdapterOptions,
  type AdapterRedis,
  checkedOptions,
  DeclaredCache,
  DeclaredWrite,
  expectDeclared,
  type Host,
  isCacheable,
  misplaced,
  openRedis,
  routesOf,
} from '../declarations.js'
import { valueAt } from '../../value-at.js'
import { Exchange } from '../exchange.js'
import { sessionOf, principalOfSession } from '../sessions.js'
import { WebRequest } from '../web/request.js'
import { serveCached, serveUnsafe, serveWrite, type Visit } from '../web/response.js'
import { messageOf, nameOf, outgoingOf, redisOf, routeOf } from './context.js'

export { rateLimit } from './rate-limit.js'

export type { HonoRateLimit } from './rate-limit.js'

export { requireSession, sessions } from './session.js'

export type { HonoSessionOptions } from './session.js'

declare module 'hono' {
  // Member by member, because a program may contain both the sources and the built package, as our tests do.
  interface ContextVariableMap {
    /** The application's Redis; `redis.client` is the node-redis client. */
    redis: Redis
    /** The data cache. */
    cache: CacheBackend
  }
}

/** Options of `cache` whose functions get the Hono context. */
export type HonoCacheOptions = CacheOptions<Context>

/** Options of `cachePut` whose functions get the Hono context. */
export type HonoCachePutOptions = CachePutOptions<Context>

/** Options of `cacheEvict` whose functions get the Hono context. */
export type HonoCacheEvictOptions = CacheEvictOptions<Context>

/** A method, so that applications may narrow `env` to their bindings. */
interface Application {
  fetch(request: Request, env?: unknown, executionCtx?: ExecutionContext): Response | Promise<Response>
}

/** Options of `redwell`: the settings of `createRedis`, or an existing handle. */
export interface RedwellHonoOptions extends Omit<AdapterOptions<Context>, 'sessions'> {
  /**
   * `app.fetch`, which refreshes stale entries in the background. Without it the first request for a stale entry runs the
   * handler, and the others receive the stale entry. Default: none.
   */
  fetch?: Application['fetch'] | undefined
}

/** The middleware, and the connection that it owns. */
export interface RedwellMiddleware extends MiddlewareHandler, AdapterRedis {}

/** The `principal` of the application, by the contexts of its requests. */
const principals = new WeakMap<Context, PrincipalOf<Context>>()

/** `app.fetch` by the contexts of its requests. */
const applications = new WeakMap<Context, Application['fetch']>()

/**
 * Middleware that provides `c.var.redis` and `c.var.cache` to the handlers after it, and the connection of `cache`,
 * `cachePut` and `cacheEvict`. An existing `c.var.redis` is kept, so that tests can set their own.
 *
 * @example
 * const connected = redwell({ url: 'redis://localhost:6379' })
 * app.use(connected)
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function redwell(given: RedwellHonoOptions = {}): RedwellMiddleware {
  const { fetch, ...options } = checkedOptions(given, ['fetch'])
  const own = openRedis(options)
  const { principal } = options
  const middleware: MiddlewareHandler = function redwellVariables(c, next) {
    if (c.get('redis') === undefined) c.set('redis', own.redis)
    if (c.get('cache') === undefined) c.set('cache', c.get('redis').cache)
    if (fetch !== undefined) applications.set(c, fetch)
    if (principal !== undefined) principals.set(c, principal)
    if (isSafe(c.req.method)) return next()
    return serveUnsafe(c, visitOf(c, next, 'redwell')).then((response) => answer(c, response))
  }
  return Object.assign(middleware, own)
}

/**
 * Middleware that answers GET and HEAD from the cache and stores the responses to GET. Other methods are not affected.
 * Throws OptionsError with every problem of the options.
 *
 * @example
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function cache(options: HonoCacheOptions): MiddlewareHandler {
  const declared = new DeclaredCache({ where: 'options of cache', options })
  return async function redwellCache(c, next) {
    const visit = visitOf(c, next, 'cache')
    const cachedRoute = declared.on(visit.host, nameOf(routeOf(c)))
    if (!isCacheable(c.req.method, cachedRoute)) return passOrThrow(c, next, 'cache')
    answer(c, await serveCached(c, visit, cachedRoute))
    executionContext(c)?.waitUntil(cachedRoute.settled())
  }
}

/**
 * Middleware that stores the response of a PUT, POST or PATCH as the entry of the path's GET. Safe methods are not affected.
 * Throws OptionsError with every problem of the options.
 *
 * @example
 * app.put('/products/:id', cachePut({ ttl: '5m', group: 'products' }), handler)
 */
export function cachePut(options: HonoCachePutOptions): MiddlewareHandler {
  return writer('cachePut', new DeclaredWrite({ where: 'options of cachePut', options }, undefined))
}

/**
 * Middleware that invalidates entries after a successful write, before its response is sent. Safe methods are not affected.
 * Throws OptionsError with every problem of the options.
 *
 * @example
 * app.delete('/products/:id', cacheEvict({ key: 'path', group: 'lists' }), handler)
 */
export function cacheEvict(options: HonoCacheEvictOptions): MiddlewareHandler {
  return writer('cacheEvict', new DeclaredWrite(undefined, { where: 'options of cacheEvict', options }))
}

/**
 * Adds groups to the entry of this response, if only the handler knows them.
 *
 * @example
 * cacheGroups(c, `owner:${row.owner}`)
 */
export function cacheGroups(c: Context, ...names: string[]): void {
  Exchange.of(c).addGroups(names)
}

function writer(word: string, declared: DeclaredWrite<Context>): MiddlewareHandler {
  return async function redwellWrite(c, next) {
    if (isSafe(c.req.method)) return passOrThrow(c, next, word)
    answer(c, await serveWrite(c, visitOf(c, next, word), declared))
  }
}

/** `app.use` receives all methods; on a route, the wrong method is a mistake. */
function passOrThrow(c: Context, next: Next, word: string): Promise<void> {
  const route = routeOf(c)
  if (route.method !== 'ALL') throw misplaced(word, `${word} of ${nameOf(route)}`)
  return next()
}

/** Replaces the response. Setting `c.res` alone would add the fields of the old one to the new. */
function answer(c: Context, response: Response | undefined): void {
  if (response === undefined || response === c.res) return
  c.res = undefined
  c.res = response
}

/** Hono decides which paths are the same: see `WebRequest.target`. */
const TRAITS: Host['traits'] = { path: {}, stripsHead: false }

function visitOf(c: Context, next: Next, word: string): Visit<Context> {
  const host = hostOf(redisOf(c, word))
  const fetch = applications.get(c)
  // A write may affect routes that this process has not served yet.
  if (!isSafe(c.req.method)) expectDeclared(host)
  const { raw, path } = c.req
  const message = messageOf(c)
  const request = new WebRequest<Context>({
    native: c,
    request: raw,
    path,
    route: word === 'redwell' || word === 'cache' ? undefined : nameOf(routeOf(c)),
    message,
    principal: principals.get(c) ?? (sessionOf(c) && principalOfSession),
    application: fetch && ((own) => dispatch(c, fetch, own)),
  })
  return new HonoVisit(host, request, c, next)
}

/** A class, not a literal with closures: V8 lets those of a busy place outlive their requests. */
class HonoVisit implements Visit<Context> {
  readonly #context: Context
  readonly #next: Next

  constructor(
    readonly host: Host,
    readonly request: WebRequest<Context>,
    context: Context,
    next: Next,
  ) {
    this.#context = context
    this.#next = next
  }

  next(shown: Request): Promise<Response | undefined> {
    return run(this.#context, this.#next, shown)
  }

  ambient(): Headers {
    return this.#context.newResponse(null).headers
  }

  whenLeft(left: () => void): () => void {
    const outgoing = outgoingOf(this.#context)
    // On Node the signal of a request costs a request of the platform's own.
    const source: Pick<EventTarget, 'addEventListener' | 'removeEventListener'> | undefined =
      outgoing === undefined ? this.request.shown.signal : undefined
    outgoing?.once('close', left)
    source?.addEventListener('abort', left, { once: true })
    return () => {
      outgoing?.off('close', left)
      source?.removeEventListener('abort', left)
    }
  }
}

const hosts = new WeakMap<Redis, Host>()

function hostOf(redis: Redis): Host {
  return valueAt(hosts, redis, () => ({ routes: routesOf(redis, TRAITS), traits: TRAITS }))
}

/** With @hono/node-server the environment is the connection of the client, which a refresh must not see. */
function dispatch(c: Context, fetch: Application['fetch'], request: Request): Response | Promise<Response> {
  const context = executionContext(c)
  const response = fetch(request, messageOf(c) === undefined ? c.env : {}, context)
  context?.waitUntil(Promise.resolve(response))
  return response
}

async function run(c: Context, next: Next, shown: Request): Promise<Response | undefined> {
  const { raw } = c.req
  c.req.raw = shown
  try {
    await next()
  } finally {
    if (c.req.raw === shown) c.req.raw = raw
  }
  // The handler responded without Hono, or an error handler turned an error into a success.
  const isSent = c.res.headers.has('x-hono-already-sent')
  return isSent || (c.error !== undefined && c.res.status < 400) ? undefined : c.res
}

/** Hono throws if there is none, and an error costs as much as the rest of a miss; on Node there is none. */
function executionContext(c: Context): ExecutionContext | undefined {
  if (messageOf(c) !== undefined) return undefined
  try {
    return c.executionCtx
  } catch {
    return undefined
  }
}
