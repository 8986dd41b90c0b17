import type { Context, MiddlewareHandler } from 'hono'
import type { Field } from '../../limit/fields.js'
import { DeclaredLimit, type RateLimitInput } from '../../limit/route-limit.js'
import { applyLimit, decisionsAbout, isPreflight, limitOn, settleLimits } from '../limiting.js'
import { unwatched } from '../node/peer-watch.js'
import { messageOf, nameOf, redisOf, routeOf } from './context.js'

/** Rates or options of `rateLimit`. */
export type HonoRateLimit = RateLimitInput<Context>

/**
 * Middleware that limits the requests of a route, or of everything after `app.use(rateLimit(…))`. Needs `redwell()` before
 * it. Throws OptionsError with every problem of the options.
 *
 * Clients are counted by the address of the connection (`@hono/node-server`). Elsewhere, and behind a proxy, identify the
 * client with `per`.
 *
 * @example
 * app.post('/login', rateLimit({ rate: ['5/minute', '30/hour'], per: (c) => c.req.header('x-tenant') }), handler)
 */
export function rateLimit(input: HonoRateLimit): MiddlewareHandler {
  const declared = new DeclaredLimit<Context>('options of rateLimit', input)
  return async function redwellRateLimit(c, next) {
    const limit = limitOn(redisOf(c, 'rateLimit'), declared, nameOf(routeOf(c)))
    const outcome = await applyLimit(c, declared, limit, {
      native: c,
      // The address of the connection's peer, if the platform reports it.
      address: unwatched(() => messageOf(c)?.socket?.remoteAddress),
      isPreflight: isPreflight(c.req.method, (field) => c.req.header(field)),
    })
    if (outcome === undefined) return next()
    const { fields, answer, decisions, error } = outcome
    if (error !== undefined) {
      for (const [field, value] of fields) c.header(field, value)
      throw error
    }
    if (answer !== undefined) {
      return new Response(answer.body, {
        status: answer.status,
        headers: headersOf([...fields, ...answer.fields], declared.options.onLimited !== undefined),
      })
    }
    await next()
    // A limit behind this one has set the fields of all.
    if (decisionsAbout(c) === decisions) for (const [field, value] of fields) c.res.headers.set(field, value)
    if (decisions === 1) settleLimits(c, c.res.status)
  }
}

/** An object where no name repeats, because the server of Node sends its fields as they are. */
function headersOf(fields: readonly Field[], mayRepeat: boolean): Record<string, string> | [string, string][] {
  return mayRepeat ? fields.map(([name, value]): [string, string] => [name, value]) : Object.fromEntries(fields)
}
