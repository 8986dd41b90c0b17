import type { HttpPolicy } from './options.js'
import type {
  BypassReason,
  StoredResponseContext,
  RequestPlan,
  RunFacts,
  StoredResponse,
  ReuseDecision,
  ReuseReason,
} from './types.js'

/** Why a request went forward to the handler (RFC 9211 section 2.2). */
type Forward = 'bypass' | 'method' | 'uri-miss' | 'vary-miss' | 'request' | 'stale' | 'partial'

const OF_BYPASS: Readonly<Record<BypassReason, Forward>> = {
  method: 'method',
  'request-no-store': 'request',
  precondition: 'bypass',
}

const OF_VERDICT: Readonly<Record<ReuseReason, Forward>> = {
  fresh: 'stale',
  'max-stale': 'stale',
  'stale-while-revalidate': 'stale',
  stale: 'stale',
  softened: 'stale',
  'response-no-cache': 'stale',
  'request-no-cache': 'request',
  'request-max-age': 'request',
  'request-min-fresh': 'request',
  authorization: 'bypass',
  partial: 'partial',
}

/** This cache's member of Cache-Status for an answer from the store (RFC 9211 section 2). */
export function replayStatus(name: string, stored: StoredResponse, how: StoredResponseContext, now: number): string {
  const key = keyOf(how.key)
  const ttl = ttlOf(stored, now)
  if (how.kind !== 'revalidated' && how.kind !== 'collapsed') return `${name}; hit${ttl}${key}`
  const forward = `${name}; fwd=${forwardOf(how.verdict, how.varyMiss)}`
  if (how.kind === 'collapsed') return `${forward}${ttl}; collapsed${key}`
  return `${forward}; fwd-status=304${how.stored === false ? '' : '; stored'}${key}`
}

/** … for the answer of a handler run. */
export function runStatus(name: string, plan: RequestPlan, stored: boolean, run: RunFacts): string {
  const forward = plan.reason === undefined ? forwardOf(run.verdict, run.varyMiss) : OF_BYPASS[plan.reason]
  const status = run.forwardStatus === undefined ? '' : `; fwd-status=${run.forwardStatus}`
  const outcome = `${stored ? '; stored' : ''}${run.collapsed === true ? '; collapsed' : ''}`
  const detail = run.detail === undefined ? '' : `; detail=${run.detail}`
  return `${name}; fwd=${forward}${status}${outcome}${detail}${keyOf(run.key)}`
}

function forwardOf(verdict: ReuseDecision | undefined, varyMiss: boolean | undefined): Forward {
  if (verdict !== undefined) return OF_VERDICT[verdict.reason]
  return varyMiss === true ? 'vary-miss' : 'uri-miss'
}

/** Remaining freshness, negative when stale; none where there is no end (section 2.6). */
function ttlOf(stored: StoredResponse, now: number): string {
  const remaining = Math.floor((stored.freshUntil - now) / 1000)
  return Number.isFinite(remaining) ? `; ttl=${remaining}` : ''
}

/** A String has no characters but printable ASCII (RFC 9651 section 3.3.3). */
function keyOf(key: string | undefined): string {
  return key === undefined ? '' : `; key="${key.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`
}

/** The fields that say where an answer came from: ours, and this cache's member of Cache-Status after the handler's. */
export function statusFields(
  policy: HttpPolicy,
  word: 'HIT' | 'MISS' | 'BYPASS',
  member: string | undefined,
): string[] {
  const fields = policy.statusHeader ? ['X-Redis-Cache', word] : []
  if (member !== undefined) fields.push('Cache-Status', member)
  return fields
}
