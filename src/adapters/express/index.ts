/**
 * Middlewares for Express.
 *
 * @module redwell/express
 */
import type { Application, Request, Response } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Redis } from '../../create-redis.js'
import type { CacheBackend } from '../../data/backend.js'
import type { OptionsError } from '../../errors.js'
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
import { NodeRequest } from '../node/request.js'
import { sessionOf, principalOfSession } from '../sessions.js'
import { EXPRESS_PATH, routedOf } from '../node/routed.js'
import { sendHit, serveCached, serveUnsafe, serveWrite, type Visit } from '../node/response.js'
import { type Middleware, redisOf } from './locals.js'

export type { Middleware } from './locals.js'

export { rateLimit } from './rate-limit.js'

export type { ExpressRateLimit } from './rate-limit.js'

export { requireSession, sessionOfRequest, sessions } from './session.js'

export type { ExpressSession, ExpressSessionMethods, ExpressSessionOptions } from './session.js'

declare global {
  // The way to declare types of res.locals.
  namespace Express {
    interface Locals {
      /** The application's Redis; `redis.client` is the node-redis client. */
      redis: Redis
      /** The data cache. */
      cache: CacheBackend
    }
  }
}

/** Options of `cache` whose functions get the Express request. */
export type ExpressCacheOptions<P = Request['params']> = CacheOptions<Request<P>>

/** Options of `cachePut` whose functions get the Express request. */
export type ExpressCachePutOptions<P = Request['params']> = CachePutOptions<Request<P>>

/** Options of `cacheEvict` whose functions get the Express request. */
export type ExpressCacheEvictOptions<P = Request['params']> = CacheEvictOptions<Request<P>>

/** Options of `redwell`: the settings of `createRedis`, or an existing handle. */
export interface RedwellExpressOptions extends Omit<AdapterOptions<Request>, 'sessions'> {}

/** The middleware, and the connection that it owns. */
export interface RedwellMiddleware extends Middleware, AdapterRedis {}

/**
 * Middleware that provides `res.locals.redis` and `res.locals.cache` to the handlers after it, and the connection of
 * `cache`, `cachePut` and `cacheEvict`. An existing `res.locals.redis` is kept, so that tests can set their own.
 *
 * @example
 * const cached = redwell({ url: 'redis://localhost:6379' })
 * app.use(cached)
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function redwell(options: RedwellExpressOptions = {}): RedwellMiddleware {
  const own = openRedis(checkedOptions(options))
  const { principal } = options
  const middleware = middlewareOf(function redwellLocals(req, res, next) {
    const { locals } = res
    if (principal !== undefined) principals.set(req, principal)
    locals.redis ??= own.redis
    locals.cache ??= locals.redis.cache
    if (!isSafe(req.method)) {
      expectDeclared(hostOf(res))
      serveUnsafe(visitOf(req, res, next))
    }
    next()
  })
  return Object.assign(middleware, own)
}

/**
 * Middleware that answers GET and HEAD from the cache and stores the responses to GET. Other methods are not affected.
 * Throws OptionsError with every problem of the options.
 *
 * @example
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function cache<P = Request['params']>(options: ExpressCacheOptions<P>): Middleware {
  const declared = new DeclaredCache<Request<P>>({ where: 'options of cache', options })
  return middlewareOf<P>(function redwellCache(req, res, next) {
    if (res.headersSent) return next()
    const visit = visitOf(req, res, next)
    const cachedRoute = declared.on(visit.host, routeName(req))
    if (!isCacheable(req.method, cachedRoute)) return next(wrongMethod('cache', req))
    serveCached(visit, cachedRoute, (outgoing) => sendHit(res, outgoing))
  })
}

/**
 * Middleware that stores the response of a PUT, POST or PATCH as the entry of the path's GET. Safe methods are not affected.
 * Throws OptionsError with every problem of the options.
 *
 * @example
 * app.put('/products/:id', cachePut({ ttl: '5m', group: 'products' }), handler)
 */
export function cachePut<P = Request['params']>(options: ExpressCachePutOptions<P>): Middleware {
  return writer('cachePut', new DeclaredWrite<Request<P>>({ where: 'options of cachePut', options }, undefined))
}

/**
 * Middleware that invalidates entries after a successful write, before its response is sent. Safe methods are not affected.
 * Throws OptionsError with every problem of the options.
 *
 * @example
 * app.delete('/products/:id', cacheEvict({ key: 'path', group: 'lists' }), handler)
 */
export function cacheEvict<P = Request['params']>(options: ExpressCacheEvictOptions<P>): Middleware {
  return writer('cacheEvict', new DeclaredWrite<Request<P>>(undefined, { where: 'options of cacheEvict', options }))
}

/**
 * Adds groups to the entry of this response, if only the handler knows them.
 *
 * @example
 * cacheGroups(res, `owner:${row.owner}`)
 */
export function cacheGroups(res: ServerResponse, ...names: string[]): void {
  Exchange.of(res).addGroups(names)
}

function writer<P>(word: 'cachePut' | 'cacheEvict', declared: DeclaredWrite<Request<P>>): Middleware {
  return middlewareOf<P>(function redwellWrite(req, res, next) {
    if (isSafe(req.method)) return next(wrongMethod(word, req))
    if (res.headersSent) return next()
    serveWrite(visitOf(req, res, next, routeName(req)), declared)
  })
}

/** Express calls middlewares with its own request and response; errors go to its error handlers. */
function middlewareOf<P = Request['params']>(
  run: (req: Request<P>, res: Response, next: (error?: unknown) => void) => void,
): Middleware {
  return Object.defineProperty(
    (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) =>
      run(req as Request<P>, res as Response, next),
    'name',
    { value: run.name },
  )
}

function visitOf<P>(
  req: Request<P>,
  res: Response,
  next: (error?: unknown) => void,
  route?: string,
): Visit<Request<P>> {
  const application = rootOf(req.app)
  // The application's function accepts requests of any route.
  const principal = (principals.get(req) ?? (sessionOf(req) && principalOfSession)) as
    | PrincipalOf<Request<P>>
    | undefined
  const request = new NodeRequest(req, req, {
    route,
    application,
    principal,
    routed: routedOf,
    host: isExpress4(application) ? () => hostAndPort(req) : undefined,
  })
  return { host: hostOf(res), request, response: res, proceed: next, failed: next }
}

/** Express 4, whose `req.host` has no port and logs a deprecation. It has a method that Express 5 has removed. */
function isExpress4(application: Application): boolean {
  return 'del' in application
}

/** Like `req.host` in Express 5: the host from the field that the application trusts, with its port. */
function hostAndPort({ headers, hostname }: Pick<Request, 'headers' | 'hostname'>): string {
  const [forwarded] = String(headers['x-forwarded-host'] ?? '').split(',')
  const sent = [forwarded?.trim() ?? '', headers.host ?? '']
  return sent.find((host) => host.replace(/:\d*$/, '') === hostname) ?? hostname
}

/** The `principal` of the application, by its requests. */
const principals = new WeakMap<IncomingMessage, PrincipalOf<Request>>()

const TRAITS: Host['traits'] = { path: EXPRESS_PATH, stripsHead: false }

const hosts = new WeakMap<Redis, Host>()

/** The application's Redis as its routes use it. */
function hostOf(res: Response): Host {
  const redis = redisOf(res, 'the routes that use the cache')
  return valueAt(hosts, redis, () => ({ routes: routesOf(redis, TRAITS), traits: TRAITS }))
}

/** The outermost application, which receives the requests. */
function rootOf(app: Application): Application {
  // `parent` is set by `app.use(subApplication)`; Express documents the event, and types leave the property out.
  const { parent } = app as Application & { parent?: Application }
  return parent === undefined ? app : rootOf(parent)
}

/** The route that is being handled; undefined in the middleware of a router. */
interface Route {
  readonly path: string | RegExp | readonly (string | RegExp)[]
  readonly methods: Readonly<Record<string, boolean | undefined>>
}

/** On a router, or a route for all methods, the middleware ignores other methods; on a route for one of them it is a mistake. */
function wrongMethod<P>(word: string, req: Request<P>): OptionsError | undefined {
  const route = req.route as Route | undefined
  if (route === undefined || route.methods['_all'] === true) return undefined
  return misplaced(word, `${word} of ${routeName(req)}`)
}

/** A route is named by its first request, because a router may be mounted on a path with parameters. */
const names = new WeakMap<Route, string>()

/** Method and template. */
function routeName<P>(req: Request<P>): string {
  const route = req.route as Route | undefined
  if (route === undefined) return 'ALL /*'
  const method = req.method === 'HEAD' ? 'GET' : req.method
  return valueAt(names, route, () => {
    const own = route.path.toString()
    return `${method} ${mountPath(req, own)}${own}`
  })
}

/** The path of the router, with parameter names instead of their values as far as they are known: those of its own are not. */
function mountPath<P>({ baseUrl, params }: Request<P>, own: string): string {
  const outer = Object.entries(params ?? {}).filter(([name]) => !own.includes(name))
  const named = new Map(outer.map(([name, value]) => [value, name]))
  return baseUrl
    .split('/')
    .map((part) => (named.has(part) ? `:${named.get(part)}` : part))
    .join('/')
}
