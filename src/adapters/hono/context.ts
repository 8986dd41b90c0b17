import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { RouterRoute } from 'hono/types'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Redis } from '../../create-redis.js'
import { UsageError } from '../../errors.js'
import { valueAt } from '../../value-at.js'

/** The application's Redis. `word`: the middleware that needs it. */
export function redisOf(c: Context, word: string): Redis {
  const redis = c.get('redis') as Redis | undefined
  if (redis !== undefined) return redis
  throw new UsageError(
    `c.var.redis is missing for ${word} of ${nameOf(routeOf(c))}: call \`app.use(redwell({ … }))\` before it.`,
  )
}

/** Node's message, if @hono/node-server provides it. */
export function messageOf({ env }: Context): IncomingMessage | undefined {
  return (env as { incoming?: IncomingMessage } | undefined)?.incoming
}

/** Node's response, likewise. */
export function outgoingOf({ env }: Context): ServerResponse | undefined {
  return (env as { outgoing?: ServerResponse } | undefined)?.outgoing
}

type Route = Pick<RouterRoute, 'method' | 'path'>

const ANYWHERE: Route = { method: 'ALL', path: '/' }

/** The route that a middleware was declared on; the method is `ALL` for `app.use`. */
export function routeOf(c: Context): Route {
  return matchedRoutes(c)[c.req.routeIndex] ?? ANYWHERE
}

const names = new WeakMap<Route, string>()

/** Method and template of a route. */
export function nameOf(route: Route): string {
  return valueAt(names, route, () => `${route.method} ${route.path}`)
}
