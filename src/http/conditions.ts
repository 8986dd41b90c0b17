import { hash } from 'node:crypto'
import { dateOf, firstField, type HeaderList, keepFields, OWN_STATUS_FIELD, parseHttpDate } from './fields.js'
import { Flag, hasFlag, OutgoingResponse, type RequestPlan, type StoredResponse } from './types.js'

/** 132 bits: no two bodies share a validator by chance, and a collision cannot be constructed at a reasonable price. */
const DIGEST_CHARS = 22

/**
 * A weak validator made from the body. Weak, because a proxy or middleware that compresses the answer keeps the
 * field (RFC 9110 section 8.8.1).
 */
export function makeEtag(body: Buffer): string {
  return `W/"${hash('sha256', body, 'base64url').slice(0, DIGEST_CHARS)}"`
}

const WEAK = /^W\//

export function isWeak(etag: string): boolean {
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

interface Slice {
  readonly first: number
  readonly last: number
}

/** The bytes of a representation that a range names; `unsatisfiable` is a 416, `whole` has no form as a 206. */
export function sliceOf({ first, last }: RangeSpec, length: number): Slice | 'unsatisfiable' | 'whole' {
  if (first === undefined ? last === 0 : first >= length) return 'unsatisfiable'
  if (first !== undefined) return { first, last: Math.min(last ?? Infinity, length - 1) }
  // A suffix of an empty representation is satisfiable, but no Content-Range can express it (section 14.1.2).
  return length === 0 ? 'whole' : { first: Math.max(0, length - (last ?? 0)), last: length - 1 }
}

/** Content-Range of a 206 with one part: `bytes 0-99/1234` (RFC 9110 section 14.4). */
export interface ContentRange extends Slice {
  /** Undefined: `*`, unknown. */
  readonly complete: number | undefined
}

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i

export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = value === undefined || value.length > LENGTH_MAX ? null : CONTENT_RANGE.exec(value.trim())
  if (match === null) return undefined
  const complete = match[3] === '*' ? undefined : Number(match[3])
  const range = { first: Number(match[1]), last: Number(match[2]), complete }
  return range.first <= range.last && (complete === undefined || range.last < complete) ? range : undefined
}

export function contentRangeOf(headers: HeaderList): ContentRange | undefined {
  return parseContentRange(firstField(headers, 'content-range'))
}

export function formatContentRange({ first, last, complete }: ContentRange): string {
  return `bytes ${first}-${last}/${complete ?? '*'}`
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
