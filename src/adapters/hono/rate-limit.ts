import type { Context, MiddlewareHandler } from 'hono'
import { DeclaredLimit, type RateLimitInput } from '../../limit/route-limit.js'
import { isPromise } from '../../maybe-promise.js'
import type { Answer } from '../answers.js'
import { applyLimit, decisionsAbout, isExempt, type LimitOutcome, limitOn, settleLimits } from '../limiting.js'
import { unwatched } from '../node/peer-watch.js'
import { RequestProperty } from '../request-property.js'
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
    const decided = applyLimit(c, declared, limit, {
      native: c,
      // The address of the connection's peer, if the platform reports it.
      address: unwatched(() => messageOf(c)?.socket?.remoteAddress),
      isExempt: isExempt(c.req.raw, c.req.method, (field) => c.req.header(field)),
    })
    const outcome = isPromise(decided) ? await decided : decided
    if (outcome === undefined) return next()
    const { fields, answer, decisions, error } = outcome
    if (error !== undefined) {
      for (const [field, value] of fields) c.header(field, value)
      throw error
    }
    if (answer !== undefined) {
      return new Response(answer.body, {
        status: answer.status,
        headers: headersOf(outcome, answer, declared.options.onLimited !== undefined),
      })
    }
    await next()
    // A limit behind this one has set the fields of all.
    if (decisionsAbout(c) === decisions) for (const [field, value] of fields) c.res.headers.set(field, value)
    if (decisions === 1) settleLimits(c, c.res.status)
  }
}

type HeadersInit = Record<string, string> | [string, string][]

/** Of outcomes that are the same for many requests. */
const known = new RequestProperty<HeadersInit>()

/** An object where no name repeats, because the server of Node sends its fields as they are. */
function headersOf(outcome: LimitOutcome, answer: Answer, mayRepeat: boolean): HeadersInit {
  const headers = known.get(outcome)
  if (headers !== undefined) return headers
  const fields = [...outcome.fields, ...answer.fields]
  const made = mayRepeat ? fields.map(([name, value]): [string, string] => [name, value]) : Object.fromEntries(fields)
  known.set(outcome, made)
  return made
}
