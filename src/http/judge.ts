import { Flag, type RequestPlan, type StoredResponse, type Verdict } from './types.js'

const FRESH: Verdict = Object.freeze({ use: 'fresh' })
const STALE: Verdict = Object.freeze({ use: 'stale' })

/** Milliseconds since the response was made, as far as anybody can tell (RFC 9111 section 4.2.3). */
export function ageMs(stored: StoredResponse, now: number): number {
  return Math.max(0, stored.initialAgeMs + now - stored.storedAt)
}

/** Whether a stored response may answer the request (RFC 9111 section 4.2). */
export function judge(stored: StoredResponse, plan: RequestPlan, softened: boolean, now: number, earlyRefresh = 0): Verdict {
  const fresh = now < stored.freshUntil && !softened
  if (plan.noCache) return no('request-directive', stored, now)
  if (plan.maxAgeMs !== Infinity && ageMs(stored, now) > plan.maxAgeMs) return no('request-directive', stored, now)
  if (plan.minFreshMs > 0 && stored.freshUntil - now < plan.minFreshMs) return no('request-directive', stored, now)
  if (fresh) return earlyRefresh > 0 && isDrawn(stored, now, earlyRefresh) ? STALE : FRESH
  if (now < stored.staleUntil && (stored.flags & Flag.mustRevalidate) === 0) return STALE
  return no('expired', stored, now)
}

/**
 * Whether this request refreshes a fresh entry ahead of its end: never before the last part of the lifetime, then ever
 * more likely, so that a busy key is refreshed before it expires and processes do not do so in step.
 */
function isDrawn(stored: StoredResponse, now: number, part: number): boolean {
  const windowMs = (stored.freshUntil - stored.storedAt) * part
  const leftMs = stored.freshUntil - now
  return leftMs < windowMs && Math.random() > leftMs / windowMs
}

function no(reason: 'request-directive' | 'expired', stored: StoredResponse, now: number): Verdict {
  return { use: 'no', reason, onError: now < stored.errorUntil && (stored.flags & Flag.mustRevalidate) === 0 }
}
