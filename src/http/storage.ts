import { parseDeltaSeconds, type ResponseDirectives } from './cache-control.js'
import {
  chooseLifetime,
  explicitLifetime,
  type Governing,
  governing,
  initialAge,
  type Lifetime,
  neverStale,
  unstoredFreshness,
  windowsOf,
} from './freshness.js'
import { fieldBytes, firstField, hasField, joinedField, keepFields, listMembers } from './header-list.js'
import { formatHttpDate, parseHttpDate } from './http-date.js'
import { cacheGroups, fitsEntry, serializeGroups } from './invalidation.js'
import { type HttpPolicy, OWN_TARGET } from './options.js'
import { parseContentRange } from './range.js'
import { withBody } from './response.js'
import {
  Flag,
  type HeaderList,
  holdsForKey,
  type RefusalReason,
  type RequestHead,
  type RequestPlan,
  type ResponseHead,
  type Storable,
  type StoreDecision,
  type StoreFacts,
} from './types.js'
import { varyAddition, varyNames } from './vary.js'

/** Statuses that are cacheable without explicit freshness (RFC 9110 section 15.1). */
export const HEURISTIC_STATUSES: ReadonlySet<number> = new Set([
  200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501,
])

/**
 * Statuses stored with the handler's own explicit freshness in `app`: those, and redirects (RFC 9111 section 3). Also
 * those whose caching rules are followed here, which is what `must-understand` asks for (section 5.2.2.3).
 */
export const HANDLER_STATUSES: ReadonlySet<number> = new Set([
  200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501,
])

/** What a route stores that names no status. */
export const ROUTE_STATUSES: ReadonlySet<number> = new Set([200])

/** Failures that a stale response may stand in for (RFC 5861 section 4). */
export function isFailure(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504
}

/** What RFC 9111 section 4.4 calls a non-error response. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status < 400
}

/** Whether a shared cache may use the response for requests with Authorization (RFC 9111 section 3.5). */
export function allowsSharing(directives: ResponseDirectives): boolean {
  return directives.public || directives.mustRevalidate || directives.sMaxage !== undefined
}

const NAMES = ['set-cookie', 'set-cookie2']

/**
 * Cookie fields that are left out of the stored response: by the route, or by `no-cache="Set-Cookie"` (RFC 9111
 * section 7.3).
 */
export function strippedCookies(policy: HttpPolicy): readonly string[] {
  return policy.setCookie === 'strip' ? NAMES : []
}

/** A cookie is for one client: stored, it would be given to all of them. */
export function refusesCookies(headers: HeaderList, qualified: readonly string[], policy: HttpPolicy): boolean {
  if (policy.setCookie !== 'refuse') return false
  return NAMES.some((name) => hasField(headers, name) && !qualified.includes(name))
}

/**
 * Fields of one connection (RFC 9110 section 7.6.1) or one proxy (RFC 9111 section 3.1); `proxy-*` as a whole beside.
 */
const OF_THE_CONNECTION = ['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']

/** The status fields we write ourselves. A handler's Cache-Status tells of caches behind it and is kept. */
export const OWN_STATUS_FIELD = 'x-redis-cache'

/** Content-Length follows from the body; whoever sends it writes it. */
const NEVER_STORED = new Set([...OF_THE_CONNECTION, OWN_STATUS_FIELD, OWN_TARGET, 'content-length'])

/** Whether a field is never stored, whatever the response says. `name` in lower case. */
export function isNeverStored(name: string): boolean {
  return NEVER_STORED.has(name) || name.startsWith('proxy-')
}

/** The fields to store; order and repetition are kept. `without`: more lower-case names to leave out. */
export function storableFields(headers: HeaderList, without: readonly string[] = []): HeaderList {
  const named = listMembers(joinedField(headers, 'connection'))
  return keepFields(headers, (name) => !isNeverStored(name) && !named.includes(name) && !without.includes(name))
}

/**
 * Field names that `private="f"` and `no-cache="f"` keep out of a shared store (RFC 9111 sections 5.2.2.4 and
 * 5.2.2.7).
 */
export function qualifiedFields(directives: ResponseDirectives, policy: HttpPolicy): readonly string[] {
  return policy.personal ? directives.noCacheFields : [...directives.noCacheFields, ...directives.privateFields]
}

type Refusal = RefusalReason | undefined

/** What the run itself says, before any rule of the response. */
export function runRefusal(
  request: RequestHead,
  plan: RequestPlan,
  response: ResponseHead,
  rules: Governing,
  facts: StoreFacts,
  now: number,
): Refusal {
  if (facts.truncated === true) return 'truncated'
  if (plan.stores === 'write' && response.status !== 200 && response.status !== 201) return 'status'
  if (plan.stores === 'post' && !standsForGet(request, response, rules, now)) return 'content-location'
  return undefined
}

/** RFC 9110 section 9.3.3: a POST with its own URI as Content-Location and explicit freshness. */
function standsForGet(request: RequestHead, response: ResponseHead, rules: Governing, now: number): boolean {
  const location = firstField(response.headers, 'content-location')
  if (response.status !== 200 || location === undefined || request.target === undefined) return false
  const base = 'http://origin.invalid'
  if (!URL.canParse(location, base + request.target)) return false
  const same = new URL(location, base + request.target).href === new URL(request.target, base).href
  return same && explicitLifetime(response, rules, now) !== undefined
}

/** Statuses that are never stored, whatever route or response say (RFC 9111 section 3). */
export function statusRefusal(response: ResponseHead, rules: Governing, policy: HttpPolicy): Refusal {
  const { status } = response
  if (status < 200 || status === 304) return 'status'
  if (rules.directives.mustUnderstand && !HANDLER_STATUSES.has(status)) return 'status'
  if (status !== 206) return undefined
  const part = parseContentRange(firstField(response.headers, 'content-range'))
  return policy.partial && part !== undefined ? undefined : 'partial'
}

export interface ProhibitionInput {
  readonly plan: RequestPlan
  readonly response: ResponseHead
  readonly rules: Governing
  readonly qualified: readonly string[]
  readonly facts: StoreFacts
}

/** What forbids to store, in a route-governed response as well (RFC 9111 sections 3, 3.5, 5.2.2). */
export function prohibition(input: ProhibitionInput, policy: HttpPolicy): Refusal {
  const { directives } = input.rules
  const { headers } = input.response
  // With must-understand, no-store is for caches that do not (section 5.2.2.3).
  if (directives.noStore && !directives.mustUnderstand) return 'response-no-store'
  if (directives.private && !policy.personal) return 'response-private'
  if (refusesCookies(headers, input.qualified, policy)) return 'set-cookie'
  if (input.plan.authorized && !allowsSharing(directives)) return 'authorization'
  if (readsUnkeyed(input, policy)) return 'unkeyed-read'
  if (directives.noCache && !canValidate(input, policy)) return 'response-no-cache'
  return selectionRefusal(input, policy)
}

/** Who looks at Authorization and then says that the response may be shared has answered for it (section 3.5). */
function readsUnkeyed({ facts, rules }: ProhibitionInput, policy: HttpPolicy): boolean {
  if (facts.unkeyedRead === undefined || policy.unkeyedReads === 'ignore') return false
  return !(facts.unkeyedRead === 'authorization' && allowsSharing(rules.directives))
}

function canValidate({ response, qualified }: ProhibitionInput, policy: HttpPolicy): boolean {
  return (
    policy.revalidate &&
    ['etag', 'last-modified'].some((name) => hasField(response.headers, name) && !qualified.includes(name))
  )
}

function selectionRefusal({ response }: ProhibitionInput, policy: HttpPolicy): Refusal {
  const names = varyNames(response.headers, policy)
  if (names === '*') return 'vary-star'
  if (policy.encoded === 'vary' && isEncoded(response) && !names.includes('accept-encoding')) return 'content-encoding'
  return fitsEntry(cacheGroups(response.headers)) ? undefined : 'too-many-groups'
}

function isEncoded({ headers }: ResponseHead): boolean {
  return listMembers(joinedField(headers, 'content-encoding')).some((coding) => coding !== 'identity')
}

/** Bounds, and what can be of no use. */
export function sizeRefusal(
  response: ResponseHead,
  draft: Storable,
  body: Buffer | undefined,
  policy: HttpPolicy,
): Refusal {
  if (draft.physicalTtlMs !== undefined && draft.physicalTtlMs <= 0) return 'already-stale'
  if (fieldBytes(draft.storedHeaders) > policy.maxHeaderBytes) return 'headers-too-large'
  const announced = parseDeltaSeconds(firstField(response.headers, 'content-length')?.trim() ?? '')
  if ((announced ?? 0) > policy.maxBodyBytes) return 'body-too-large'
  // RFC 9111 section 3.3: an incomplete response is not stored as if it were complete.
  return body !== undefined && announced !== undefined && announced !== body.length ? 'truncated' : undefined
}

const NO_FACTS: StoreFacts = Object.freeze({})

/**
 * Whether and how the response of a handler run is stored (RFC 9111 section 3). The one predicate for who stores and
 * for who tells other caches. Without a body in `facts` the decision is about the head; `withBody` completes it.
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
  const rules = governing(response, policy)
  const entry = entryOf(plan, response)
  const early =
    plan.refusal ?? runRefusal(request, plan, response, rules, facts, now) ?? statusRefusal(entry, rules, policy)
  if (early !== undefined) return refuse(early)
  const lifetime = chooseLifetime(entry, rules, policy, now)
  if (lifetime === 'status') return refuse(lifetime)
  const qualified = qualifiedFields(rules.directives, policy)
  const forbidden = prohibition({ plan, response: entry, rules, qualified, facts }, policy)
  if (forbidden !== undefined) return refuse(forbidden)
  if (lifetime === 'no-freshness') return refuse(lifetime)
  const draft = draftOf({ plan, entry, rules, lifetime, qualified, facts, now, requestedAt }, policy)
  const tooLarge = sizeRefusal(response, draft, facts.body, policy)
  if (tooLarge !== undefined) return refuse(tooLarge)
  return facts.body === undefined ? draft : withBody(draft, facts.body, policy)
}

function refuse(reason: RefusalReason): StoreDecision {
  return { store: false, reason, forKey: holdsForKey(reason) }
}

/**
 * The GET response that a write-through stands for: its status and the place of what it made say nothing to a reader.
 */
function entryOf(plan: RequestPlan, response: ResponseHead): ResponseHead {
  if (plan.stores !== 'write') return response
  return {
    status: response.status === 201 ? 200 : response.status,
    headers: storableFields(response.headers, ['location']),
  }
}

interface Draft {
  readonly plan: RequestPlan
  readonly entry: ResponseHead
  readonly rules: Governing
  readonly lifetime: Lifetime
  readonly qualified: readonly string[]
  readonly facts: StoreFacts
  readonly now: number
  readonly requestedAt: number
}

function draftOf(draft: Draft, policy: HttpPolicy): Storable {
  const { entry, rules, lifetime, qualified, facts, now, requestedAt } = draft
  const usesAge =
    lifetime.by === 'handler' ? policy.freshnessHeaders !== 'countdown' : policy.freshnessHeaders === 'age'
  const addedHeaders = addedFields(entry.headers, usesAge, facts, policy, now)
  const without = [
    ...unstoredFreshness(usesAge && !addedHeaders.includes('Date')),
    ...qualified,
    ...strippedCookies(policy),
  ]
  const storedHeaders = [...storableFields(entry.headers, without), ...addedHeaders]
  const initialAgeMs = lifetime.by === 'handler' ? initialAge(entry.headers, requestedAt, now) : 0
  const revalidates = policy.revalidate && hasValidators(storedHeaders)
  const random = facts.random ?? (policy.jitter > 0 ? Math.random() : 0)
  const { flags, ...lifetimes } = windowsOf(
    { lifetime, initialAgeMs, governing: rules, revalidates, now, random },
    policy,
  )
  const until = Math.max(lifetimes.freshUntil, lifetimes.staleUntil, lifetimes.errorUntil)
  return {
    store: true,
    status: entry.status,
    lifetimes,
    flags: flagsOf(entry, rules, lifetime, usesAge, storedHeaders, policy) | flags,
    initialAgeMs,
    physicalTtlMs: until === Infinity ? undefined : until - now,
    storedHeaders,
    addedHeaders,
    groups: cacheGroups(entry.headers),
    varyNames: namesOf(entry.headers, policy),
  }
}

function namesOf(headers: HeaderList, policy: HttpPolicy): readonly string[] {
  const names = varyNames(headers, policy)
  return names === '*' ? [] : names
}

/** Fields of ours that a miss and its hits send alike. */
function addedFields(
  headers: HeaderList,
  usesAge: boolean,
  facts: StoreFacts,
  policy: HttpPolicy,
  now: number,
): HeaderList {
  const added: string[] = []
  // RFC 9110 section 6.6.1: whoever keeps a response without a Date gives it one.
  if (usesAge && parseHttpDate(firstField(headers, 'date'), now) === undefined) added.push('Date', formatHttpDate(now))
  added.push(...varyAddition(headers, policy))
  const groups = policy.emitCacheGroups && facts.groups !== undefined ? serializeGroups(facts.groups) : ''
  if (groups !== '') added.push('Cache-Groups', groups)
  return added
}

function hasValidators(headers: HeaderList): boolean {
  return hasField(headers, 'etag') || hasField(headers, 'last-modified')
}

function flagsOf(
  entry: ResponseHead,
  { directives }: Governing,
  lifetime: Lifetime,
  usesAge: boolean,
  storedHeaders: HeaderList,
  policy: HttpPolicy,
): number {
  return (
    (lifetime.by === 'route' ? Flag.routeGoverned : 0) |
    (usesAge ? Flag.age : 0) |
    (neverStale(directives, policy) ? Flag.noStale : 0) |
    (directives.noCache ? Flag.validate : 0) |
    (allowsSharing(directives) ? Flag.sharedAuth : 0) |
    (directives.immutable ? Flag.immutable : 0) |
    (hasField(entry.headers, 'cache-control') ? Flag.ownCacheControl : 0) |
    (hasValidators(storedHeaders) ? Flag.validators : 0) |
    (entry.status === 206 ? Flag.partial : 0) |
    (policy.private ? Flag.personal : 0)
  )
}
