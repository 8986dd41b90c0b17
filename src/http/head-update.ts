import type { RequestHead, RequestPlan, ResponseHead, StoredResponse } from './contract.js'
import { parseDeltaSeconds } from './delta-seconds.js'
import { type Freshened, freshen } from './freshen.js'
import { firstField } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'

/** What a HEAD says about the stored GET. `stale`: it has changed; store it with freshness ended. */
export type HeadUpdate =
  | { readonly kind: 'unrelated' }
  | ({ readonly kind: 'freshened' } & Freshened)
  | { readonly kind: 'stale'; readonly response: StoredResponse }

const UNRELATED: HeadUpdate = Object.freeze({ kind: 'unrelated' })

/**
 * A 200 to HEAD freshens the stored 200, or shows that it is no longer what a GET would give (RFC 9111 section
 * 4.3.5).
 */
export function headUpdate(
  stored: StoredResponse,
  head: ResponseHead,
  request: RequestHead,
  plan: RequestPlan,
  policy: HttpPolicy,
  now: number,
  requestedAt: number,
): HeadUpdate {
  if (!policy.headUpdate || !plan.head || head.status !== 200 || stored.status !== 200) return UNRELATED
  const freshened = sameLength(stored, head)
    ? freshen(stored, head, request, plan, policy, now, requestedAt)
    : 'mismatch'
  return freshened === 'mismatch'
    ? { kind: 'stale', response: ended(stored, now) }
    : { kind: 'freshened', ...freshened }
}

function sameLength(stored: StoredResponse, head: ResponseHead): boolean {
  const length = parseDeltaSeconds(firstField(head.headers, 'content-length')?.trim() ?? '')
  return length === undefined || length === stored.body.length
}

/** The windows of what has changed are over, too; what is retained may still be asked about. */
function ended(stored: StoredResponse, now: number): StoredResponse {
  const freshUntil = Math.min(stored.freshUntil, now)
  return { ...stored, freshUntil, staleUntil: freshUntil, memo: undefined }
}
