import { parseDeltaSeconds } from './cache-control.js'
import { firstField, isField, joinedField, keepFields, listMembers } from './header-list.js'
import { parseHttpDate } from './http-date.js'
import type { HttpPolicy } from './options.js'
import { toStored } from './response.js'
import { decideStore, isNeverStored } from './storage.js'
import {
  Flag,
  hasFlag,
  type HeaderList,
  type RequestHead,
  type RequestPlan,
  type ResponseHead,
  type StoreDecision,
  type StoredResponse,
  type StoreFacts,
} from './types.js'
import { isWeak, strongMatch, weakMatch } from './validation.js'

/** A stored response after a 304: what this client is sent, and whether and how it is stored anew. */
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
  const modified = parseHttpDate(firstField(headers, 'last-modified'), now)
  const ownModified = parseHttpDate(firstField(stored.headers, 'last-modified'), now)
  return modified === undefined || ownModified === undefined || modified === ownModified
}

/** What is said of the stored bytes; a 304, which brings none, cannot make it true of others. */
const OF_THE_BYTES = new Set(['content-encoding', 'content-md5', 'content-range', 'content-digest'])

/**
 * Each field of the 304 replaces the stored ones, but Content-Length and what is of the connection (RFC 9111 section
 * 3.2), and, as that section allows for the stored response's integrity, what describes its bytes.
 */
function updated(stored: StoredResponse, headers: HeaderList, now: number): HeaderList {
  const named = listMembers(joinedField(headers, 'connection'))
  const update = keepFields(headers, (name) => !isNeverStored(name) && !OF_THE_BYTES.has(name) && !named.includes(name))
  return mergeFields(
    keepFields(stored.headers, (name) => !isOutdated(name, stored, headers, now)),
    update,
  )
}

/** Our ETag is made anew; a Date is that of the validation, whether the handler wrote it or not. */
function isOutdated(name: string, stored: StoredResponse, headers: HeaderList, now: number): boolean {
  if (name === 'etag') return hasFlag(stored.flags, Flag.generatedEtag)
  return name === 'date' && parseHttpDate(firstField(headers, 'date'), now) === undefined
}

/** `update` over `base`, field by field: at its place where the base has it, otherwise at the end. */
export function mergeFields(base: HeaderList, update: HeaderList): HeaderList {
  const merged: string[] = []
  const done = new Set<string>()
  for (let index = 0; index < base.length; index += 2) {
    const name = base[index] as string
    const lower = name.toLowerCase()
    const lines = done.has(lower) ? [] : linesOf(update, lower)
    if (lines.length > 0) done.add(lower)
    if (lines.length > 0) merged.push(...lines)
    else if (!done.has(lower)) merged.push(name, base[index + 1] as string)
  }
  return [...merged, ...keepFields(update, (name) => !done.has(name))]
}

function linesOf(headers: HeaderList, name: string): string[] {
  const lines: string[] = []
  for (let index = 0; index < headers.length; index += 2) {
    if (isField(headers[index] as string, name)) lines.push(headers[index] as string, headers[index + 1] as string)
  }
  return lines
}

/** A refused update is still this client's answer; the generated ETag describes the same bytes as before. */
function sendable(headers: HeaderList, stored: StoredResponse): HeaderList {
  if (!hasFlag(stored.flags, Flag.generatedEtag)) return headers
  return [...headers, 'ETag', firstField(stored.headers, 'etag') as string]
}

/** A cookie in the 304 is for the client that asked, whether or not it may be stored. */
function forClient(entry: StoredResponse, headers: HeaderList): StoredResponse {
  const cookies = linesOf(headers, 'set-cookie')
  const missing = cookies.length > 0 && firstField(entry.headers, 'set-cookie') === undefined
  return missing ? { ...entry, headers: [...entry.headers, ...cookies] } : entry
}

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
