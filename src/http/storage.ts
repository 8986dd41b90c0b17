import { hash } from 'node:crypto'
import type { ResponseDirectives } from './cache-control.js'
import {
  appendMembers,
  contentRangeOf,
  dateOf,
  fieldBytes,
  firstField,
  formatHttpDate,
  hasField,
  type HeaderList,
  joinedField,
  keepFields,
  listMembers,
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
import { fitsEntry, groupList, serializeGroups } from './invalidation.js'
import type { HttpPolicy } from './options.js'
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
} from './types.js'
import { varyNames, withVary } from './vary.js'

/** Failures that a stale response may replace (RFC 5861 section 4). */
export function isFailure(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504
}

/** A handler run, and what is known about it in addition to its response. */
export interface RunContext {
  readonly request: RequestHead
  readonly plan: RequestPlan
  readonly policy: HttpPolicy
  /** When the response was received. */
  readonly now: number
  readonly requestedAt: number
  /** The whole body. Left out while it is not known; then `withBody` completes the decision. */
  readonly body?: Buffer | undefined
  /**
   * What the handler read of cookies and credentials that are not part of the key: names as logs show them, with the
   * request field (lower case) behind each; undefined where it may be any.
   */
  readonly unkeyedReads?: ReadonlyMap<string, string | undefined> | undefined
  /** Somebody else was asking when the handler had answered than at the lookup: the response is not the entry's owner's. */
  readonly hasOtherOwner?: boolean | undefined
  /**
   * Lower-case names of fields that were set before the handler ran, such as a request id: never stored. And
   * `LATE_CACHE_CONTROL` and `LATE_COOKIE`.
   */
  readonly ambient?: ReadonlySet<string> | undefined
  /** Groups of the route, for `emitCacheGroups`. */
  readonly routeGroups?: readonly string[] | undefined
  /** Draw for `jitter`, 0 to 1. Default: random. */
  readonly random?: number | undefined
}

/** Among the names of ambient fields: Cache-Control was set for all responses, by a hook after the handler. */
export const LATE_CACHE_CONTROL = ':late-cache-control'

/** Among the names of ambient fields: the handler sets a cookie, and its field is set by a hook after the decision. */
export const LATE_COOKIE = ':late-cookie'

/** A run to decide about. */
interface Run extends RunContext, EffectiveDirectives {
  readonly response: ResponseHead
  /** The response that would be stored: that of a GET. */
  readonly entry: ResponseHead
  /** Field names that `private="f"` and `no-cache="f"` keep out of the store (RFC 9111 sections 5.2.2.4, 5.2.2.7). */
  readonly qualified: readonly string[]
  readonly lifetime: Lifetime | 'status' | 'no-freshness'
  readonly varyNames: readonly string[] | '*'
  /** Groups that the response is in. */
  readonly groups: readonly string[]
}

/**
 * Whether and how the response of a handler run is stored (RFC 9111 section 3). The same decision stores the response
 * and announces its lifetime to other caches. Without a body it is about the head; `withBody` completes it.
 */
export function decideStore(response: ResponseHead, context: RunContext): StoreDecision {
  const { plan, policy, body, now } = context
  if (plan.refusal !== undefined) return refuse(plan.refusal)
  const effective = effectiveDirectives(response, policy)
  const { noCacheFields, privateFields } = effective.directives
  const entry = entryOf(response, context)
  // Field by field: spreads of several shapes cost more than the rules.
  const run: Run = {
    request: context.request,
    plan,
    policy,
    now,
    requestedAt: context.requestedAt,
    body,
    unkeyedReads: context.unkeyedReads,
    hasOtherOwner: context.hasOtherOwner,
    ambient: context.ambient,
    routeGroups: context.routeGroups,
    random: context.random,
    directives: effective.directives,
    targeted: effective.targeted,
    expires: effective.expires,
    response,
    entry,
    qualified: policy.personal ? noCacheFields : [...noCacheFields, ...privateFields],
    lifetime: chooseLifetime(entry, effective, policy, now),
    varyNames: varyNames(entry.headers, policy),
    groups: groupList(entry.headers, 'cache-groups'),
  }
  for (const rule of REFUSALS) if (rule[1](run)) return refuse(rule[0])
  if (typeof run.lifetime === 'string') return refuse(run.lifetime)
  const draft = draftOf(run, run.lifetime)
  const { freshUntil, staleUntil, errorUntil } = draft.entry
  // Limits, and entries that could never be used.
  if (Math.max(freshUntil, staleUntil, errorUntil) <= now) return refuse('already-stale')
  if (fieldBytes(draft.entry.headers) > policy.maxHeaderBytes) return refuse('headers-too-large')
  if ((declaredLength(response) ?? 0) > policy.maxBodyBytes) return refuse('body-too-large')
  if (body === undefined) return draft
  if (isTruncated(response, body)) return refuse('truncated')
  if (policy.unkeyedReads !== 'ignore' && hasNonce(response, body)) return refuse('nonce')
  return withBody(draft, body, policy)
}

/** A write-through's response as that of a GET: its own status and Location mean nothing to a reader. */
function entryOf({ status, headers }: ResponseHead, { plan, ambient }: RunContext): ResponseHead {
  const own = ambient === undefined || ambient.size === 0 ? headers : keepFields(headers, (name) => !ambient.has(name))
  if (plan.stores !== 'write') return { status, headers: own }
  return { status: status === 201 ? 200 : status, headers: storableFields(own, ['location']) }
}

const COOKIES = ['set-cookie', 'set-cookie2']

const VALIDATORS = ['etag', 'last-modified']

/** The first that applies is the reason. Prohibitions bind where the route sets the lifetime, too. */
const REFUSALS: readonly (readonly [RefusalReason, (run: Run) => boolean])[] = [
  ['status', ({ plan, response: { status } }) => plan.stores === 'write' && status !== 200 && status !== 201],
  ['content-location', (run) => run.plan.stores === 'post' && !standsForGet(run)],
  ['status', ({ entry: { status } }) => status < 200 || status === 304],
  ['status', ({ entry: { status }, directives }) => directives.mustUnderstand && !HANDLER_STATUSES.has(status)],
  // A 416 answers one client's Range; requests without it must not get it.
  ['partial', ({ entry: { status } }) => status === 416],
  ['partial', ({ entry, policy }) => entry.status === 206 && !(policy.partial && contentRangeOf(entry.headers))],
  ['status', ({ lifetime }) => lifetime === 'status'],
  // With must-understand, no-store is for caches that do not understand the status (RFC 9111 section 5.2.2.3).
  ['response-no-store', ({ directives }) => directives.noStore && !directives.mustUnderstand],
  ['response-private', ({ directives, policy }) => directives.private && !policy.personal],
  // A stored cookie would be sent to all clients.
  [
    'set-cookie',
    (run) => run.policy.setCookie === 'refuse' && (storesOneOf(COOKIES, run) || run.ambient?.has(LATE_COOKIE) === true),
  ],
  ['authorization', ({ plan, directives }) => plan.authorized && !allowsSharing(directives)],
  ['principal', ({ hasOtherOwner }) => hasOtherOwner === true],
  ['unkeyed-read', (run) => run.policy.unkeyedReads !== 'ignore' && readsUnkeyed(run)],
  ['reflected-origin', (run) => run.policy.unkeyedReads !== 'ignore' && reflectsOrigin(run)],
  ['response-no-cache', (run) => run.directives.noCache && !(run.policy.revalidate && storesOneOf(VALIDATORS, run))],
  ['vary-star', (run) => run.varyNames === '*'],
  [
    'content-encoding',
    (run) => run.policy.encoded === 'vary' && isEncoded(run.entry) && !run.varyNames.includes('accept-encoding'),
  ],
  ['event-stream', ({ entry }) => /^text\/event-stream/i.test(firstField(entry.headers, 'content-type') ?? '')],
  ['too-many-groups', ({ groups }) => !fitsEntry(groups)],
]

const NO_ORIGIN = 'http://origin.invalid'

/** RFC 9110 section 9.3.3: a POST with its own URI as Content-Location and explicit freshness. */
function standsForGet(run: Run): boolean {
  const { target } = run.request
  const { response } = run
  const location = firstField(response.headers, 'content-location')
  if (response.status !== 200 || location === undefined || target === undefined) return false
  if (!URL.canParse(location, NO_ORIGIN + target)) return false
  const same = new URL(location, NO_ORIGIN + target).href === new URL(target, NO_ORIGIN).href
  return same && explicitLifetime(response, run, run.now) !== undefined
}

/** Whether a shared cache may store the response to a request with Authorization (RFC 9111 section 3.5). */
function allowsSharing(directives: ResponseDirectives): boolean {
  return directives.public || directives.mustRevalidate || directives.sMaxage !== undefined
}

/**
 * A handler that reads Authorization and then says `public` has taken it into account (RFC 9111 section 3.5), unless that
 * was set for all responses before or after it ran. `s-maxage` and `must-revalidate` say how long a response is kept and
 * not who may have it. One that names the field in its own Vary has, too: the response is stored for that value alone.
 */
function readsUnkeyed({ unkeyedReads, directives, varyNames: names, ambient }: Run): boolean {
  if (unkeyedReads === undefined || unkeyedReads.size === 0) return false
  const isOwn = ambient?.has('cache-control') !== true && ambient?.has(LATE_CACHE_CONTROL) !== true
  const allows = isOwn && directives.public
  return [...unkeyedReads.values()].some((field) => {
    if (field === undefined) return true
    return !(field === 'authorization' && allows) && !names.includes(field)
  })
}

function storesOneOf(names: readonly string[], { entry, qualified }: Run): boolean {
  return names.some((name) => hasField(entry.headers, name) && !qualified.includes(name))
}

function isEncoded({ headers }: ResponseHead): boolean {
  return listMembers(joinedField(headers, 'content-encoding')).some((coding) => coding !== 'identity')
}

/** Whether a body is not the one that its head declared: it is not stored as if it were complete (RFC 9111 section 3.3). */
export function isTruncated(response: ResponseHead, body: Buffer): boolean {
  const declared = declaredLength(response)
  return declared !== undefined && declared !== body.length
}

/** Fields with a value of one response alone, which its body repeats. */
const NONCE_FIELDS = ['content-security-policy', 'content-security-policy-report-only', 'x-csrf-token', 'x-xsrf-token']

/** The answer to a request of one web page, which others may not read. */
function reflectsOrigin({ entry, request, varyNames: names }: Run): boolean {
  const allowed = firstField(entry.headers, 'access-control-allow-origin')
  return allowed !== undefined && allowed !== '*' && allowed === request.header('origin') && !names.includes('origin')
}

/** Whether a body contains a nonce or a token of its own head: another answer has another one, or all would share it. */
export function hasNonce({ headers }: ResponseHead, body: Buffer): boolean {
  return NONCE_FIELDS.some((name) => {
    const value = joinedField(headers, name)
    if (value === undefined) return false
    const nonces = name.startsWith('content-')
      ? Array.from(value.matchAll(/'nonce-([^']+)'/g), ([, nonce]) => nonce)
      : [value]
    return nonces.some((nonce) => nonce !== undefined && nonce !== '' && body.includes(nonce))
  })
}

/** The length that the head of a response says its body has. */
export function declaredLength({ headers }: ResponseHead): number | undefined {
  return parseDeltaSeconds(firstField(headers, 'content-length')?.trim())
}

/** Fields of one connection (RFC 9110 section 7.6.1) or one proxy (RFC 9111 section 3.1); `proxy-*` as a whole below. */
const CONNECTION_FIELDS = ['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']

/** Each response has its own of a client's budget (draft-ietf-httpapi-ratelimit-headers). */
const LIMIT_FIELDS = [
  'ratelimit',
  'ratelimit-policy',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
]

const NEVER_STORED = new Set([...CONNECTION_FIELDS, ...LIMIT_FIELDS, OWN_STATUS_FIELD, OWN_TARGET, 'content-length'])

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
  const varied = withVary(headers, policy.vary)
  const grouped = addedGroups === '' ? varied : appendMembers(varied, 'Cache-Groups', addedGroups)
  return addedHeaders.length === 0 ? grouped : [...grouped, ...addedHeaders]
}

function draftOf(run: Run, lifetime: Lifetime): Storable {
  const { entry, directives, policy, routeGroups, now } = run
  const { headers } = entry
  const byHandler = lifetime.by === 'handler'
  const usesAge = byHandler ? policy.freshnessHeaders !== 'countdown' : policy.freshnessHeaders === 'age'
  // RFC 9110 section 6.6.1: a cache adds a Date to a response without one.
  const dated = usesAge && dateOf(headers, now) === undefined
  const added = {
    addedHeaders: dated ? ['Date', formatHttpDate(now)] : [],
    addedGroups: policy.emitCacheGroups && routeGroups !== undefined ? serializeGroups(routeGroups) : '',
  }
  const cookies = policy.setCookie === 'strip' ? COOKIES : []
  const without = ['age', ...(usesAge && !dated ? [] : ['date']), ...run.qualified, ...cookies]
  const storedHeaders = withOwnFields(storableFields(headers, without), added, policy)
  const validators = VALIDATORS.some((name) => hasField(storedHeaders, name))
  const initialAgeMs = byHandler ? initialAge(headers, run.requestedAt, now) : 0
  const random = run.random ?? (policy.jitter > 0 ? Math.random() : 0)
  const known = { initialAgeMs, revalidates: policy.revalidate && validators, random, now }
  const windows = windowsOf(lifetime, run, policy, known)
  const flags =
    windows.flags |
    (byHandler ? 0 : Flag.routeGoverned) |
    (usesAge ? Flag.age : 0) |
    (neverStale(directives, policy) ? Flag.noStale : 0) |
    (directives.noCache ? Flag.validate : 0) |
    (allowsSharing(directives) ? Flag.sharedAuth : 0) |
    (directives.immutable ? Flag.immutable : 0) |
    (hasField(headers, 'cache-control') ? Flag.ownCacheControl : 0) |
    (validators ? Flag.validators : 0) |
    (entry.status === 206 ? Flag.partial : 0) |
    (policy.private ? Flag.personal : 0)
  // Field by field, here and below: V8 takes a microsecond for each spread of so many.
  return {
    store: true,
    entry: {
      status: entry.status,
      headers: storedHeaders,
      storedAt: windows.storedAt,
      freshUntil: windows.freshUntil,
      staleUntil: windows.staleUntil,
      errorUntil: windows.errorUntil,
      flags,
      initialAgeMs,
    },
    addedHeaders: added.addedHeaders,
    addedGroups: added.addedGroups,
    groups: run.groups,
    varyNames: run.varyNames === '*' ? [] : run.varyNames,
  }
}

/** 132 bits: no two bodies share a validator by chance, and a collision cannot be constructed at a reasonable price. */
const DIGEST_CHARS = 22

/**
 * A weak validator made from the body. Weak, because a proxy or middleware that compresses the answer keeps the
 * field (RFC 9110 section 8.8.1).
 */
export function makeEtag(body: Buffer): string {
  return `W/"${hash('sha256', body, 'base64url').slice(0, DIGEST_CHARS)}"`
}

/**
 * Completes a decision that was made without the body: refuses what is too long, and makes the ETag of a 200 without one
 * (RFC 9110 section 8.8.3). Doing it twice changes nothing.
 */
export function withBody(decision: Storable, body: Buffer, policy: HttpPolicy): StoreDecision {
  const { entry } = decision
  if (body.length > policy.maxBodyBytes) return refuse('body-too-large')
  if (hasFlag(entry.flags, Flag.partial)) return fitted(decision, body.length)
  if (!policy.etag || entry.status !== 200 || hasField(entry.headers, 'etag')) return decision
  const etag = ['ETag', makeEtag(body)]
  return {
    store: true,
    entry: {
      status: entry.status,
      headers: [...entry.headers, ...etag],
      storedAt: entry.storedAt,
      freshUntil: entry.freshUntil,
      staleUntil: entry.staleUntil,
      errorUntil: entry.errorUntil,
      flags: entry.flags | Flag.generatedEtag,
      initialAgeMs: entry.initialAgeMs,
    },
    addedHeaders: [...decision.addedHeaders, ...etag],
    addedGroups: decision.addedGroups,
    groups: decision.groups,
    varyNames: decision.varyNames,
  }
}

/** A part is used by its Content-Range, so one whose length is another is not stored (RFC 9111 section 3.3). */
function fitted(decision: Storable, length: number): StoreDecision {
  const part = contentRangeOf(decision.entry.headers)
  return part !== undefined && part.last - part.first + 1 === length ? decision : refuse('partial')
}

/** The entry that a decision makes. */
export function toStored({ entry }: Storable, body: Buffer): StoredResponse {
  return {
    status: entry.status,
    headers: entry.headers,
    storedAt: entry.storedAt,
    freshUntil: entry.freshUntil,
    staleUntil: entry.staleUntil,
    errorUntil: entry.errorUntil,
    flags: entry.flags,
    initialAgeMs: entry.initialAgeMs,
    body,
    memo: undefined,
  }
}
