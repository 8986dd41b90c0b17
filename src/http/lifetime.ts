import type { ResponseHead } from './contract.js'
import type { Governing } from './governing.js'
import { firstField } from './header-list.js'
import { parseHttpDate } from './http-date.js'
import type { HttpPolicy } from './http-policy.js'
import { HANDLER_STATUSES, HEURISTIC_STATUSES, ROUTE_STATUSES } from './status-code.js'

/** How long a response is fresh, and by whose word. */
export interface Lifetime {
  readonly ms: number
  /** `route`: counted from when it is stored. `handler`: from when the response was made (RFC 9111 section 4.2). */
  readonly by: 'route' | 'handler'
}

/** Why there is none. */
export type NoLifetime = 'status' | 'no-freshness'

/**
 * The order of lifetimes: `override`, the own targeted field, the route's `ttl`, `s-maxage`, `max-age`, `Expires` less
 * `Date` (RFC 9111 section 4.2.1), the heuristic (4.2.2), the default.
 */
export function chooseLifetime(
  response: ResponseHead,
  governing: Governing,
  policy: HttpPolicy,
  now: number,
): Lifetime | NoLifetime {
  if (policy.ttlMs !== undefined) return routeLifetime(response.status, governing, policy)
  const explicit = explicitLifetime(response, governing, now)
  if (explicit !== undefined) return allowed(policy.statuses ?? HANDLER_STATUSES, response.status, explicit, 'handler')
  const heuristic = heuristicLifetime(response, governing, policy, now)
  if (heuristic !== undefined) return allowed(policy.statuses ?? 'any', response.status, heuristic, 'handler')
  if (policy.defaultTtlMs !== undefined)
    return allowed(policy.statuses ?? ROUTE_STATUSES, response.status, policy.defaultTtlMs, 'route')
  // Nothing but a validation ever uses it, so it needs no lifetime.
  if (governing.directives.noCache) return allowed(policy.statuses ?? HANDLER_STATUSES, response.status, 0, 'handler')
  return 'no-freshness'
}

function routeLifetime(status: number, governing: Governing, policy: HttpPolicy): Lifetime | NoLifetime {
  const ttlMs = typeof policy.ttlMs === 'number' ? policy.ttlMs : policy.ttlMs?.get(status)
  if (ttlMs === undefined) return 'status'
  const own = governing.targeted && policy.override === undefined ? deltaOf(governing) : undefined
  const statuses = typeof policy.ttlMs === 'number' ? (policy.statuses ?? ROUTE_STATUSES) : 'any'
  return allowed(statuses, status, own ?? ttlMs, 'route')
}

function allowed(
  statuses: ReadonlySet<number> | 'any',
  status: number,
  ms: number,
  by: Lifetime['by'],
): Lifetime | NoLifetime {
  return statuses === 'any' || statuses.has(status) || status === 206 ? { ms, by } : 'status'
}

function deltaOf({ directives }: Governing): number | undefined {
  const seconds = directives.sMaxage ?? directives.maxAge
  return seconds === undefined ? undefined : seconds * 1000
}

/**
 * freshness_lifetime of RFC 9111 section 4.2.1, without the heuristic; Expires does not count beside max-age (section
 * 5.3).
 */
export function explicitLifetime(response: ResponseHead, governing: Governing, now: number): number | undefined {
  const delta = deltaOf(governing)
  if (delta !== undefined || governing.expires === undefined) return delta
  const expires = parseHttpDate(governing.expires, now)
  return expires === undefined ? 0 : Math.max(0, expires - dateOf(response, now))
}

function dateOf(response: ResponseHead, now: number): number {
  return parseHttpDate(firstField(response.headers, 'date'), now) ?? now
}

/** A fraction of the time since the last change, for statuses that allow it (RFC 9111 section 4.2.2). */
function heuristicLifetime(
  response: ResponseHead,
  { directives }: Governing,
  policy: HttpPolicy,
  now: number,
): number | undefined {
  if (policy.heuristic === 0 || directives.noCache) return undefined
  if (!HEURISTIC_STATUSES.has(response.status) && !directives.public) return undefined
  const modified = parseHttpDate(firstField(response.headers, 'last-modified'), now)
  return modified === undefined ? undefined : Math.max(0, dateOf(response, now) - modified) * policy.heuristic
}
