import { clientHasIt, listNames, requestedPart, toNotModified } from './conditions.js'
import {
  appendMembers,
  firstField,
  formatContentRange,
  hasField,
  type HeaderList,
  isField,
  keepFields,
  OWN_STATUS_FIELD,
  OWN_TARGET,
} from './fields.js'
import { ageSeconds, generatedCacheControl, TimedValue, withFreshness } from './freshness.js'
import type { HttpPolicy } from './options.js'
import { withOwnFields } from './storage.js'
import {
  BYPASS_REASONS,
  Flag,
  type Forward,
  hasFlag,
  OutgoingResponse,
  type RequestPlan,
  type ResponseHead,
  REUSE_REASONS,
  type ReuseDecision,
  type RunFacts,
  type Storable,
  type StoreDecision,
  type StoredResponse,
  type StoredResponseContext,
} from './types.js'
import { withVary } from './vary.js'

const HIT: StoredResponseContext = Object.freeze({ kind: 'hit' })

/** The answer from a stored response: 200, 304, 206 or 416, or its own status. */
export function buildStoredResponse(
  stored: StoredResponse,
  plan: RequestPlan,
  policy: HttpPolicy,
  now: number,
  context: StoredResponseContext = HIT,
): OutgoingResponse {
  const facts = factsOf(stored)
  const whole = context.kind === 'hit' ? facts.hit(stored, policy, now) : wholeResponse(stored, policy, now, context)
  if (plan.plain) return whole
  if (clientHasIt(stored, plan, facts.etag, now)) return facts.notModified(whole)
  if (plan.range !== undefined) return ranged(stored, whole, plan, now)
  if (!plan.head) return whole
  // A status without content has no Content-Length (RFC 9110 section 8.6).
  const length = stored.status === 204 ? [] : ['Content-Length', String(stored.body.length)]
  return new OutgoingResponse(whole.status, [...whole.headers, ...length], null)
}

/**
 * The answer of a fresh entry to a GET that has no condition (`ifNoneMatch` is ''), or If-None-Match alone: the two that
 * are asked for most.
 */
export function buildFreshHit(
  stored: StoredResponse,
  ifNoneMatch: string,
  policy: HttpPolicy,
  now: number,
): OutgoingResponse {
  const facts = factsOf(stored)
  const whole = facts.hit(stored, policy, now)
  const unchanged = ifNoneMatch !== '' && stored.status === 200 && listNames(ifNoneMatch, facts.etag)
  return unchanged ? facts.notModified(whole) : whole
}

/**
 * Facts about a stored object, derived once, and the answer to its hits. Fields that depend on the time are changed in
 * place, because making the answer anew each second costs more than a hit.
 */
class Facts {
  readonly etag: string | undefined
  #policy: HttpPolicy | undefined
  #remaining = NaN
  #age = NaN
  #whole: OutgoingResponse | undefined
  #timed: TimedValue[] = []
  #notModified: OutgoingResponse | undefined

  constructor(stored: StoredResponse) {
    this.etag = firstField(stored.headers, 'etag')
  }

  hit(stored: StoredResponse, policy: HttpPolicy, now: number): OutgoingResponse {
    const remaining = Math.floor((stored.freshUntil - now) / 1000)
    const age = ageSeconds(stored, now)
    const isSecond = this.#remaining === remaining && this.#age === age
    this.#remaining = remaining
    this.#age = age
    if (this.#whole === undefined || this.#policy !== policy) {
      this.#policy = policy
      this.#timed = []
      this.#notModified = undefined
      this.#whole = wholeResponse(stored, policy, now, HIT, this.#timed)
    } else if (!isSecond) {
      setTime(this.#whole, this.#timed, now)
      this.#notModified = undefined
    }
    return this.#whole
  }

  notModified(whole: OutgoingResponse): OutgoingResponse {
    if (whole !== this.#whole) return toNotModified(whole.headers)
    this.#notModified ??= toNotModified(whole.headers)
    return this.#notModified
  }
}

function setTime(response: OutgoingResponse, timed: readonly TimedValue[], now: number): void {
  const headers = response.headers as string[]
  for (const { index, at } of timed) headers[index] = at(now)
  response.version += 1
}

function factsOf(stored: StoredResponse): Facts {
  if (stored.memo instanceof Facts) return stored.memo
  const facts = new Facts(stored)
  stored.memo = facts
  return facts
}

function wholeResponse(
  stored: StoredResponse,
  policy: HttpPolicy,
  now: number,
  context: StoredResponseContext,
  timed: TimedValue[] = [],
): OutgoingResponse {
  const { cacheStatus } = policy
  const headers = withFreshness(stored, now, context.kind === 'revalidated', policy.clientMaxAgeMs, timed)
  const memberAt = (at: number): string => (cacheStatus === false ? '' : storedStatus(cacheStatus, stored, context, at))
  const member = cacheStatus === false ? undefined : memberAt(now)
  const body = stored.status === 204 ? null : stored.body
  // HIT: the handler's answer is not part of this one. A revalidation ran the handler and stored its result.
  const word = context.kind !== 'revalidated' ? 'HIT' : context.stored === false ? 'BYPASS' : 'MISS'
  const all = withStatusFields(headers, policy, word, member)
  if (member !== undefined) {
    // The member is the end of the last line.
    const index = all.findLastIndex((text, at) => at % 2 === 0 && isField(text, 'cache-status')) + 1
    const others = all[index]?.slice(0, -member.length) ?? ''
    timed.push(new TimedValue(index, (at) => others + memberAt(at)))
  }
  return new OutgoingResponse(stored.status, all, body)
}

/** Fields about the stored bytes, which are not those of the part (RFC 9530 section 2). */
const BYTES_FIELDS = new Set(['content-range', 'content-digest', 'content-md5'])

/** No field of the representation except its length; those about caching and selection stay. */
const UNSATISFIABLE_FIELDS = new Set(['date', 'vary', OWN_STATUS_FIELD, 'cache-status'])

const NO_CONTENT = Buffer.alloc(0)

/** RFC 9110 sections 14.2, 15.3.7 and 15.5.17. */
function ranged(stored: StoredResponse, whole: OutgoingResponse, plan: RequestPlan, now: number): OutgoingResponse {
  const part = requestedPart(stored, plan, now)
  if (part === 'whole') return whole
  if (part === 'unsatisfiable') {
    const kept = keepFields(whole.headers, (name) => UNSATISFIABLE_FIELDS.has(name))
    return new OutgoingResponse(416, [...kept, 'Content-Range', `bytes */${stored.body.length}`], NO_CONTENT)
  }
  const kept = keepFields(whole.headers, (name) => !BYTES_FIELDS.has(name))
  const fields = untransformed(kept)
  return new OutgoingResponse(206, [...fields, 'Content-Range', formatContentRange(part.range)], part.bytes)
}

/** A compression on the way would encode the part, whose range counts the bytes as they are stored. */
function untransformed(headers: HeaderList): HeaderList {
  const at = headers.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === 'cache-control')
  if (at === -1) return [...headers, 'Cache-Control', 'no-transform']
  return headers.with(at + 1, `${headers[at + 1]}, no-transform`)
}

const NO_RUN: RunFacts = Object.freeze({})

/**
 * The response to the client of a handler run: the handler's, with the fields that a hit would have as well, and a
 * lifetime only where it was stored. A condition that the handler did not see is answered here.
 */
export function buildMissResponse(
  plan: RequestPlan,
  response: ResponseHead,
  body: Buffer | undefined,
  decision: StoreDecision,
  policy: HttpPolicy,
  now: number,
  run: RunFacts = NO_RUN,
): OutgoingResponse {
  const { status } = response
  // The response to a write-through is the write's own, so the caller alone knows whether its entry was stored.
  const isWrite = plan.stores === 'write'
  const stored = isWrite ? run.stored === true : decision.store && run.stored !== false
  const fields = missFields(response, decision.store && !isWrite ? decision : undefined, stored, policy, now)
  const member = policy.cacheStatus === false ? undefined : runStatus(policy.cacheStatus, plan, stored, run)
  const headers = withStatusFields(fields, policy, stored ? 'MISS' : 'BYPASS', member)
  const unmodified =
    canBeNotModified(plan, headers, body) &&
    clientHasIt({ status, headers, storedAt: now }, plan, firstField(headers, 'etag'), now)
  return unmodified ? toNotModified(headers, 'set-cookie') : new OutgoingResponse(status, headers, body ?? null)
}

/** A body that is being sent cannot be taken back, and a new response is newer than any Date. */
function canBeNotModified(plan: RequestPlan, headers: HeaderList, body: Buffer | undefined): boolean {
  if (plan.bypass !== undefined || (body === undefined && !plan.head)) return false
  return plan.ifNoneMatch !== undefined || hasField(headers, 'last-modified')
}

/**
 * The handler's fields, and those that the entry has in addition. A Cache-Control is generated only where the handler set
 * none and the route sets the lifetime; a write's response is no reader's.
 */
function missFields(
  { headers }: ResponseHead,
  added: Storable | undefined,
  stored: boolean,
  policy: HttpPolicy,
  now: number,
): string[] {
  const { flags, freshUntil } = added?.entry ?? { flags: 0, freshUntil: now }
  // The route's lifetime counts from now, so the age that the handler's fields describe must not count as well.
  const renewed = stored && hasFlag(flags, Flag.routeGoverned)
  const dated = added?.addedHeaders.includes('Date') === true || (renewed && !hasFlag(flags, Flag.age))
  const omitted = [OWN_STATUS_FIELD, OWN_TARGET, ...(renewed ? ['age'] : []), ...(dated ? ['date'] : [])]
  const own = keepFields(headers, (name) => !omitted.includes(name))
  const fields = [...(added === undefined ? withVary(own, policy.vary) : withOwnFields(own, added, policy))]
  if (hasField(headers, 'cache-control')) return fields
  if (renewed)
    fields.push('Cache-Control', generatedCacheControl(freshUntil, now, policy.private, policy.clientMaxAgeMs))
  else if (policy.private && !(stored && added !== undefined)) fields.push('Cache-Control', 'private')
  return fields
}

/**
 * The answer where only the store may answer and cannot (`only-if-cached`, RFC 9111 section 5.2.1.7), or where the
 * handler fails and the stored response must be validated (section 5.2.2.2). It has no status field, because it is not a
 * response of the resource (RFC 9211 section 2).
 */
export function gatewayTimeout(): OutgoingResponse {
  return new OutgoingResponse(504, ['Cache-Control', 'no-store'], NO_CONTENT)
}

/** Completes Vary, and adds `X-Redis-Cache` and this cache's member of Cache-Status after the handler's. */
function withStatusFields(
  headers: HeaderList,
  policy: HttpPolicy,
  word: 'HIT' | 'MISS' | 'BYPASS',
  member: string | undefined,
): HeaderList {
  const varied = withVary(headers, policy.varyBehind)
  const list = policy.statusHeader ? [...varied, 'X-Redis-Cache', word] : varied
  return member === undefined ? list : appendMembers(list, 'Cache-Status', member)
}

/** This cache's member of Cache-Status for an answer from the store (RFC 9211 section 2). */
function storedStatus(name: string, stored: StoredResponse, context: StoredResponseContext, now: number): string {
  // Remaining freshness, negative when stale; none where it has no end (section 2.6).
  const remaining = Math.floor((stored.freshUntil - now) / 1000)
  const ttl = Number.isFinite(remaining) ? `; ttl=${remaining}` : ''
  const forward = `${name}; fwd=${forwardOf(context.reuse, context.varyMiss)}`
  if (context.kind === 'collapsed') return `${forward}${ttl}; collapsed`
  if (context.kind === 'revalidated') return `${forward}; fwd-status=304${context.stored === false ? '' : '; stored'}`
  // The handler ran and failed, so this is no hit.
  if (context.kind === 'error') return `${forward}${ttl}; detail=stale-if-error`
  return `${name}; hit${ttl}`
}

/** … and for the answer of a handler run. */
function runStatus(name: string, plan: RequestPlan, stored: boolean, run: RunFacts): string {
  const forward = plan.bypass === undefined ? forwardOf(run.reuse, run.varyMiss) : BYPASS_REASONS[plan.bypass]
  const detail = run.detail === undefined ? '' : `; detail=${run.detail}`
  return `${name}; fwd=${forward}${stored ? '; stored' : ''}${detail}`
}

function forwardOf(reuse: ReuseDecision | undefined, varyMiss: boolean | undefined): Forward {
  if (reuse !== undefined) return REUSE_REASONS[reuse.reason]
  return varyMiss === true ? 'vary-miss' : 'uri-miss'
}
