import type { Context, Middleware } from 'koa'
import {
  DeclaredCache,
  DeclaredWrite,
  expectDeclared,
  type Host,
  isCacheable,
  misplaced,
  routesOf,
} from '../../../src/adapters/declarations.js'
import { Exchange } from '../../../src/adapters/exchange.js'
import { type Dispatch, NodeRequest } from '../../../src/adapters/node/request.js'
import { sendHit, serveCached, serveUnsafe, serveWrite, type Visit } from '../../../src/adapters/node/response.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions, PrincipalOf, Redis } from '../../../src/index.js'
import { isSafe } from '../../../src/http/index.js'

// An adapter for a sixth framework: all that Koa needs on top of what adapters share.

/** Redis for Koa, and the writes of routes that declare nothing. `application`: what requests enter by. */
export function redwell(redis: Redis, application: Dispatch, principal?: PrincipalOf<Context>): Middleware {
  const host: Host = { routes: routesOf(redis), traits: { path: {}, stripsHead: false } }
  return (ctx, next) => {
    hosts.set(ctx.req, { host, application, principal })
    if (isSafe(ctx.method)) return next()
    expectDeclared(host)
    return answer(ctx, next, (visit) => {
      serveUnsafe(visit)
      visit.proceed()
    })
  }
}

/** `route`: method and template. */
export function cache(route: string, options: CacheOptions<Context>): Middleware {
  const declared = new DeclaredCache({ where: 'options of cache', options })
  return (ctx, next) =>
    answer(ctx, next, (visit, done) => {
      const cachedRoute = declared.on(visit.host, route)
      if (!isCacheable(ctx.method, cachedRoute)) throw misplaced('cache', `cache of ${route}`)
      serveCached(visit, cachedRoute, (outgoing) => {
        ctx.respond = false
        sendHit(ctx.res, outgoing)
        done()
      })
    })
}

export function cachePut(route: string, options: CachePutOptions<Context>): Middleware {
  return writer(route, new DeclaredWrite({ where: 'options of cachePut', options }, undefined))
}

export function cacheEvict(route: string, options: CacheEvictOptions<Context>): Middleware {
  return writer(route, new DeclaredWrite(undefined, { where: 'options of cacheEvict', options }))
}

export function cacheGroups(ctx: Context, ...names: string[]): void {
  Exchange.of(ctx.res).addGroups(names)
}

function writer(route: string, declared: DeclaredWrite<Context>): Middleware {
  return (ctx, next) => {
    if (isSafe(ctx.method)) throw misplaced('cachePut', route)
    return answer(ctx, next, (visit) => serveWrite(visit, declared), route)
  }
}

interface Known {
  readonly host: Host
  readonly application: Dispatch
  readonly principal: PrincipalOf<Context> | undefined
}

const hosts = new WeakMap<object, Known>()

/** Koa sends the response when the promises of all middlewares have resolved. */
function answer(
  ctx: Context,
  next: () => Promise<unknown>,
  serve: (visit: Visit<Context>, done: () => void) => void,
  route?: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const known = hosts.get(ctx.req)
    if (known === undefined) throw new Error('Write `app.use(redwell(redis))` before the routes that cache.')
    let proceeded = false
    const visit: Visit<Context> = {
      host: known.host,
      request: new NodeRequest(ctx, ctx.req, { application: known.application, principal: known.principal, route }),
      response: ctx.res,
      proceed() {
        proceeded = true
        next().then(() => resolve(), reject)
      },
      failed: (error) => {
        const reason = error instanceof Error ? error : new Error(String(error))
        if (proceeded) ctx.onerror(reason)
        else reject(reason)
      },
    }
    serve(visit, resolve)
  })
}
