import { currentAge, errorWindowEnd } from './freshness.js'
import { firstField } from './header-list.js'
import type { HttpPolicy } from './options.js'
import { parseContentRange, parseRange, sliceOfPart } from './range.js'
import { Flag, hasFlag, type RequestPlan, type StoredResponse, type ReuseDecision, type ReuseReason } from './types.js'
import { rangeApplies } from './validation.js'

const FRESH: ReuseDecision = Object.freeze({
  action: 'fresh',
  reason: 'fresh',
  servableOnError: false,
  conditional: false,
  mustRevalidate: false,
})

/** Flags of responses that are not served just because they are fresh. */
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
  const unusable = whyUnusable(stored, plan, now)
  if (unusable !== undefined) return verdict('unusable', unusable, stored, plan, policy, now)
  const invalid = whyValidate(stored, plan, now, fresh)
  if (invalid !== undefined) return verdict('validate', invalid, stored, plan, policy, now)
  if (fresh) return FRESH
  return judgeStale(stored, plan, policy, now, softened)
}

/** The response is not for this request, however fresh. */
function whyUnusable(stored: StoredResponse, plan: RequestPlan, now: number): ReuseReason | undefined {
  if (plan.authorized && !hasFlag(stored.flags, Flag.sharedAuth)) return 'authorization'
  if (hasFlag(stored.flags, Flag.partial) && !partCovers(stored, plan, now)) return 'partial'
  return undefined
}

/** A stored part answers a range inside it, nothing else (RFC 9111 section 3.3). */
function partCovers(stored: StoredResponse, plan: RequestPlan, now: number): boolean {
  const spec = plan.range === undefined ? undefined : parseRange(plan.range)
  const part = parseContentRange(firstField(stored.headers, 'content-range'))
  if (spec === undefined || part === undefined || !rangeApplies(stored, plan.ifRange, now)) return false
  return sliceOfPart(spec, part) !== undefined
}

/** What client (RFC 9111 section 5.2.1) or response (5.2.2.4) want asked anew. */
function whyValidate(stored: StoredResponse, plan: RequestPlan, now: number, fresh: boolean): ReuseReason | undefined {
  if (hasFlag(stored.flags, Flag.validate)) return 'response-no-cache'
  const { noCache, maxAge, minFresh } = plan.directives
  if (noCache) return 'request-no-cache'
  // RFC 8246: what cannot change is not asked for anew while it is fresh.
  if (maxAge !== undefined && !(fresh && hasFlag(stored.flags, Flag.immutable))) {
    if (maxAge === 0) return 'request-no-cache'
    if (currentAge(stored, now) > maxAge * 1000) return 'request-max-age'
  }
  return minFresh !== undefined && stored.freshUntil - now < minFresh * 1000 ? 'request-min-fresh' : undefined
}

function judgeStale(
  stored: StoredResponse,
  plan: RequestPlan,
  policy: HttpPolicy,
  now: number,
  softened: boolean,
): ReuseDecision {
  const mayBeStale = !hasFlag(stored.flags, Flag.noStale)
  const { maxStale } = plan.directives
  // Of what was softly invalidated nobody knows how stale it is.
  const accepted = maxStale !== undefined && !softened && now - stored.freshUntil <= maxStale * 1000
  if (mayBeStale && accepted) return verdict('fresh', 'max-stale', stored, plan, policy, now)
  const inWindow = stored.staleUntil > stored.freshUntil && now < stored.staleUntil
  if (mayBeStale && inWindow)
    return verdict('stale-while-revalidate', 'stale-while-revalidate', stored, plan, policy, now)
  return verdict('validate', softened ? 'softened' : 'stale', stored, plan, policy, now)
}

function verdict(
  action: ReuseDecision['action'],
  reason: ReuseReason,
  stored: StoredResponse,
  plan: RequestPlan,
  policy: HttpPolicy,
  now: number,
): ReuseDecision {
  return {
    action,
    reason,
    servableOnError: action !== 'unusable' && isServableOnError(stored, plan, policy, now),
    conditional: action !== 'unusable' && policy.revalidate && hasFlag(stored.flags, Flag.validators),
    mustRevalidate: hasFlag(stored.flags, Flag.noStale | Flag.validate),
  }
}

/** RFC 5861 section 4: the response's window, or the client's own. */
function isServableOnError(stored: StoredResponse, plan: RequestPlan, policy: HttpPolicy, now: number): boolean {
  if (hasFlag(stored.flags, Flag.noStale | Flag.validate)) return false
  const end = errorWindowEnd(stored, policy)
  if (end > stored.freshUntil && now < end) return true
  const client = plan.directives.staleIfError
  return client !== undefined && now < stored.freshUntil + client * 1000
}
