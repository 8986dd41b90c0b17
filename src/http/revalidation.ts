import {
  dateOf,
  firstField,
  hasField,
  type HeaderList,
  keepFields,
  lastModifiedOf,
  linesOf,
  mergeFields,
  parseDeltaSeconds,
} from './fields.js'
import { ageSeconds, parseAge } from './freshness.js'
import type { HttpPolicy } from './options.js'
import { decideStore, storableFields, toStored } from './storage.js'
import {
  Flag,
  hasFlag,
  type RequestHead,
  type RequestPlan,
  type ResponseHead,
  type StoreDecision,
  type StoredResponse,
  type StoreFacts,
} from './types.js'
import { isWeak, strongMatch, weakMatch } from './validation.js'

/** A stored response after a 304: the response for this client, and whether and how it is stored again. */
export interface Freshened {
  readonly response: StoredResponse
  readonly decision: StoreDecision
}

/**
 * A stored response with the fields of a 304 (RFC 9111 sections 3.2 and 4.3.4). `mismatch`: the 304 is about another
 * representation; run the handler once more, without conditions.
 */
export function freshen(
  stored: StoredResponse,
  notModified: ResponseHead,
  request: RequestHead,
  plan: RequestPlan,
  policy: HttpPolicy,
  now: number,
  requestedAt: number,
  facts: StoreFacts = {},
): Freshened | 'mismatch' {
  if (!isAbout(stored, notModified.headers, now)) return 'mismatch'
  const headers = updated(stored, notModified.headers, now)
  const known = { ...facts, body: stored.body }
  // A HEAD's validation freshens the entry of the GET it stands for.
  const asGet = plan.head ? { ...plan, stores: 'get' as const, refusal: undefined } : plan
  const decision = decideStore(request, asGet, { status: stored.status, headers }, policy, now, requestedAt, known)
  if (!decision.store) return { response: { ...stored, headers: sendable(headers, stored), memo: undefined }, decision }
  return { response: forClient(toStored(decision, stored.body), headers), decision }
}

/**
 * Whether the 304 names the stored response (RFC 9111 section 4.3.4); one without validators means what was asked
 * about.
 */
function isAbout(stored: StoredResponse, headers: HeaderList, now: number): boolean {
  const named = firstField(headers, 'etag')
  const own = hasFlag(stored.flags, Flag.generatedEtag) ? undefined : firstField(stored.headers, 'etag')
  if (named !== undefined && !isWeak(named)) return own !== undefined && strongMatch(named, own)
  if (named !== undefined && own !== undefined) return weakMatch(named, own)
  const modified = lastModifiedOf(headers, now)
  const ownModified = lastModifiedOf(stored.headers, now)
  return modified === undefined || ownModified === undefined || modified === ownModified
}

/** Fields about the stored bytes, which a 304 does not replace. */
const BYTES_FIELDS = ['content-encoding', 'content-md5', 'content-range', 'content-digest']

/**
 * Each field of the 304 replaces the stored ones, except Content-Length and those of the connection (RFC 9111 section
 * 3.2), and, which that section permits for the stored response's integrity, the fields about its bytes.
 */
function updated(stored: StoredResponse, headers: HeaderList, now: number): HeaderList {
  return mergeFields(
    keepFields(stored.headers, (name) => !isOutdated(name, stored, headers, now)),
    storableFields(headers, BYTES_FIELDS),
  )
}

/** A generated ETag is made again; the Date becomes that of the validation, whether the handler sent it or not. */
function isOutdated(name: string, stored: StoredResponse, headers: HeaderList, now: number): boolean {
  if (name === 'etag') return hasFlag(stored.flags, Flag.generatedEtag)
  return name === 'date' && dateOf(headers, now) === undefined
}

/** A refused update is still this client's answer; the generated ETag describes the same bytes as before. */
function sendable(headers: HeaderList, stored: StoredResponse): HeaderList {
  if (!hasFlag(stored.flags, Flag.generatedEtag)) return headers
  return [...headers, ...linesOf(stored.headers, 'etag')]
}

/**
 * Fields of the 304 for this client alone: a cookie, whether or not it may be stored, and the Age of a 304 that came from
 * a cache behind the handler, because then the origin has not validated the response (RFC 9111 section 5.1).
 */
function forClient(entry: StoredResponse, headers: HeaderList): StoredResponse {
  const cookies = hasField(entry.headers, 'set-cookie') ? [] : linesOf(headers, 'set-cookie')
  const aged = hasFlag(entry.flags, Flag.age) && parseAge(firstField(headers, 'age')) > 0
  const age = aged ? ['Age', String(ageSeconds(entry, entry.storedAt))] : []
  return cookies.length + age.length === 0 ? entry : { ...entry, headers: [...entry.headers, ...cookies, ...age] }
}

/** The effect of a HEAD on the stored GET. `stale`: it has changed; store it with its freshness ended. */
export type HeadUpdate =
  | { readonly kind: 'unrelated' }
  | ({ readonly kind: 'freshened' } & Freshened)
  | { readonly kind: 'stale'; readonly response: StoredResponse }

const UNRELATED: HeadUpdate = Object.freeze({ kind: 'unrelated' })

/** A 200 to HEAD freshens the stored 200, or shows that a GET would now differ from it (RFC 9111 section 4.3.5). */
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
  const length = parseDeltaSeconds(firstField(head.headers, 'content-length')?.trim())
  return length === undefined || length === stored.body.length
}

/** The stale windows of a changed response end, too; its validators may still be used while it is retained. */
function ended(stored: StoredResponse, now: number): StoredResponse {
  const freshUntil = Math.min(stored.freshUntil, now)
  return { ...stored, freshUntil, staleUntil: freshUntil, memo: undefined }
}
