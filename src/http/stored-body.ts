import type { Storable, StoreDecision, StoredResponse } from './contract.js'
import { makeEtag } from './entity-tag.js'
import { Flag, hasFlag } from './flag.js'
import { hasField } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'

/**
 * Completes a decision once the whole body is known: bounds it, and makes the ETag of a 200 that has none (RFC 9110
 * section 8.8.3). Doing it twice changes nothing.
 */
export function withBody(decision: Storable, body: Buffer, policy: HttpPolicy): StoreDecision {
  if (body.length > policy.maxBodyBytes) return { store: false, reason: 'body-too-large', forKey: true }
  if (!policy.etag || decision.status !== 200 || hasFlag(decision.flags, Flag.generatedEtag)) return decision
  if (hasField(decision.storedHeaders, 'etag')) return decision
  const etag = ['ETag', makeEtag(body)]
  return {
    ...decision,
    flags: decision.flags | Flag.generatedEtag,
    storedHeaders: [...decision.storedHeaders, ...etag],
    addedHeaders: [...decision.addedHeaders, ...etag],
  }
}

/** The entry a decision makes. */
export function toStored(decision: Storable, body: Buffer): StoredResponse {
  return {
    status: decision.status,
    headers: decision.storedHeaders,
    ...decision.lifetimes,
    body,
    flags: decision.flags,
    initialAgeMs: decision.initialAgeMs,
    memo: undefined,
  }
}
