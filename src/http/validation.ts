import { hash } from 'node:crypto'
import {
  dateOf,
  firstField,
  type HeaderList,
  keepFields,
  lastModifiedOf,
  OWN_STATUS_FIELD,
  parseHttpDate,
} from './fields.js'
import type { HttpPolicy } from './options.js'
import { Flag, hasFlag, OutgoingResponse, type RequestPlan, type ReuseDecision, type StoredResponse } from './types.js'

/** 132 bits: no two bodies share a validator by chance, and a collision cannot be constructed at a reasonable price. */
const DIGEST_CHARS = 22

/**
 * A weak validator made from the body. Weak, because a proxy or middleware that compresses the answer keeps the
 * field (RFC 9110 section 8.8.1).
 */
export function makeEtag(body: Buffer): string {
  return `W/"${hash('sha256', body, 'base64url').slice(0, DIGEST_CHARS)}"`
}

export function isWeak(etag: string): boolean {
  return etag.startsWith('W/')
}

function opaque(etag: string): string {
  return isWeak(etag) ? etag.slice(2) : etag
}

/** Both strong and the same (RFC 9110 section 8.8.3.2). */
export function strongMatch(one: string, other: string): boolean {
  return one === other && !isWeak(one)
}

/** The same opaque tag, weak or not (RFC 9110 section 8.8.3.2). */
export function weakMatch(one: string, other: string): boolean {
  return one === other || opaque(one) === opaque(other)
}

/** Whether an If-None-Match list or `*` names the tag, compared weakly (RFC 9110 section 13.1.2). One pass. */
export function listNames(list: string, etag: string | undefined): boolean {
  if (list === etag) return true
  const value = list.trim()
  if (value === '*') return true
  if (etag === undefined) return false
  let start = 0
  while (start < value.length) {
    const end = memberEnd(value, start)
    const member = value.slice(start, end).trim()
    if (member !== '' && weakMatch(member, etag)) return true
    start = end + 1
  }
  return false
}

/** A comma may stand inside the quotes of an entity-tag; a tag has no escapes (RFC 9110 section 8.8.3). */
function memberEnd(value: string, start: number): number {
  let quoted = false
  for (let index = start; index < value.length; index += 1) {
    const code = value.charCodeAt(index)
    if (code === 0x22) quoted = !quoted
    else if (code === 0x2c && !quoted) return index
  }
  return value.length
}

interface Dated {
  readonly headers: HeaderList
  readonly storedAt: number
}

/**
 * Whether the client has this response already (RFC 9110 section 13.2.2, RFC 9111 section 4.3.2): If-None-Match alone
 * decides where it is present, otherwise If-Modified-Since against Last-Modified, Date, or when it was stored.
 */
export function clientHasIt(
  response: Dated & { readonly status: number },
  plan: RequestPlan,
  etag: string | undefined,
  now: number,
): boolean {
  if (plan.ifNoneMatch === undefined && plan.ifModifiedSince === undefined) return false
  if (response.status !== 200 && response.status !== 206) return false
  if (plan.ifNoneMatch !== undefined) return listNames(plan.ifNoneMatch, etag)
  const since = parseHttpDate(plan.ifModifiedSince, now)
  return since !== undefined && lastChange(response, now) <= since
}

/** An HTTP-date has whole seconds, so the instant that it is compared with has, too. */
function lastChange({ headers, storedAt }: Dated, now: number): number {
  return lastModifiedOf(headers, now) ?? dateOf(headers, now) ?? Math.floor(storedAt / 1000) * 1000
}

/** A Last-Modified is a strong validator only at least a second before the response's Date (RFC 9110 section 8.8.2.2). */
const STRONG_AFTER_MS = 1000

/**
 * Whether Range counts: without If-Range always, otherwise only when its strong entity-tag or its exact date is that of
 * the representation (RFC 9110 section 13.1.5).
 */
export function rangeApplies({ headers, storedAt }: Dated, ifRange: string | undefined, now: number): boolean {
  if (ifRange === undefined) return true
  const condition = ifRange.trim()
  if (condition.startsWith('"') || isWeak(condition)) {
    const etag = firstField(headers, 'etag')
    return etag !== undefined && strongMatch(condition, etag)
  }
  const modified = lastModifiedOf(headers, now)
  if (modified === undefined || modified !== parseHttpDate(condition, now)) return false
  return (dateOf(headers, now) ?? storedAt) - modified >= STRONG_AFTER_MS
}

/** The conditional fields that the handler sees instead of the client's. Undefined: the field is absent. */
export interface Conditions {
  readonly ifNoneMatch: string | undefined
  readonly ifModifiedSince: string | undefined
}

const NONE: Conditions = Object.freeze({ ifNoneMatch: undefined, ifModifiedSince: undefined })

/** Validators of a stored response that the handler made itself (RFC 9111 section 4.3.1). */
export function handlerValidators(stored: StoredResponse): Conditions {
  if (!hasFlag(stored.flags, Flag.validators)) return NONE
  return {
    ifNoneMatch: hasFlag(stored.flags, Flag.generatedEtag) ? undefined : firstField(stored.headers, 'etag'),
    ifModifiedSince: firstField(stored.headers, 'last-modified'),
  }
}

/**
 * The conditions for a handler run; `as-is`: the client's own. A handler that answers the client's condition with 304
 * leaves nothing to store, so on a miss it does not see it. `others`: stored variants of the URI that the request does
 * not select.
 */
export function forwardedConditions(
  plan: RequestPlan,
  policy: HttpPolicy,
  stored?: StoredResponse,
  reuse?: ReuseDecision,
  others: readonly StoredResponse[] = [],
): Conditions | 'as-is' {
  if (plan.outcome === 'bypass') return 'as-is'
  if (stored !== undefined) return reuse?.conditional === true ? handlerValidators(stored) : NONE
  if (policy.validateOtherVariants && others.length > 0) return tagsOf(others)
  return policy.forwardConditionals ? 'as-is' : NONE
}

/** RFC 9111 section 4.1: the 304 names the variant that answers this request. */
function tagsOf(others: readonly StoredResponse[]): Conditions {
  const tags = others.map((other) => handlerValidators(other).ifNoneMatch).filter((tag) => tag !== undefined)
  return tags.length === 0 ? NONE : { ifNoneMatch: [...new Set(tags)].join(', '), ifModifiedSince: undefined }
}

/** The fields of a 304 (RFC 9110 section 15.4.5), Age, and the status fields. No field that describes content. */
const NOT_MODIFIED_FIELDS = new Set([
  ...['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary', 'last-modified'],
  ...['age', 'cache-status', OWN_STATUS_FIELD],
])

/** The same answer for a client that has it. `more`: a further lower-case name to keep. */
export function toNotModified(headers: HeaderList, more?: string): OutgoingResponse {
  const kept = keepFields(headers, (name) => NOT_MODIFIED_FIELDS.has(name) || name === more)
  return new OutgoingResponse(304, kept, null)
}
