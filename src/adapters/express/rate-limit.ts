import type { Request } from 'express'
import { DeclaredLimit, type RateLimitInput } from '../../limit/route-limit.js'
import { decodeSegment } from '../../route/templates.js'
import { applyNodeLimit } from '../node/rate-limit.js'
import { valueAt } from '../../value-at.js'
import { limitOn } from '../limiting.js'
import { unwatched } from '../node/peer-watch.js'
import { type Middleware, redisOf } from './locals.js'

/** Rates or options of `rateLimit`. */
export type ExpressRateLimit<P = Request['params']> = RateLimitInput<Request<P>>

/**
 * Middleware that limits the requests of a route, or of everything after `app.use(rateLimit(…))`. Needs `redwell()`
 * before it. Throws OptionsError with every problem of the options.
 *
 * @example
 * app.post('/login', rateLimit({ rate: ['5/minute', '30/hour'], per: (req) => req.body.email }), handler)
 */
export function rateLimit<P = Request['params']>(input: ExpressRateLimit<P>): Middleware {
  const declared = new DeclaredLimit<Request<P>>('options of rateLimit', input)
  return function redwellRateLimit(req, res, next) {
    const native = req as Request<P>
    const limit = limitOn(redisOf(res, 'rateLimit'), declared, routeName(native, declared))
    applyNodeLimit(
      res,
      declared,
      limit,
      native,
      unwatched(() => native.ip),
      next,
    )
  }
}

/** Mount paths of one router that are distinguished. Beyond this number its path has parameters that Express does not report. */
const MOUNTS_MAX = 8

/** Mount paths by route, or by declaration for middleware. */
const mounts = new WeakMap<object, string[][]>()

/** Method and template of the route, or the path of `app.use`. HEAD is a GET. */
function routeName<P>(req: Request<P>, declared: DeclaredLimit<Request<P>>): string {
  const route = req.route as { path?: unknown } | undefined
  if (route === undefined) return `ALL ${mountPath(req, declared, '') || '/'}`
  const path = String(route.path)
  return `${req.method === 'HEAD' ? 'GET' : req.method} ${mountPath(req, route, path)}${path}`
}

/**
 * The path of the router, in one spelling: Express ignores its case, and a client must not choose its budget by it.
 * Parameters have their names; those of routers without `mergeParams` are not known.
 */
function mountPath<P>({ baseUrl, params }: Request<P>, owner: object, path: string): string {
  if (baseUrl === '') return ''
  const parts = baseUrl.toLowerCase().split('/')
  const known = valueAt(mounts, owner, () => [] as string[][])
  const found = known.find((mount) => isUnder(mount, parts))
  if (found !== undefined) return found.join('/')
  if (known.length === MOUNTS_MAX) return '/*'
  const decoded = parts.map((part) => decodeSegment(part).toLowerCase())
  for (const [name, value] of Object.entries(params ?? {})) {
    const at = decoded.lastIndexOf(String(value).toLowerCase())
    if (at !== -1 && !path.includes(`:${name}`)) parts[at] = `:${name}`
  }
  known.push(parts)
  return parts.join('/')
}

function isUnder(mount: readonly string[], parts: readonly string[]): boolean {
  return mount.length === parts.length && mount.every((part, at) => part === parts[at] || part.startsWith(':'))
}
