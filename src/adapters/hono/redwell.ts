import type { MiddlewareHandler } from 'hono'
import { createRedis, type Redis, type RedisOptions } from '../../create-redis.js'
import { isSafe } from '../../http/index.js'
import { type Fetch, Refresher } from '../web/refresher.js'
import { setOwn } from './context.js'
import { endUnsafe } from './middleware.js'

/** Options of `redwell`: the settings of `createRedis`, or a handle that exists already. */
export interface RedwellHonoOptions extends RedisOptions {
  /** Use this handle, and leave its life to whoever made it. */
  redis?: Redis | undefined
  /**
   * `app.fetch`: lets stale entries be refreshed in the background. Without it the first request that meets a stale
   * entry runs the handler, and all others are served the stale one.
   */
  fetch?: Fetch | undefined
}

/** The middleware, and the connection whose life it holds. */
export interface RedwellMiddleware extends MiddlewareHandler, AsyncDisposable {
  readonly redis: Redis
  /** Ends refreshes and the connection. A handle that was given stays open. Call it when the server has closed. */
  close(): Promise<void>
}

/**
 * Redis for Hono: `c.var.redis` and `c.var.cache` for the handlers behind it, and what `cache`, `cachePut` and
 * `cacheEvict` work on. A `c.var.redis` that is there already is kept, so that tests can bring their own.
 *
 * @example
 * const connected = redwell({ url: 'redis://localhost:6379' })
 * app.use(connected)
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function redwell(options: RedwellHonoOptions = {}): RedwellMiddleware {
  const { redis: given, fetch, ...settings } = options
  const redis = given ?? createRedis(settings)
  const refresher = fetch === undefined ? undefined : new Refresher(fetch)
  const middleware: MiddlewareHandler = function redwellVariables(c, next) {
    if (c.get('redis') === undefined) c.set('redis', redis)
    if (c.get('cache') === undefined) c.set('cache', c.get('redis').cache)
    if (refresher !== undefined) setOwn(c, 'redwell.refresher', refresher)
    return isSafe(c.req.method) ? next() : next().then(() => endUnsafe(c))
  }
  const close = async (): Promise<void> => {
    await refresher?.settled()
    if (given === undefined) await redis.close()
  }
  return Object.assign(middleware, { redis, close, [Symbol.asyncDispose]: close })
}
