import { NO_REQUEST_DIRECTIVES, parseRequestDirectives } from './cache-control.js'
import { requestedPart } from './conditions.js'
import { currentAge, errorWindowEnd } from './freshness.js'
import type { HttpPolicy } from './options.js'
import {
  type BypassReason,
  Flag,
  hasFlag,
  type RequestHead,
  type RequestPlan,
  type ReuseDecision,
  type ReuseReason,
  type StoredResponse,
} from './types.js'

/** The usual request: a GET without directives, conditions or range. One object for all of them. */
const PLAIN_GET: RequestPlan = Object.freeze({
  bypass: undefined,
  stores: 'get',
  refusal: undefined,
  head: false,
  plain: true,
  authorized: false,
  directives: NO_REQUEST_DIRECTIVES,
  collapsible: true,
  ifNoneMatch: undefined,
  ifModifiedSince: undefined,
  range: undefined,
  ifRange: undefined,
})

const PLAIN_HEAD: RequestPlan = Object.freeze({
  ...PLAIN_GET,
  stores: 'none',
  refusal: 'head',
  head: true,
  plain: false,
  collapsible: false,
})

function bypass(reason: BypassReason): RequestPlan {
  return Object.freeze({ ...PLAIN_HEAD, bypass: reason, refusal: reason, head: false })
}

const BYPASS_METHOD = bypass('method')

const BYPASS_NO_STORE = bypass('request-no-store')

const BYPASS_WEBSOCKET = bypass('websocket')

const BYPASS_PRECONDITION = bypass('precondition')

const WRITE: RequestPlan = Object.freeze({ ...BYPASS_METHOD, stores: 'write', refusal: undefined })

const POST: RequestPlan = Object.freeze({ ...BYPASS_METHOD, stores: 'post', refusal: undefined })

/** How a request uses the cache. */
export function planRequest(request: RequestHead, policy: HttpPolicy): RequestPlan {
  const { method } = request
  if (method !== 'GET' && method !== 'HEAD') {
    return method === 'POST' && policy.postContentLocation ? planUnsafe(POST, request, policy) : BYPASS_METHOD
  }
  if (isHandshake(request.header('upgrade'))) return BYPASS_WEBSOCKET
  const directives = directivesOf(request, policy)
  const precondition = request.header('if-match') !== undefined || request.header('if-unmodified-since') !== undefined
  const authorized = isAuthorized(request, policy)
  const ifNoneMatch = request.header('if-none-match')
  const ifModifiedSince = request.header('if-modified-since')
  // Range is only defined for GET (RFC 9110 section 14.2).
  const range = method === 'GET' ? request.header('range') : undefined
  const base = method === 'GET' ? PLAIN_GET : PLAIN_HEAD
  // A request that forbids the handler run is never a bypass: the store answers, or a 504.
  if (!directives.onlyIfCached) {
    if (directives.noStore) return BYPASS_NO_STORE
    if (precondition) return BYPASS_PRECONDITION
    const conditional = ifNoneMatch !== undefined || ifModifiedSince !== undefined
    if (directives === NO_REQUEST_DIRECTIVES && !authorized && !conditional && range === undefined) return base
  }
  const refusal = precondition ? 'precondition' : directives.noStore ? 'request-no-store' : base.refusal
  return {
    bypass: undefined,
    stores: refusal === undefined ? base.stores : 'none',
    refusal,
    head: base.head,
    plain: false,
    authorized,
    directives,
    // Other requests could not use the response to a Range or to one client's credentials.
    collapsible: base.collapsible && !authorized && range === undefined,
    ifNoneMatch,
    ifModifiedSince,
    range,
    ifRange: range === undefined ? undefined : request.header('if-range'),
  }
}

/** Some clients offer `h2c` with any request (RFC 7540 section 3.2), and are answered as usual. */
function isHandshake(upgrade: string | undefined): boolean {
  return upgrade?.toLowerCase().includes('websocket') === true
}

/** A write-through: its response becomes the entry that a GET of the path has. */
export function planWrite(request: RequestHead, policy: HttpPolicy): RequestPlan {
  return planUnsafe(WRITE, request, policy)
}

function planUnsafe(base: RequestPlan, request: RequestHead, policy: HttpPolicy): RequestPlan {
  const authorized = isAuthorized(request, policy)
  if (directivesOf(request, policy).noStore) return { ...base, stores: 'none', refusal: 'request-no-store', authorized }
  return authorized ? { ...base, authorized } : base
}

function directivesOf(request: RequestHead, policy: HttpPolicy) {
  const field = policy.clientDirectives === 'honour' ? request.header('cache-control') : undefined
  return field === undefined || field === '' ? NO_REQUEST_DIRECTIVES : parseRequestDirectives(field)
}

function isAuthorized(request: RequestHead, policy: HttpPolicy): boolean {
  return policy.auth === 'bypass' && request.header('authorization') !== undefined
}

const FRESH: ReuseDecision = Object.freeze({
  action: 'fresh',
  reason: 'fresh',
  servableOnError: false,
  conditional: false,
  mustRevalidate: false,
})

/** Flags of responses that freshness alone does not make usable. */
const NOT_AS_IS = Flag.validate | Flag.partial

/**
 * Whether a stored response answers a request (RFC 9111 section 4). `softened`: softly invalidated, stale whatever its
 * instants say.
 */
export function evaluateReuse(
  stored: StoredResponse,
  plan: RequestPlan,
  policy: HttpPolicy,
  now: number,
  softened = false,
): ReuseDecision {
  const fresh = now < stored.freshUntil && !softened
  if (fresh && plan.plain && (stored.flags & NOT_AS_IS) === 0) return FRESH
  const decide = (action: ReuseDecision['action'], reason: ReuseReason): ReuseDecision => ({
    action,
    reason,
    servableOnError: action !== 'unusable' && isServableOnError(stored, plan, policy, now, softened),
    conditional: action !== 'unusable' && policy.revalidate && hasFlag(stored.flags, Flag.validators),
    mustRevalidate: hasFlag(stored.flags, Flag.noStale | Flag.validate),
  })
  const unusable = whyUnusable(stored, plan, now)
  if (unusable !== undefined) return decide('unusable', unusable)
  const invalid = whyValidate(stored, plan, now, fresh)
  if (invalid !== undefined) return decide('validate', invalid)
  if (fresh) return FRESH
  const mayBeStale = !hasFlag(stored.flags, Flag.noStale)
  const { maxStale } = plan.directives
  // A softly invalidated response became stale at an unknown time, so no limit can be checked.
  const accepted = maxStale !== undefined && !softened && now - stored.freshUntil <= maxStale * 1000
  if (mayBeStale && accepted) return decide('fresh', 'max-stale')
  const inWindow = stored.staleUntil > stored.freshUntil && now < stored.staleUntil
  if (mayBeStale && inWindow) return decide('stale-while-revalidate', 'stale-while-revalidate')
  return decide('validate', softened ? 'softened' : 'stale')
}

/** The response cannot answer this request, even if it is fresh. */
function whyUnusable(stored: StoredResponse, plan: RequestPlan, now: number): ReuseReason | undefined {
  if (plan.refusal === 'precondition') return 'precondition'
  if (plan.authorized && !hasFlag(stored.flags, Flag.sharedAuth)) return 'authorization'
  const lacksPart = hasFlag(stored.flags, Flag.partial) && requestedPart(stored, plan, now) === 'whole'
  return lacksPart ? 'partial' : undefined
}

/** Why the client (RFC 9111 section 5.2.1) or the response (5.2.2.4) require a validation. */
function whyValidate(stored: StoredResponse, plan: RequestPlan, now: number, fresh: boolean): ReuseReason | undefined {
  if (hasFlag(stored.flags, Flag.validate)) return 'response-no-cache'
  const { noCache, maxAge, minFresh } = plan.directives
  if (noCache) return 'request-no-cache'
  // RFC 8246: what cannot change is not validated while it is fresh.
  if (maxAge !== undefined && !(fresh && hasFlag(stored.flags, Flag.immutable))) {
    if (maxAge === 0) return 'request-no-cache'
    if (currentAge(stored, now) > maxAge * 1000) return 'request-max-age'
  }
  const remainingMs = fresh ? stored.freshUntil - now : -1
  return minFresh !== undefined && remainingMs < minFresh * 1000 ? 'request-min-fresh' : undefined
}

/** RFC 5861 section 4: the response's window, or the client's own. */
function isServableOnError(
  stored: StoredResponse,
  plan: RequestPlan,
  policy: HttpPolicy,
  now: number,
  softened: boolean,
): boolean {
  if (hasFlag(stored.flags, Flag.noStale | Flag.validate)) return false
  const end = errorWindowEnd(stored, policy)
  if (end > stored.freshUntil && now < end) return true
  const client = plan.directives.staleIfError
  // As for max-stale: since when a softly invalidated response is stale is not known.
  return client !== undefined && !softened && now < stored.freshUntil + client * 1000
}
