import { prefixProblem } from './connection/resolve.js'
import type { Redis } from './redis.js'
import { Routes } from './route/routes.js'

const known = new WeakMap<Redis, Routes>()

/** The routes of an application: what an adapter declares them with. Beside `Redis`, so that the data cache loads no HTTP. */
export function routesOf(redis: Redis): Routes {
  const before = known.get(redis)
  if (before !== undefined) return before
  const { logger, defaults, settings } = redis
  const space = redis.space.bind(redis)
  const routes = new Routes({ space, logger, defaults, defaultTtlMs: settings.defaultTtlMs, prefixProblem })
  redis.cache.explainWith((request) => routes.explain(request))
  known.set(redis, routes)
  return routes
}
