import { initialAge } from './age.js'
import { allowsSharing } from './authorization.js'
import { cacheGroups, serializeGroups } from './cache-groups.js'
import type {
  HeaderList,
  RequestHead,
  RequestPlan,
  ResponseHead,
  Storable,
  StoreDecision,
  StoreFacts,
} from './contract.js'
import { Flag } from './flag.js'
import { unstoredFreshness } from './freshness-fields.js'
import { type Governing, governing } from './governing.js'
import { firstField, hasField } from './header-list.js'
import { formatHttpDate, parseHttpDate } from './http-date.js'
import type { HttpPolicy } from './http-policy.js'
import { chooseLifetime, type Lifetime } from './lifetime.js'
import { prohibition, runRefusal, sizeRefusal, statusRefusal } from './refusal.js'
import { holdsForKey, type RefusalReason } from './reasons.js'
import { neverStale, windowsOf } from './stale-window.js'
import { qualifiedFields, storableFields } from './stored-fields.js'
import { strippedCookies } from './set-cookie.js'
import { varyAddition, varyNames } from './vary.js'
import { withBody } from './stored-body.js'

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
