import type { Request, Response } from 'express'
import { createRedis, type Redis, type RedisOptions } from '../../create-redis.js'
import type { CacheBackend } from '../../data/backend.js'
import { isSafe } from '../../http/index.js'
import { expectDeclared } from '../declarations.js'
import { NodeRequest } from '../node/request.js'
import { invalidateBy } from '../node/responders.js'
import { hostOf, type Middleware, settled } from './middleware.js'

declare global {
  // The way @types/express lets others name what is on res.locals.
  namespace Express {
    interface Locals {
      /** The application's Redis; `redis.client` is the node-redis client. */
      redis: Redis
      /** Values beside the routes. */
      cache: CacheBackend
    }
  }
}

/** Options of `redwell`: the settings of `createRedis`, or a handle that exists already. */
export interface RedwellExpressOptions extends RedisOptions {
  /** Use this handle, and leave its life to whoever made it. */
  readonly redis?: Redis | undefined
}

/** The middleware, and the connection whose life it holds. */
export interface RedwellMiddleware extends Middleware, AsyncDisposable {
  readonly redis: Redis
  /** Ends refreshes and the connection. A handle that was given stays open. Call it when the server has closed. */
  close(): Promise<void>
}

/**
 * Redis for Express: `res.locals.redis` and `res.locals.cache` for the handlers behind it, and what `cache`,
 * `cachePut` and `cacheEvict` work on. A `res.locals.redis` that is there already is kept, so that tests can bring
 * their own.
 *
 * @example
 * const cached = redwell({ url: 'redis://localhost:6379' })
 * app.use(cached)
 * app.get('/products/:id', cache({ ttl: '5m', group: 'products' }), handler)
 */
export function redwell(options: RedwellExpressOptions = {}): RedwellMiddleware {
  const { redis: given, ...settings } = options
  const redis = given ?? createRedis(settings)
  const middleware: Middleware = function redwellLocals(raw, response, next) {
    const [req, res] = [raw as Request, response as Response]
    const { locals } = res
    locals.redis ??= redis
    locals.cache ??= locals.redis.cache
    if (!isSafe(req.method)) {
      const host = hostOf(req, res)
      expectDeclared(host.routes, host.traits)
      invalidateBy(host, new NodeRequest(req, req), res, next)
    }
    next()
  }
  const close = async (): Promise<void> => {
    await settled(redis)
    if (given === undefined) await redis.close()
  }
  return Object.assign(middleware, { redis, close, [Symbol.asyncDispose]: close })
}
