import { type Directives, deltaMs, parseCacheControl } from './cache-control.js'
import { parseHttpDate } from './date.js'
import { field, fieldBytes, has, listMembers, storableFields } from './fields.js'
import type { HttpPolicy } from './policy.js'
import { Flag, type Lifetimes, type RefusalReason, type RequestHead, type ResponseHead, type StoreDecision } from './types.js'

/** Statuses that a handler's own explicit freshness makes storable (RFC 9110 section 15.1 and redirects, RFC 9111 section 3). */
const HANDLER_GOVERNED_STATUSES = new Set([200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501])

/**
 * Whether and how a response is stored: the one predicate that both who stores and who writes header fields ask.
 * Prohibitions bind whatever the route declares (RFC 9111 section 3); the lifetime is the route's, then the handler's.
 */
export function decideStore(request: RequestHead, response: ResponseHead, policy: HttpPolicy, now: number): StoreDecision {
  const directives = parseCacheControl(field(response.headers, 'cache-control'))
  const refused = prohibition(request, response, directives, policy)
  if (refused !== undefined) return { store: false, reason: refused }
  const lifetime = chooseLifetime(response, directives, policy, now)
  if (lifetime === undefined) return { store: false, reason: policy.ttlMs === undefined ? 'no-lifetime' : 'status' }
  const headers = storedHeaders(response, lifetime.byRoute, policy)
  if (fieldBytes(headers) > policy.maxHeaderBytes) return { store: false, reason: 'headers-too-large' }
  const names = listMembers(field(response.headers, 'vary'))
  return {
    store: true,
    lifetimes: lifetimesOf(lifetime, directives, policy, now),
    flags: flagsOf(lifetime.byRoute, directives, policy, headers),
    initialAgeMs: lifetime.byRoute ? 0 : initialAge(response, now),
    headers,
    learnedVary: [...new Set(names.filter((name) => !policy.vary.includes(name)))].sort(),
  }
}

function prohibition(
  request: RequestHead,
  response: ResponseHead,
  directives: Directives,
  policy: HttpPolicy,
): RefusalReason | undefined {
  if (request.method !== 'GET') return 'method'
  if (directives.has('no-store')) return 'response-no-store'
  if (directives.has('private') && !policy.personal) return 'response-private'
  if (directives.has('no-cache')) return 'response-no-cache'
  if (policy.setCookie === 'refuse' && has(response.headers, 'set-cookie')) return 'set-cookie'
  if (has(response.headers, 'content-encoding')) return 'content-encoding'
  if (field(response.headers, 'vary')?.includes('*') === true) return 'vary-star'
  return undefined
}

interface Lifetime {
  readonly ms: number
  readonly byRoute: boolean
}

function chooseLifetime(response: ResponseHead, directives: Directives, policy: HttpPolicy, now: number): Lifetime | undefined {
  const { status } = response
  if (policy.ttlMs !== undefined) {
    const ms = policy.ttlMs.byStatus.get(status) ?? (policy.statuses.has(status) ? policy.ttlMs.default : undefined)
    return ms === undefined ? undefined : { ms, byRoute: true }
  }
  const explicit = explicitLifetime(response, directives, now)
  if (explicit !== undefined) return HANDLER_GOVERNED_STATUSES.has(status) && explicit > 0 ? { ms: explicit, byRoute: false } : undefined
  return policy.statuses.has(status) ? { ms: policy.defaultTtlMs, byRoute: true } : undefined
}

/** s-maxage, then max-age, then Expires minus Date (RFC 9111 section 4.2.1), less the age it came with. */
function explicitLifetime(response: ResponseHead, directives: Directives, now: number): number | undefined {
  const delta = deltaMs(directives, 's-maxage') ?? deltaMs(directives, 'max-age')
  if (delta !== undefined) return delta - initialAge(response, now)
  const expires = field(response.headers, 'expires')
  if (expires === undefined) return undefined
  const date = parseHttpDate(field(response.headers, 'date'), now) ?? now
  const until = parseHttpDate(expires, now)
  return until === undefined ? 0 : until - date - initialAge(response, now)
}

function initialAge(response: ResponseHead, now: number): number {
  const [first = ''] = (field(response.headers, 'age') ?? '').split(',')
  const age = /^\s*\d+\s*$/.test(first) ? Number(first) * 1000 : 0
  const date = parseHttpDate(field(response.headers, 'date'), now)
  return Math.max(age, date === undefined ? 0 : now - date, 0)
}

function lifetimesOf(lifetime: Lifetime, directives: Directives, policy: HttpPolicy, now: number): Lifetimes {
  const freshUntil = now + lifetime.ms * (1 - policy.jitter * Math.random())
  const stale = mustRevalidate(directives, lifetime.byRoute) ? 0 : 1
  const swrMs = lifetime.byRoute ? policy.swrMs : (deltaMs(directives, 'stale-while-revalidate') ?? policy.swrMs)
  const sieMs = lifetime.byRoute ? policy.sieMs : (deltaMs(directives, 'stale-if-error') ?? policy.sieMs)
  return { storedAt: now, freshUntil, staleUntil: freshUntil + stale * swrMs, errorUntil: freshUntil + stale * sieMs }
}

/** s-maxage implies proxy-revalidate (RFC 9111 section 5.2.2.10), where it is what governs. */
function mustRevalidate(directives: Directives, byRoute: boolean): boolean {
  return directives.has('must-revalidate') || directives.has('proxy-revalidate') || (!byRoute && directives.has('s-maxage'))
}

function flagsOf(byRoute: boolean, directives: Directives, policy: HttpPolicy, headers: readonly string[]): number {
  return (
    (byRoute ? Flag.routeGoverned : 0) |
    (byRoute && directives.size === 0 ? Flag.generatedCacheControl : 0) |
    (policy.etag && !has(headers, 'etag') ? Flag.generatedEtag : 0) |
    (mustRevalidate(directives, byRoute) ? Flag.mustRevalidate : 0) |
    (policy.personal ? Flag.personal : 0)
  )
}

/** A route's entry is as old as its route says: the handler's Date and Age would tell another story. */
function storedHeaders(response: ResponseHead, byRoute: boolean, policy: HttpPolicy): string[] {
  const without = byRoute ? ['date', 'age'] : ['age']
  return storableFields(response.headers, policy.setCookie === 'strip' ? [...without, 'set-cookie'] : without)
}
