import type { RoutePolicy } from './policy.js'
import type { RequestContext } from './request.js'

/** Whether a key can be made of the request target, so that it says all that a handler can read of it. */
export function isUnambiguous(
  request: Pick<RequestContext<unknown>, 'target' | 'namesTwoHosts'>,
  { host, http }: Pick<RoutePolicy<never>, 'host' | 'http'>,
): boolean {
  // RFC 9113 section 8.3.1: a differing Host is malformed. Servers let it pass, and handlers read the one or the other.
  // Last, because most requests need not be parsed for a hit.
  if ((host || http.vary.includes('host')) && request.namesTwoHosts === true) return false
  return isPath(request.target)
}

/**
 * Origin-form (RFC 9112 section 3.2.1): the only one that a route and its handler understand alike. It has no fragment, which
 * some routers take for a query.
 */
export function isPath(target: string): boolean {
  return target.charCodeAt(0) === 0x2f && !target.includes('#')
}
