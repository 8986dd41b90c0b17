import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { RouterRoute } from 'hono/types'
import type { Redis } from '../../create-redis.js'
import type { CacheBackend } from '../../data/backend.js'
import { UsageError } from '../../errors.js'
import type { HandlerRun } from '../../route/handler-run.js'
import type { RouteRegistry, HostTraits } from '../../route/registry.js'
import { expectDeclared, routesOf } from '../declarations.js'
import type { Refresher } from '../web/refresher.js'
import type { Writing } from './middleware.js'

/** What the middlewares of one request tell each other, beside it. */
interface OwnVariables {
  'redwell.refresher': Refresher
  /** The handler run that the innermost `cache` waits for. */
  'redwell.run': HandlerRun | undefined
  'redwell.writing': Writing
}

declare module 'hono' {
  // Member by member: a program may hold both the sources and the built package, as ours does.
  interface ContextVariableMap {
    /** The application's Redis; `redis.client` is the node-redis client. */
    redis: Redis
    /** Values beside the routes. */
    cache: CacheBackend
  }
}

export function getOwn<Name extends keyof OwnVariables>(c: Context, name: Name): OwnVariables[Name] | undefined {
  return c.get(name)
}

export function setOwn<Name extends keyof OwnVariables>(c: Context, name: Name, value: OwnVariables[Name]): void {
  c.set(name, value)
}

/** The routes of the application whose Redis the context holds. */
export function routesIn(c: Context, word: string): RouteRegistry {
  const redis = c.get('redis') as Redis | undefined
  if (redis === undefined) {
    throw new UsageError(
      `${word} of ${nameOf(routeOf(c))} found no c.var.redis: write \`app.use(redwell({ … }))\` before the routes that use it.`,
    )
  }
  return routesOf(redis)
}

/** The route that a middleware was declared on. */
export function routeOf(c: Context): RouterRoute {
  return matchedRoutes(c)[c.req.routeIndex] as RouterRoute
}

/** As `routesIn`, for a request that may invalidate what routes cache that this process has not met yet. */
export function writtenRoutesIn(c: Context, word: string): RouteRegistry {
  const routes = routesIn(c, word)
  expectDeclared(routes, traitsOf(c))
  return routes
}

const names = new WeakMap<RouterRoute, string>()

/** Method and template of a route; the method is `ALL` where that was `app.use`. */
export function nameOf(route: RouterRoute): string {
  let name = names.get(route)
  if (name === undefined) names.set(route, (name = `${route.method} ${route.path}`))
  return name
}

/** Paths are told apart by Hono itself: see `CacheableRequest.target`. */
export function traitsOf(c: Context): HostTraits {
  return { path: {}, refreshes: getOwn(c, 'redwell.refresher') !== undefined, stripsHead: false }
}
