import type { Application, Request, Response } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Redis } from '../../create-redis.js'
import { OptionsError, UsageError } from '../../errors.js'
import { isSafe } from '../../http/index.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions } from '../../route/options.js'
import { DeclaredCache, DeclaredWrite, routesOf } from '../declarations.js'
import { sendAnswer } from '../node/fields.js'
import { addGroups, type Host, visit, write } from '../node/handlers.js'
import { Refresher } from '../node/refresher.js'
import { NodeRequest } from '../node/request.js'
import { giveWay } from '../node/responders.js'

export type ExpressCacheOptions<P = Request['params']> = CacheOptions<Request<P>>

export type ExpressCachePutOptions<P = Request['params']> = CachePutOptions<Request<P>>

export type ExpressCacheEvictOptions<P = Request['params']> = CacheEvictOptions<Request<P>>

/**
 * Answers GET and HEAD from the cache, and stores what the handlers behind it answer to a GET. Other methods pass.
 * Options are checked here; throws OptionsError with all that is wrong.
 *
 * @example
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function cache<P = Request['params']>(options: ExpressCacheOptions<P>): Middleware {
  const declared = new DeclaredCache({ where: 'options of cache', options: options as CacheOptions<Request> })
  return function redwellCache(raw, response, next) {
    const [req, res] = [raw as Request, response as Response]
    if (res.headersSent) return next()
    try {
      const host = hostOf(req, res)
      const routeCache = declared.on(host.routes, routeName(req), () => host.traits)
      if (req.method !== 'GET' && req.method !== 'HEAD' && !routeCache.anyMethod) {
        return next(misplaced('cache', req, ONLY_GET))
      }
      giveWay(res)
      visit({
        host,
        cache: routeCache,
        request: new NodeRequest(req, req),
        res,
        dispatch: (own, answer) => rootOf(req.app)(own, answer),
        hit: (outgoing) => sendAnswer(res, outgoing),
        proceed: next,
        failed: next,
      })
    } catch (error) {
      next(error)
    }
  }
}

/**
 * Stores what a PUT or POST answers as the entry of its path's GET. Safe methods pass.
 *
 * @example
 * app.put('/products/:id', cachePut({ ttl: '5m', group: 'products' }), handler)
 */
export function cachePut<P = Request['params']>(options: ExpressCachePutOptions<P>): Middleware {
  const declared = { where: 'options of cachePut', options: options as CachePutOptions<Request> }
  return writer('cachePut', new DeclaredWrite(declared, undefined))
}

/**
 * Invalidates entries when a write has succeeded, before its response is released. Safe methods pass.
 *
 * @example
 * app.delete('/products/:id', cacheEvict({ key: 'path', group: 'lists' }), handler)
 */
export function cacheEvict<P = Request['params']>(options: ExpressCacheEvictOptions<P>): Middleware {
  const declared = { where: 'options of cacheEvict', options: options as CacheEvictOptions<Request> }
  return writer('cacheEvict', new DeclaredWrite(undefined, declared))
}

/**
 * Adds groups to the entry that this response becomes, for those that only the handler knows.
 *
 * @example
 * cacheGroups(res, `owner:${row.owner}`)
 */
export function cacheGroups(res: ServerResponse, ...names: string[]): void {
  addGroups(res, names)
}

function writer(word: 'cachePut' | 'cacheEvict', declared: DeclaredWrite<Request>): Middleware {
  return function redwellWrite(raw, response, next) {
    const [req, res] = [raw as Request, response as Response]
    if (isSafe(req.method)) {
      return next(misplaced(word, req, `${word} belongs on a route that writes (POST, PUT, PATCH, DELETE)`))
    }
    if (res.headersSent) return next()
    try {
      const request = new NodeRequest(req, req, routeName(req))
      write({ host: hostOf(req, res), declared, request, res, proceed: next, failed: next })
    } catch (error) {
      next(error)
    }
  }
}

const ONLY_GET =
  "only GET responses are cached: use cachePut or cacheEvict on a route that writes, or `preset: 'rfc9111'` on one that answers all methods"

/** What Express keeps of the route that is being answered; nothing while a router's own middleware runs. */
interface Route {
  readonly path: string | RegExp | readonly (string | RegExp)[]
  readonly methods: Readonly<Record<string, boolean | undefined>>
}

function routeOf(req: Request): Route | undefined {
  return req.route as Route | undefined
}

/** On a router, or a route for all methods, a word passes by the methods it is not for; on one method's it is a mistake. */
function misplaced(word: string, req: Request, problem: string): OptionsError | undefined {
  const route = routeOf(req)
  if (route === undefined || route.methods['_all'] === true) return undefined
  return new OptionsError(`${word} of ${routeName(req)}`, [problem])
}

/** Each route has its name from its first request: a router may be mounted where parameters stand. */
const names = new WeakMap<Route, string>()

/** Method and template. */
function routeName(req: Request): string {
  const route = routeOf(req)
  if (route === undefined) return 'ALL /*'
  let name = names.get(route)
  if (name === undefined) {
    const method = req.method === 'HEAD' ? 'GET' : req.method
    names.set(route, (name = `${method} ${mountPath(req)}${route.path.toString()}`))
  }
  return name
}

/** Where the router is mounted, with the names of parameters in the place of their values as far as they are known. */
function mountPath({ baseUrl, params }: Request): string {
  const named = new Map(Object.entries(params).map(([name, value]) => [value, name]))
  return baseUrl
    .split('/')
    .map((part) => (named.has(part) ? `:${named.get(part)}` : part))
    .join('/')
}

const hosts = new WeakMap<Redis, Host>()

/** The application's Redis as its routes use it. */
export function hostOf(req: Request, res: Response): Host {
  const redis = res.locals.redis as Redis | undefined
  if (redis === undefined) {
    throw new UsageError('res.locals.redis is not there: write `app.use(redwell({ … }))` before the routes that cache.')
  }
  let host = hosts.get(redis)
  if (host === undefined) {
    // Where Express takes /items/ for /items, so does the key. It is not asked about case: parameters always keep theirs.
    const path = { ignoreTrailingSlash: !req.app.enabled('strict routing') }
    host = { routes: routesOf(redis), traits: { path, refreshes: true, stripsHead: false }, refresher: new Refresher() }
    hosts.set(redis, host)
  }
  return host
}

/** Resolves when nothing runs in the background any more. */
export async function settled(redis: Redis): Promise<void> {
  await hosts.get(redis)?.refresher.settled()
}

/** The application that requests enter by. */
export function rootOf(app: Application): Application {
  let root = app
  // `parent` is set by `app.use(subApplication)`; Express documents the event, and types leave the property out.
  for (let parent = parentOf(root); parent !== undefined; parent = parentOf(root)) root = parent
  return root
}

function parentOf(app: Application): Application | undefined {
  return (app as unknown as { parent?: Application }).parent
}

/**
 * A middleware that says nothing about parameters, body or locals: it is typed by `node:http`, so that Express infers
 * `req.params` of the handlers beside it as if it were not there.
 */
export type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void
