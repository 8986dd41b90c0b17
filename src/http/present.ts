import { makeEtag } from './etag.js'
import type { HttpPolicy } from './policy.js'
import { countdown, notModified, toNotModified } from './replay.js'
import { Flag, type HeaderList, type Outgoing, type RequestHead, type RequestPlan, type ResponseHead, type StoreDecision } from './types.js'

/** What we add to a response that was just made, so that it and its replays look alike. */
export interface Presented {
  readonly outgoing: Outgoing
  /** Fields of the entry: the handler's that are stored, and the validator that is ours. */
  readonly storedHeaders: HeaderList
}

/** The answer to who ran the handler, with the whole body at hand. */
export function present(
  request: RequestHead,
  plan: RequestPlan,
  response: ResponseHead,
  body: Buffer,
  decision: StoreDecision,
  policy: HttpPolicy,
  now: number,
): Presented {
  if (!decision.store) {
    return { outgoing: { status: response.status, headers: [...response.headers, ...statusField(policy, 'BYPASS')], body }, storedHeaders: [] }
  }
  const etag = (decision.flags & Flag.generatedEtag) !== 0 && response.status === 200 ? ['etag', makeEtag(body)] : []
  const cacheControl = generatedCacheControl(decision, now)
  const headers = [...response.headers, ...etag, ...cacheControl, ...statusField(policy, 'MISS')]
  const storedHeaders = [...decision.headers, ...etag]
  const conditional = plan.conditional && notModified({ status: response.status, headers: storedHeaders, storedAt: now }, request, now)
  return { outgoing: conditional ? toNotModified(headers) : { status: response.status, headers, body }, storedHeaders }
}

/** The fields to add to a response whose body is on its way: no validator can be made of what is not there yet. */
export function presentHead(response: ResponseHead, decision: StoreDecision, policy: HttpPolicy, now: number): HeaderList {
  if (!decision.store) return [...response.headers, ...statusField(policy, 'BYPASS')]
  return [...response.headers, ...generatedCacheControl(decision, now), ...statusField(policy, 'MISS')]
}

function generatedCacheControl(decision: Extract<StoreDecision, { store: true }>, now: number): string[] {
  if ((decision.flags & Flag.generatedCacheControl) === 0) return []
  return ['cache-control', countdown(decision.flags, decision.lifetimes.freshUntil, now)]
}

export function statusField(policy: HttpPolicy, status: 'HIT' | 'MISS' | 'BYPASS'): string[] {
  return policy.statusHeader ? ['x-redis-cache', status] : []
}

