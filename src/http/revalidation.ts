import { isWeak, strongMatch, weakMatch } from './conditions.js'
import {
  dateOf,
  firstField,
  hasField,
  type HeaderList,
  keepFields,
  linesOf,
  mergeFields,
  parseDeltaSeconds,
} from './fields.js'
import { ageSeconds, parseAge } from './freshness.js'
import type { HttpPolicy } from './options.js'
import { decideStore, type RunContext, storableFields, toStored } from './storage.js'
import {
  Flag,
  hasFlag,
  type RequestPlan,
  type ResponseHead,
  type ReuseDecision,
  type StoreDecision,
  type StoredResponse,
} from './types.js'

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
