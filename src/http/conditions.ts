import {
  type ContentRange,
  contentRangeOf,
  dateOf,
  firstField,
  hasField,
  type HeaderList,
  keepFields,
  linesOf,
  mergeFields,
  parseDeltaSeconds,
  parseHttpDate,
} from './fields.js'
import { ageSeconds, parseAge } from './freshness.js'
import type { HttpPolicy } from './options.js'
import { decideStore, type RunContext, storableFields, toStored } from './storage.js'
import {
  Flag,
  hasFlag,
  OutgoingResponse,
  type RequestPlan,
  type ResponseHead,
  type ReuseDecision,
  type StoreDecision,
  type StoredResponse,
} from './types.js'

const WEAK = /^W\//

function isWeak(etag: string): boolean {
  return WEAK.test(etag)
}

/** Both strong and the same (RFC 9110 section 8.8.3.2). */
export function strongMatch(one: string, other: string): boolean {
  return one === other && !isWeak(one)
}

/** The same opaque tag, weak or not (RFC 9110 section 8.8.3.2). */
export function weakMatch(one: string, other: string): boolean {
  return one === other || one.replace(WEAK, '') === other.replace(WEAK, '')
}

/** A comma may stand inside the quotes of an entity-tag; a tag has no escapes (RFC 9110 section 8.8.3). */
const LIST_MEMBERS = /(?:[^,"]|"[^"]*(?:"|$))+/g

/** Whether an If-None-Match list or `*` names the tag, compared weakly (RFC 9110 section 13.1.2). One pass. */
export function listNames(list: string, etag: string | undefined): boolean {
  if (list === etag || list.trim() === '*') return true
  if (etag === undefined) return false
  const members = list.match(LIST_MEMBERS)?.map((member) => member.trim()) ?? []
  return members.some((member) => member !== '' && weakMatch(member, etag))
}

type Dated = Pick<StoredResponse, 'headers' | 'storedAt'>

/**
 * Whether the client has this response already (RFC 9110 section 13.2.2, RFC 9111 section 4.3.2): If-None-Match alone
 * decides where it is present, otherwise If-Modified-Since against Last-Modified, Date, or when it was stored.
 */
export function clientHasIt(
  response: Pick<StoredResponse, 'headers' | 'storedAt' | 'status'>,
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
  return dateOf(headers, now, 'last-modified') ?? dateOf(headers, now) ?? Math.floor(storedAt / 1000) * 1000
}

/** A Last-Modified is a strong validator only at least a second before the response's Date (RFC 9110 section 8.8.2.2). */
const STRONG_AFTER_MS = 1000

/**
 * Whether Range counts: without If-Range always, otherwise only when its strong entity-tag or its exact date is that of
 * the representation (RFC 9110 section 13.1.5).
 */
function rangeApplies({ headers, storedAt }: Dated, ifRange: string | undefined, now: number): boolean {
  if (ifRange === undefined) return true
  const condition = ifRange.trim()
  if (condition.startsWith('"') || isWeak(condition)) {
    const etag = firstField(headers, 'etag')
    return etag !== undefined && strongMatch(condition, etag)
  }
  const modified = dateOf(headers, now, 'last-modified')
  if (modified === undefined || modified !== parseHttpDate(condition, now)) return false
  return (dateOf(headers, now) ?? storedAt) - modified >= STRONG_AFTER_MS
}

/**
 * A 304 has no field that describes content (RFC 9110 section 15.4.5). All others count for its client, which updates what
 * it has by them (RFC 9111 section 3.2): without them those that a middleware sets for any response would count instead.
 */
function isOfContent(name: string): boolean {
  return (name.startsWith('content-') && !CONTENT_FREE.test(name)) || name === 'set-cookie'
}

const CONTENT_FREE = /^content-(?:location|security-policy)/

/** The same answer for a client that has it. `more`: a further lower-case name to keep. */
export function toNotModified(headers: HeaderList, more?: string): OutgoingResponse {
  const kept = keepFields(headers, (name) => !isOfContent(name) || name === more)
  return new OutgoingResponse(304, kept, null)
}

/** Offsets of the first and the last byte. Of a requested range, before it is compared with a length, one may be missing. */
interface RangeSpec {
  /** Undefined: a suffix, the last `last` bytes. */
  readonly first: number | undefined
  /** Undefined: to the end. */
  readonly last: number | undefined
}

/** Longer than any Range with one part; a longer field has several and is answered with the whole. */
const LENGTH_MAX = 64

const RANGE = /^bytes[ \t]*=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i

/** The one requested range. Undefined: several, another unit, or ill-formed; then Range is ignored (section 14.2). */
export function parseRange(value: string): RangeSpec | undefined {
  const match = value.length > LENGTH_MAX ? null : RANGE.exec(value)
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const first = match[1] === '' ? undefined : Number(match[1])
  const last = match[2] === '' ? undefined : Number(match[2])
  return first !== undefined && last !== undefined && last < first ? undefined : { first, last }
}

type Slice = Pick<ContentRange, 'first' | 'last'>

/** The bytes of a representation that a range names; `unsatisfiable` is a 416, `whole` has no form as a 206. */
export function sliceOf({ first, last }: RangeSpec, length: number): Slice | 'unsatisfiable' | 'whole' {
  if (first === undefined ? last === 0 : first >= length) return 'unsatisfiable'
  if (first !== undefined) return { first, last: Math.min(last ?? Infinity, length - 1) }
  // A suffix of an empty representation is satisfiable, but no Content-Range can express it (section 14.1.2).
  return length === 0 ? 'whole' : { first: Math.max(0, length - (last ?? 0)), last: length - 1 }
}

/** The bytes that answer a request's Range, and their Content-Range. */
interface Part {
  readonly bytes: Buffer
  readonly range: ContentRange
}

/**
 * The part of a stored response that a request asks for. `whole`: Range does not count, or names several ranges;
 * `unsatisfiable`: a 416.
 */
export function requestedPart(
  stored: StoredResponse,
  plan: RequestPlan,
  now: number,
): Part | 'unsatisfiable' | 'whole' {
  const spec = plan.range === undefined ? undefined : parseRange(plan.range)
  if (spec === undefined || !rangeApplies(stored, plan.ifRange, now)) return 'whole'
  const { body, flags, status } = stored
  if (hasFlag(flags, Flag.partial)) return sliceOfPart(spec, stored)
  if (status !== 200) return 'whole'
  const slice = sliceOf(spec, body.length)
  if (typeof slice === 'string') return slice
  return { bytes: body.subarray(slice.first, slice.last + 1), range: { ...slice, complete: body.length } }
}

/** A stored part answers a range inside it, nothing else (RFC 9111 section 3.3). */
function sliceOfPart(spec: RangeSpec, { headers, body }: StoredResponse): Part | 'whole' {
  const part = contentRangeOf(headers)
  const open = spec.first === undefined || spec.last === undefined
  if (part === undefined || (part.complete === undefined && open)) return 'whole'
  const slice = sliceOf(spec, part.complete ?? Infinity)
  if (typeof slice === 'string' || slice.first < part.first || slice.last > part.last) return 'whole'
  const bytes = body.subarray(slice.first - part.first, slice.last + 1 - part.first)
  return { bytes, range: { ...slice, complete: part.complete } }
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
  if (plan.bypass !== undefined) return 'as-is'
  if (stored !== undefined) return reuse?.conditional === true ? handlerValidators(stored) : NONE
  if (policy.validateOtherVariants && others.length > 0) return tagsOf(others)
  return policy.forwardConditionals ? 'as-is' : NONE
}

/** RFC 9111 section 4.1: the 304 names the variant that answers this request. */
function tagsOf(others: readonly StoredResponse[]): Conditions {
  const tags = others.map((other) => handlerValidators(other).ifNoneMatch).filter((tag) => tag !== undefined)
  return tags.length === 0 ? NONE : { ifNoneMatch: [...new Set(tags)].join(', '), ifModifiedSince: undefined }
}

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
  context: RunContext,
): Freshened | 'mismatch' {
  const { plan, now } = context
  if (!isAbout(stored, notModified.headers, now)) return 'mismatch'
  const headers = updated(stored, notModified.headers, now)
  // A HEAD's validation freshens the entry of the GET it stands for.
  const asGet = plan.head ? { ...plan, stores: 'get' as const, refusal: undefined } : plan
  const decision = decideStore({ status: stored.status, headers }, { ...context, plan: asGet, body: stored.body })
  if (decision.store) return { response: forClient(toStored(decision, stored.body), headers), decision }
  // A refused update is still this client's answer; the generated ETag describes the same bytes as before.
  const etag = hasFlag(stored.flags, Flag.generatedEtag) ? linesOf(stored.headers, 'etag') : []
  return { response: { ...stored, headers: [...headers, ...etag], memo: undefined }, decision }
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
  const modified = dateOf(headers, now, 'last-modified')
  const ownModified = dateOf(stored.headers, now, 'last-modified')
  return modified === undefined || ownModified === undefined || modified === ownModified
}

/** Fields about the stored bytes, which a 304 does not replace. */
const BYTES_FIELDS = ['content-encoding', 'content-md5', 'content-range', 'content-digest']

/**
 * Each field of the 304 replaces the stored ones, except Content-Length and those of the connection (RFC 9111 section
 * 3.2), and, which that section permits for the stored response's integrity, the fields about its bytes. A generated
 * ETag is made again; the Date becomes that of the validation, whether the handler sent it or not.
 */
function updated(stored: StoredResponse, headers: HeaderList, now: number): HeaderList {
  const made = hasFlag(stored.flags, Flag.generatedEtag)
  const undated = dateOf(headers, now) === undefined
  const kept = keepFields(stored.headers, (name) => !(made && name === 'etag') && !(undated && name === 'date'))
  return mergeFields(kept, storableFields(headers, BYTES_FIELDS))
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

/**
 * The effect of a 200 to HEAD on the stored 200: it is freshened, or `changed`, because a GET would now differ from it
 * (RFC 9111 section 4.3.5). Undefined: none.
 */
export function headUpdate(
  stored: StoredResponse,
  head: ResponseHead,
  context: RunContext,
): Freshened | 'changed' | undefined {
  const { plan, policy } = context
  if (!policy.headUpdate || !plan.head || head.status !== 200 || stored.status !== 200) return undefined
  const length = parseDeltaSeconds(firstField(head.headers, 'content-length')?.trim())
  const freshened = length === undefined || length === stored.body.length ? freshen(stored, head, context) : 'mismatch'
  return freshened === 'mismatch' ? 'changed' : freshened
}

/** The stale windows of a changed response end, too; its validators may still be used while it is retained. */
export function endFreshness<T extends StoredResponse>(stored: T, now: number): T {
  const freshUntil = Math.min(stored.freshUntil, now)
  return { ...stored, freshUntil, staleUntil: freshUntil, memo: undefined }
}
