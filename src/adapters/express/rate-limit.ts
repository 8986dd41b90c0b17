import type { Request, Response } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { UsageError } from '../../errors.js'
import { DeclaredLimit, type RateLimitInput } from '../../limit/route-limit.js'
import { applyNodeLimit } from '../node/rate-limit.js'
import { limitOn } from '../limiting.js'

type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** Rates or options of `rateLimit`. */
export type ExpressRateLimit<P = Request['params']> = RateLimitInput<Request<P>>

/**
 * Middleware that limits the requests of a route, or of everything after `app.use(rateLimit(…))`. Needs `redwell()` before
 * it. Throws OptionsError with every problem of the options.
 *
 * @example
 * app.post('/login', rateLimit({ rate: ['5/minute', '30/hour'], per: (req) => req.body.email }), handler)
 */
export function rateLimit<P = Request['params']>(input: ExpressRateLimit<P>): Middleware {
  const declared = new DeclaredLimit<Request<P>>('options of rateLimit', input)
  return function redwellRateLimit(req, res, next) {
    const native = req as Request<P>
    const { locals } = res as Response
    if (locals.redis === undefined) {
      return next(new UsageError('res.locals.redis is missing: call `app.use(redwell({ … }))` before rateLimit.'))
    }
    const limit = limitOn(locals.redis, declared, routeName(native))
    applyNodeLimit(res, declared, limit, native, native.ip, next)
  }
}

/** Method and template of the route, or the path of `app.use`. */
function routeName<P>(req: Request<P>): string {
  const route = req.route as { path?: unknown } | undefined
  return route === undefined
    ? `ALL ${req.baseUrl === '' ? '/' : req.baseUrl}`
    : `${req.method} ${req.baseUrl}${String(route.path)}`
}
