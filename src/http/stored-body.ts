import { formatContentRange, parseContentRange } from './content-range.js'
import type { HeaderList, Storable, StoreDecision, StoredResponse } from './contract.js'
import { makeEtag } from './entity-tag.js'
import { Flag, hasFlag } from './flag.js'
import { firstField, hasField, isField } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'

/**
 * Completes a decision once the whole body is known: bounds it, and makes the ETag of a 200 that has none (RFC 9110
 * section 8.8.3). Doing it twice changes nothing.
 */
export function withBody(decision: Storable, body: Buffer, policy: HttpPolicy): StoreDecision {
  if (body.length > policy.maxBodyBytes) return { store: false, reason: 'body-too-large', forKey: true }
  if (hasFlag(decision.flags, Flag.partial)) return fitted(decision, body.length)
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

/**
 * A part is used by its Content-Range, so that has to be true of what was received (RFC 9111 section 3.3). Of a shorter
 * content it is made true: a part that was said to reach the end still does, because origins err in the end, not in the
 * beginning. A longer one is not stored.
 */
function fitted(decision: Storable, length: number): StoreDecision {
  const part = parseContentRange(firstField(decision.storedHeaders, 'content-range'))
  const excess = part === undefined ? -1 : part.last - part.first + 1 - length
  if (part === undefined || length === 0 || excess < 0) return { store: false, reason: 'partial', forKey: false }
  if (excess === 0) return decision
  const last = part.last - excess
  const range = formatContentRange({
    ...part,
    last,
    complete: part.last + 1 === part.complete ? last + 1 : part.complete,
  })
  return { ...decision, storedHeaders: replaced(decision.storedHeaders, 'content-range', range) }
}

function replaced(headers: HeaderList, name: string, value: string): HeaderList {
  return headers.map((text, index) => (index % 2 === 1 && isField(headers[index - 1] as string, name) ? value : text))
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
