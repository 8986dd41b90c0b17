import { replayStatus, runStatus, statusFields } from './cache-status.js'
import { ageSeconds, generatedCacheControl, withFreshness } from './freshness.js'
import { firstField, hasField, isField, keepFields } from './header-list.js'
import { type HttpPolicy, OWN_TARGET } from './options.js'
import { type ContentRange, formatContentRange, parseContentRange, parseRange, sliceOf, sliceOfPart } from './range.js'
import { OWN_STATUS_FIELD } from './storage.js'
import {
  Flag,
  hasFlag,
  type HeaderList,
  type OutgoingResponse,
  type MissResponse,
  type StoredResponseContext,
  type RequestHead,
  type RequestPlan,
  type ResponseHead,
  type RunFacts,
  type Storable,
  type StoreDecision,
  type StoredResponse,
} from './types.js'
import { clientHasIt, makeEtag, rangeApplies, toNotModified } from './validation.js'
import { varyAddition } from './vary.js'

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

const HIT: StoredResponseContext = Object.freeze({ kind: 'hit' })

/** The answer a stored response gives: 200, 304, 206 or 416, or whatever its status is. */
export function buildStoredResponse(
  stored: StoredResponse,
  plan: RequestPlan,
  _request: RequestHead,
  policy: HttpPolicy,
  now: number,
  how: StoredResponseContext = HIT,
): OutgoingResponse {
  const facts = factsOf(stored)
  const whole =
    how.kind === 'hit' && how.key === undefined ? hit(stored, facts, policy, now) : answer(stored, policy, now, how)
  if (plan.plain) return whole
  if (clientHasIt(stored, plan, facts.etag, now)) return facts.notModified(whole)
  if (plan.range !== undefined && rangeApplies(stored, plan.ifRange, now)) return ranged(stored, whole, plan.range)
  return plan.head
    ? {
        ...whole,
        headers: [...whole.headers, 'Content-Length', String(stored.body.length)],
        body: null,
        memo: undefined,
      }
    : whole
}

/** What a stored object has told us once. Hits of the same second and the same policy are the same answer. */
class Facts {
  readonly etag: string | undefined
  policy: HttpPolicy | undefined
  remaining = NaN
  age = NaN
  whole: OutgoingResponse | undefined
  #notModified: OutgoingResponse | undefined
  #notModifiedOf: OutgoingResponse | undefined

  constructor(stored: StoredResponse) {
    this.etag = firstField(stored.headers, 'etag')
  }

  notModified(whole: OutgoingResponse): OutgoingResponse {
    if (this.#notModified === undefined || this.#notModifiedOf !== whole) {
      this.#notModified = toNotModified(whole.headers)
      this.#notModifiedOf = whole
    }
    return this.#notModified
  }
}

function factsOf(stored: StoredResponse): Facts {
  if (stored.memo instanceof Facts) return stored.memo
  const facts = new Facts(stored)
  stored.memo = facts
  return facts
}

function hit(stored: StoredResponse, facts: Facts, policy: HttpPolicy, now: number): OutgoingResponse {
  const remaining = Math.floor((stored.freshUntil - now) / 1000)
  const age = ageSeconds(stored, now)
  if (facts.whole !== undefined && facts.policy === policy && facts.remaining === remaining && facts.age === age)
    return facts.whole
  facts.policy = policy
  facts.remaining = remaining
  facts.age = age
  facts.whole = answer(stored, policy, now, HIT)
  return facts.whole
}

function answer(stored: StoredResponse, policy: HttpPolicy, now: number, how: StoredResponseContext): OutgoingResponse {
  const headers = withFreshness(stored, now, how.kind === 'revalidated')
  const member = policy.cacheStatus === undefined ? undefined : replayStatus(policy.cacheStatus, stored, how, now)
  headers.push(...statusFields(policy, wordOf(how), member))
  return { status: stored.status, headers, body: stored.body, memo: undefined }
}

/** HIT: the handler's answer is not part of this one. A revalidation ran it, and stored what it said. */
function wordOf(how: StoredResponseContext): 'HIT' | 'MISS' | 'BYPASS' {
  if (how.kind !== 'revalidated') return 'HIT'
  return how.stored === false ? 'BYPASS' : 'MISS'
}

/** RFC 9110 sections 14.2, 15.3.7 and 15.5.17. Several ranges are answered whole. */
function ranged(stored: StoredResponse, whole: OutgoingResponse, range: string): OutgoingResponse {
  const spec = parseRange(range)
  if (spec === undefined) return whole
  if (hasFlag(stored.flags, Flag.partial)) return narrowed(stored, whole, range)
  if (stored.status !== 200) return whole
  const { length } = stored.body
  const slice = sliceOf(spec, length)
  if (slice === 'whole') return whole
  if (slice === 'unsatisfiable') return unsatisfiable(whole.headers, length)
  return partOf(whole.headers, { ...slice, complete: length }, stored.body.subarray(slice.first, slice.last + 1))
}

/** A range inside a stored 206. */
function narrowed(stored: StoredResponse, whole: OutgoingResponse, range: string): OutgoingResponse {
  const spec = parseRange(range)
  const part = parseContentRange(firstField(stored.headers, 'content-range'))
  const slice = spec && part && sliceOfPart(spec, part)
  if (part === undefined || slice === undefined) return whole
  const headers = keepFields(whole.headers, (name) => name !== 'content-range')
  const body = stored.body.subarray(slice.first - part.first, slice.last + 1 - part.first)
  return partOf(headers, { ...slice, complete: part.complete }, body)
}

function partOf(headers: HeaderList, part: ContentRange, body: Buffer): OutgoingResponse {
  return { status: 206, headers: [...headers, 'Content-Range', formatContentRange(part)], body, memo: undefined }
}

/** No field of the representation but what says how long it is; what speaks of caching and of selection stays. */
const UNSATISFIABLE_FIELDS = new Set(['date', 'vary', 'x-redis-cache', 'cache-status'])

const NO_CONTENT = Buffer.alloc(0)

function unsatisfiable(headers: HeaderList, length: number): OutgoingResponse {
  const kept = keepFields(headers, (name) => UNSATISFIABLE_FIELDS.has(name))
  return { status: 416, headers: [...kept, 'Content-Range', `bytes */${length}`], body: NO_CONTENT, memo: undefined }
}

const NO_RUN: RunFacts = Object.freeze({})

/**
 * What the client of a handler run is sent: the handler's response with the fields that a hit would have as well, and a
 * lifetime only where it was stored. A condition that the handler did not see is answered here.
 */
export function buildMissResponse(
  _request: RequestHead,
  plan: RequestPlan,
  response: ResponseHead,
  body: Buffer | undefined,
  decision: StoreDecision,
  policy: HttpPolicy,
  now: number,
  run: RunFacts = NO_RUN,
): MissResponse {
  const complete = decision.store && body !== undefined ? withBody(decision, body, policy) : decision
  const stored = complete.store && run.stored !== false
  const member = policy.cacheStatus === undefined ? undefined : runStatus(policy.cacheStatus, plan, stored, run)
  const headers = [
    ...representation(plan, response, complete, policy),
    ...cacheControl(plan, response, stored && complete.store ? complete : undefined, policy, now),
    ...statusFields(policy, stored ? 'MISS' : 'BYPASS', member),
  ]
  const unmodified =
    canBeNotModified(plan, headers, body) &&
    clientHasIt({ status: response.status, headers, storedAt: now }, plan, firstField(headers, 'etag'), now)
  return unmodified ? toNotModified(headers, 'set-cookie') : { status: response.status, headers, body }
}

/** A body that is on its way already cannot be taken back, and what has just been made is newer than any Date. */
function canBeNotModified(plan: RequestPlan, headers: HeaderList, body: Buffer | undefined): boolean {
  if (plan.outcome !== 'lookup' || (body === undefined && !plan.head)) return false
  return plan.ifNoneMatch !== undefined || hasField(headers, 'last-modified')
}

function representation(
  plan: RequestPlan,
  response: ResponseHead,
  decision: StoreDecision,
  policy: HttpPolicy,
): HeaderList {
  const added =
    decision.store && plan.stores !== 'write' ? decision.addedHeaders : varyAddition(response.headers, policy)
  const dated = added.includes('Date')
  const own = keepFields(
    response.headers,
    (name) => name !== OWN_STATUS_FIELD && name !== OWN_TARGET && !(dated && name === 'date'),
  )
  return added.length === 0 ? own : [...own, ...added]
}

/** Generated only where the handler wrote none and the route governs; a write's response is no reader's. */
function cacheControl(
  plan: RequestPlan,
  { headers }: ResponseHead,
  stored: Storable | undefined,
  policy: HttpPolicy,
  now: number,
): HeaderList {
  if (hasField(headers, 'cache-control')) return []
  if (stored === undefined || plan.stores === 'write') return policy.private ? ['Cache-Control', 'private'] : []
  if (!hasFlag(stored.flags, Flag.routeGoverned)) return []
  return ['Cache-Control', generatedCacheControl(stored.lifetimes.freshUntil, now, policy.private)]
}

/**
 * The answer where only the store may answer and it cannot (`only-if-cached`, RFC 9111 section 5.2.1.7), or where the
 * handler fails and the stored response must be validated (section 5.2.2.2). It is not a response of the cache's
 * resource, so it has no status field (RFC 9211 section 2).
 */
export function gatewayTimeout(): OutgoingResponse {
  return { status: 504, headers: ['Cache-Control', 'no-store'], body: NO_CONTENT, memo: undefined }
}
