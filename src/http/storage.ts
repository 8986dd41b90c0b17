import type { ResponseDirectives } from './cache-control.js'
import {
  appendMembers,
  dateOf,
  fieldBytes,
  firstField,
  formatHttpDate,
  hasField,
  type HeaderList,
  joinedField,
  keepFields,
  listMembers,
  mapFields,
  isField,
  OWN_STATUS_FIELD,
  OWN_TARGET,
  parseDeltaSeconds,
} from './fields.js'
import {
  chooseLifetime,
  type EffectiveDirectives,
  effectiveDirectives,
  explicitLifetime,
  HANDLER_STATUSES,
  initialAge,
  type Lifetime,
  neverStale,
  windowsOf,
} from './freshness.js'
import { cacheGroups, fitsEntry, serializeGroups } from './invalidation.js'
import type { HttpPolicy } from './options.js'
import { contentRangeOf, formatContentRange } from './range.js'
import {
  Flag,
  hasFlag,
  refuse,
  type RefusalReason,
  type RequestHead,
  type RequestPlan,
  type ResponseHead,
  type Storable,
  type StoreDecision,
  type StoredResponse,
  type StoreFacts,
} from './types.js'
import { makeEtag } from './validation.js'
import { varyNames, withVary } from './vary.js'

/** Failures that a stale response may replace (RFC 5861 section 4). */
export function isFailure(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504
}

/** A run to decide about: its request, its response, the directives that count, and when. */
interface Run {
  readonly request: RequestHead
  readonly plan: RequestPlan
  readonly response: ResponseHead
  /** The response that would be stored: that of a GET. */
  readonly entry: ResponseHead
  readonly effective: EffectiveDirectives
  /** Field names that `private="f"` and `no-cache="f"` keep out of the store (RFC 9111 sections 5.2.2.4, 5.2.2.7). */
  readonly qualified: readonly string[]
  /** Request fields that select the response. */
  readonly varyNames: readonly string[] | '*'
  /** Groups that the response is in. */
  readonly groups: readonly string[]
  readonly facts: StoreFacts
  readonly policy: HttpPolicy
  readonly now: number
  readonly requestedAt: number
}

type Refusal = RefusalReason | undefined

const NO_FACTS: StoreFacts = Object.freeze({})

/**
 * Whether and how the response of a handler run is stored (RFC 9111 section 3). The same decision stores the response
 * and announces its lifetime to other caches. Without a body in `facts` it is about the head; `withBody` completes it.
 */
export function decideStore(
  request: RequestHead,
  plan: RequestPlan,
  response: ResponseHead,
  policy: HttpPolicy,
  now: number,
  requestedAt: number,
  facts: StoreFacts = NO_FACTS,
): StoreDecision {
  const effective = effectiveDirectives(response, policy)
  const { noCacheFields, privateFields } = effective.directives
  const qualified = policy.personal ? noCacheFields : [...noCacheFields, ...privateFields]
  const entry = entryOf(plan, response, facts)
  const of = { varyNames: varyNames(entry.headers, policy), groups: cacheGroups(entry.headers) }
  const run: Run = { request, plan, response, entry, effective, qualified, ...of, facts, policy, now, requestedAt }
  const early = plan.refusal ?? runRefusal(run) ?? statusRefusal(run)
  if (early !== undefined) return refuse(early)
  const lifetime = chooseLifetime(entry, effective, policy, now)
  if (lifetime === 'status') return refuse(lifetime)
  const forbidden = prohibition(run)
  if (forbidden !== undefined) return refuse(forbidden)
  if (lifetime === 'no-freshness') return refuse(lifetime)
  const draft = draftOf(run, lifetime)
  const oversize = sizeRefusal(run, draft)
  if (oversize !== undefined) return refuse(oversize)
  return facts.body === undefined ? draft : withBody(draft, facts.body, policy)
}

/** A write-through's response as that of a GET: its own status and Location mean nothing to a reader. */
function entryOf({ stores }: RequestPlan, response: ResponseHead, { ambient }: StoreFacts): ResponseHead {
  const { status } = response
  const headers =
    ambient === undefined || ambient.size === 0
      ? response.headers
      : keepFields(response.headers, (name) => !ambient.has(name))
  if (stores !== 'write') return { status, headers }
  return { status: status === 201 ? 200 : status, headers: storableFields(headers, ['location']) }
}

/** Reasons in the run itself, before any rule of the response. */
function runRefusal(run: Run): Refusal {
  const { plan, response } = run
  if (plan.stores === 'write' && response.status !== 200 && response.status !== 201) return 'status'
  if (plan.stores === 'post' && !standsForGet(run.request, response, run.effective, run.now)) return 'content-location'
  return undefined
}

const NO_ORIGIN = 'http://origin.invalid'

/** RFC 9110 section 9.3.3: a POST with its own URI as Content-Location and explicit freshness. */
function standsForGet(
  { target }: RequestHead,
  response: ResponseHead,
  effective: EffectiveDirectives,
  now: number,
): boolean {
  const location = firstField(response.headers, 'content-location')
  if (response.status !== 200 || location === undefined || target === undefined) return false
  if (!URL.canParse(location, NO_ORIGIN + target)) return false
  const same = new URL(location, NO_ORIGIN + target).href === new URL(target, NO_ORIGIN).href
  return same && explicitLifetime(response, effective, now) !== undefined
}

/** Statuses that are never stored, whatever route or response declare (RFC 9111 section 3). */
function statusRefusal({ entry: { status, headers }, effective, policy }: Run): Refusal {
  if (status < 200 || status === 304) return 'status'
  if (effective.directives.mustUnderstand && !HANDLER_STATUSES.has(status)) return 'status'
  // A 416 answers one client's Range; requests without it must not get it.
  if (status === 416) return 'partial'
  return status === 206 && !(policy.partial && contentRangeOf(headers) !== undefined) ? 'partial' : undefined
}

/** Whether a shared cache may use the response for requests with Authorization (RFC 9111 section 3.5). */
function allowsSharing(directives: ResponseDirectives): boolean {
  return directives.public || directives.mustRevalidate || directives.sMaxage !== undefined
}

/** Prohibitions; they bind where the route sets the lifetime, too (RFC 9111 sections 3, 3.5, 5.2.2). */
function prohibition(run: Run): Refusal {
  const { policy, facts, qualified } = run
  const { headers } = run.entry
  const { directives } = run.effective
  const shareable = allowsSharing(directives)
  // With must-understand, no-store is for caches that do not understand the status (section 5.2.2.3).
  if (directives.noStore && !directives.mustUnderstand) return 'response-no-store'
  if (directives.private && !policy.personal) return 'response-private'
  // A stored cookie would be sent to all clients.
  const cookies = COOKIES.some((name) => hasField(headers, name) && !qualified.includes(name))
  if (cookies && policy.setCookie === 'refuse') return 'set-cookie'
  if (run.plan.authorized && !shareable) return 'authorization'
  // A handler that reads Authorization and then allows sharing has taken it into account (section 3.5).
  const unkeyed = facts.unkeyedRead !== undefined && !(facts.unkeyedRead === 'authorization' && shareable)
  if (unkeyed && policy.unkeyedReads === 'refuse') return 'unkeyed-read'
  const validators = VALIDATORS.some((name) => hasField(headers, name) && !qualified.includes(name))
  if (directives.noCache && !(policy.revalidate && validators)) return 'response-no-cache'
  if (run.varyNames === '*') return 'vary-star'
  const encoded = policy.encoded === 'vary' && isEncoded(headers)
  if (encoded && !run.varyNames.includes('accept-encoding')) return 'content-encoding'
  if (firstField(headers, 'content-type')?.toLowerCase().startsWith('text/event-stream')) return 'event-stream'
  return fitsEntry(run.groups) ? undefined : 'too-many-groups'
}

const COOKIES = ['set-cookie', 'set-cookie2']

const VALIDATORS = ['etag', 'last-modified']

function isEncoded(headers: HeaderList): boolean {
  return listMembers(joinedField(headers, 'content-encoding')).some((coding) => coding !== 'identity')
}

/** Limits, and entries that could never be used. */
function sizeRefusal({ response, facts: { body }, policy }: Run, draft: Storable): Refusal {
  if (draft.physicalTtlMs !== undefined && draft.physicalTtlMs <= 0) return 'already-stale'
  if (fieldBytes(draft.storedHeaders) > policy.maxHeaderBytes) return 'headers-too-large'
  if ((declaredLength(response) ?? 0) > policy.maxBodyBytes) return 'body-too-large'
  return body !== undefined && isTruncated(response, body) ? 'truncated' : undefined
}

/** Whether a body is not the one that its head declared: it is not stored as if it were complete (RFC 9111 section 3.3). */
export function isTruncated(response: ResponseHead, body: Buffer): boolean {
  const declared = declaredLength(response)
  return declared !== undefined && declared !== body.length
}

function declaredLength({ headers }: ResponseHead): number | undefined {
  return parseDeltaSeconds(firstField(headers, 'content-length')?.trim())
}

/** Fields of one connection (RFC 9110 section 7.6.1) or one proxy (RFC 9111 section 3.1); `proxy-*` as a whole below. */
const CONNECTION_FIELDS = ['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']

/** Content-Length follows from the body; the adapter writes it. */
const NEVER_STORED = new Set([...CONNECTION_FIELDS, OWN_STATUS_FIELD, OWN_TARGET, 'content-length'])

/** The fields to store; order and repetition are kept. `without`: more lower-case names to leave out. */
export function storableFields(headers: HeaderList, without: readonly string[] = []): HeaderList {
  const named = listMembers(joinedField(headers, 'connection'))
  return keepFields(
    headers,
    (name) => !NEVER_STORED.has(name) && !name.startsWith('proxy-') && !named.includes(name) && !without.includes(name),
  )
}

/** The fields that this cache adds to a response that it stores: a miss sends them as its hits do. */
export function withOwnFields(
  headers: HeaderList,
  { addedGroups, addedHeaders }: Pick<Storable, 'addedGroups' | 'addedHeaders'>,
  policy: HttpPolicy,
): HeaderList {
  const varied = withVary(headers, policy)
  const grouped = addedGroups === '' ? varied : appendMembers(varied, 'Cache-Groups', addedGroups)
  return addedHeaders.length === 0 ? grouped : [...grouped, ...addedHeaders]
}

function draftOf(run: Run, lifetime: Lifetime): Storable {
  const { entry, effective, policy, facts, now } = run
  const { headers } = entry
  const byHandler = lifetime.by === 'handler'
  const usesAge = byHandler ? policy.freshnessHeaders !== 'countdown' : policy.freshnessHeaders === 'age'
  // RFC 9110 section 6.6.1: a cache adds a Date to a response without one.
  const dated = usesAge && dateOf(headers, now) === undefined
  const added = {
    addedHeaders: dated ? ['Date', formatHttpDate(now)] : [],
    addedGroups: policy.emitCacheGroups && facts.groups !== undefined ? serializeGroups(facts.groups) : '',
  }
  const without = [
    'age',
    ...(usesAge && !dated ? [] : ['date']),
    ...run.qualified,
    ...(policy.setCookie === 'strip' ? COOKIES : []),
  ]
  const storedHeaders = withOwnFields(storableFields(headers, without), added, policy)
  const validators = VALIDATORS.some((name) => hasField(storedHeaders, name))
  const initialAgeMs = byHandler ? initialAge(headers, run.requestedAt, now) : 0
  const revalidates = policy.revalidate && validators
  const random = facts.random ?? (policy.jitter > 0 ? Math.random() : 0)
  const { flags, ...lifetimes } = windowsOf({ lifetime, initialAgeMs, effective, revalidates, now, random }, policy)
  const until = Math.max(lifetimes.freshUntil, lifetimes.staleUntil, lifetimes.errorUntil)
  return {
    store: true,
    status: entry.status,
    lifetimes,
    flags: flags | flagsOf(run, byHandler, usesAge) | (validators ? Flag.validators : 0),
    initialAgeMs,
    physicalTtlMs: until === Infinity ? undefined : until - now,
    storedHeaders,
    ...added,
    groups: run.groups,
    varyNames: run.varyNames === '*' ? [] : run.varyNames,
  }
}

function flagsOf({ entry, effective: { directives }, policy }: Run, byHandler: boolean, usesAge: boolean): number {
  return (
    (byHandler ? 0 : Flag.routeGoverned) |
    (usesAge ? Flag.age : 0) |
    (neverStale(directives, policy) ? Flag.noStale : 0) |
    (directives.noCache ? Flag.validate : 0) |
    (allowsSharing(directives) ? Flag.sharedAuth : 0) |
    (directives.immutable ? Flag.immutable : 0) |
    (hasField(entry.headers, 'cache-control') ? Flag.ownCacheControl : 0) |
    (entry.status === 206 ? Flag.partial : 0) |
    (policy.private ? Flag.personal : 0)
  )
}

/**
 * Completes a decision that was made without the body: refuses what is too long, and makes the ETag of a 200 without one
 * (RFC 9110 section 8.8.3). Doing it twice changes nothing.
 */
export function withBody(decision: Storable, body: Buffer, policy: HttpPolicy): StoreDecision {
  if (body.length > policy.maxBodyBytes) return refuse('body-too-large')
  if (hasFlag(decision.flags, Flag.partial)) return fitted(decision, body.length)
  if (!policy.etag || decision.status !== 200 || hasField(decision.storedHeaders, 'etag')) return decision
  const etag = ['ETag', makeEtag(body)]
  return {
    ...decision,
    flags: decision.flags | Flag.generatedEtag,
    storedHeaders: [...decision.storedHeaders, ...etag],
    addedHeaders: [...decision.addedHeaders, ...etag],
  }
}

/**
 * A part is used by its Content-Range, so that must match the received bytes (RFC 9111 section 3.3). For a shorter body
 * it is corrected: a part that was announced to reach the end still does, because origins err about the end, not about
 * the beginning. A longer body is not stored.
 */
function fitted(decision: Storable, length: number): StoreDecision {
  const part = contentRangeOf(decision.storedHeaders)
  const excess = part === undefined ? -1 : part.last - part.first + 1 - length
  if (part === undefined || length === 0 || excess < 0) return refuse('partial')
  if (excess === 0) return decision
  const last = part.last - excess
  const complete = part.last + 1 === part.complete ? last + 1 : part.complete
  const range = formatContentRange({ first: part.first, last, complete })
  const storedHeaders = mapFields(decision.storedHeaders, (name, own) => (isField(name, 'content-range') ? range : own))
  return { ...decision, storedHeaders }
}

/** The entry that a decision makes. */
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
