import {
  MAX_SECONDS,
  NO_RESPONSE_DIRECTIVES,
  parseDeltaSeconds,
  parseResponseDirectives,
  type ResponseDirectives,
  targetedDirectives,
} from './cache-control.js'
import { firstField, isField, joinedField } from './header-list.js'
import { parseHttpDate } from './http-date.js'
import type { HttpPolicy } from './options.js'
import { HANDLER_STATUSES, HEURISTIC_STATUSES, ROUTE_STATUSES } from './storage.js'
import { Flag, hasFlag, type HeaderList, type Lifetimes, type ResponseHead, type StoredResponse } from './types.js'

/** Age in milliseconds; the first member counts, and an invalid one is ignored (RFC 9111 section 5.1). */
export function parseAge(value: string | undefined): number {
  if (value === undefined) return 0
  const comma = value.indexOf(',')
  const first = (comma === -1 ? value : value.slice(0, comma)).trim()
  return (parseDeltaSeconds(first) ?? 0) * 1000
}

/** corrected_initial_age of RFC 9111 section 4.2.3: the time the handler took counts. */
export function initialAge(headers: HeaderList, requestedAt: number, receivedAt: number): number {
  const date = parseHttpDate(firstField(headers, 'date'), receivedAt) ?? receivedAt
  const apparent = Math.max(0, receivedAt - date)
  const delay = Math.max(0, receivedAt - requestedAt)
  return Math.max(apparent, parseAge(firstField(headers, 'age')) + delay)
}

interface Aged {
  readonly storedAt: number
  readonly initialAgeMs: number
}

/** current_age of RFC 9111 section 4.2.3, in milliseconds. */
export function currentAge(stored: Aged, now: number): number {
  return stored.initialAgeMs + Math.max(0, now - stored.storedAt)
}

/** How long a response is fresh, and by whose word. */
export interface Lifetime {
  readonly ms: number
  /** `route`: counted from when it is stored. `handler`: from when the response was made (RFC 9111 section 4.2). */
  readonly by: 'route' | 'handler'
}

/** Why there is none. */
export type NoLifetime = 'status' | 'no-freshness'

/**
 * The order of lifetimes: `override`, the own targeted field, the route's `ttl`, `s-maxage`, `max-age`, `Expires` less
 * `Date` (RFC 9111 section 4.2.1), the heuristic (4.2.2), the default.
 */
export function chooseLifetime(
  response: ResponseHead,
  governing: Governing,
  policy: HttpPolicy,
  now: number,
): Lifetime | NoLifetime {
  if (policy.ttlMs !== undefined) return routeLifetime(response.status, governing, policy)
  const explicit = explicitLifetime(response, governing, now)
  if (explicit !== undefined) return allowed(policy.statuses ?? HANDLER_STATUSES, response.status, explicit, 'handler')
  const heuristic = heuristicLifetime(response, governing, policy, now)
  if (heuristic !== undefined) return allowed(policy.statuses ?? 'any', response.status, heuristic, 'handler')
  if (policy.defaultTtlMs !== undefined)
    return allowed(policy.statuses ?? ROUTE_STATUSES, response.status, policy.defaultTtlMs, 'route')
  // Nothing but a validation ever uses it, so it needs no lifetime.
  if (governing.directives.noCache) return allowed(policy.statuses ?? HANDLER_STATUSES, response.status, 0, 'handler')
  return 'no-freshness'
}

function routeLifetime(status: number, governing: Governing, policy: HttpPolicy): Lifetime | NoLifetime {
  const ttlMs = typeof policy.ttlMs === 'number' ? policy.ttlMs : policy.ttlMs?.get(status)
  if (ttlMs === undefined) return 'status'
  const own = governing.targeted && policy.override === undefined ? deltaOf(governing) : undefined
  const statuses = typeof policy.ttlMs === 'number' ? (policy.statuses ?? ROUTE_STATUSES) : 'any'
  return allowed(statuses, status, own ?? ttlMs, 'route')
}

function allowed(
  statuses: ReadonlySet<number> | 'any',
  status: number,
  ms: number,
  by: Lifetime['by'],
): Lifetime | NoLifetime {
  return statuses === 'any' || statuses.has(status) || status === 206 ? { ms, by } : 'status'
}

function deltaOf({ directives }: Governing): number | undefined {
  const seconds = directives.sMaxage ?? directives.maxAge
  return seconds === undefined ? undefined : seconds * 1000
}

/**
 * freshness_lifetime of RFC 9111 section 4.2.1, without the heuristic; Expires does not count beside max-age (section
 * 5.3).
 */
export function explicitLifetime(response: ResponseHead, governing: Governing, now: number): number | undefined {
  const delta = deltaOf(governing)
  if (delta !== undefined || governing.expires === undefined) return delta
  const expires = parseHttpDate(governing.expires, now)
  return expires === undefined ? 0 : Math.max(0, expires - dateOf(response, now))
}

function dateOf(response: ResponseHead, now: number): number {
  return parseHttpDate(firstField(response.headers, 'date'), now) ?? now
}

/** A fraction of the time since the last change, for statuses that allow it (RFC 9111 section 4.2.2). */
function heuristicLifetime(
  response: ResponseHead,
  { directives }: Governing,
  policy: HttpPolicy,
  now: number,
): number | undefined {
  if (policy.heuristic === 0 || directives.noCache) return undefined
  if (!HEURISTIC_STATUSES.has(response.status) && !directives.public) return undefined
  const modified = parseHttpDate(firstField(response.headers, 'last-modified'), now)
  return modified === undefined ? undefined : Math.max(0, dateOf(response, now) - modified) * policy.heuristic
}

/** The directives that govern this cache, and the fields they came with. */
export interface Governing {
  readonly directives: ResponseDirectives
  /** From a targeted field: Cache-Control and Expires do not count (RFC 9213 section 2.2). */
  readonly targeted: boolean
  readonly expires: string | undefined
}

export function governing(response: ResponseHead, policy: HttpPolicy): Governing {
  const targeted = targetedDirectives(response.headers, policy.targets)
  const found = targeted ?? cacheControlOf(response)
  return {
    directives: policy.override === 'all' ? unbound(found) : found,
    targeted: targeted !== undefined,
    expires: targeted === undefined ? firstField(response.headers, 'expires') : undefined,
  }
}

export function cacheControlOf(response: ResponseHead): ResponseDirectives {
  const value = joinedField(response.headers, 'cache-control')
  return value === undefined ? NO_RESPONSE_DIRECTIVES : parseResponseDirectives(value)
}

/** `override: 'all'`: the route's author answers for what the handler forbids. Field names stay forbidden. */
function unbound(directives: ResponseDirectives): ResponseDirectives {
  return {
    ...directives,
    noStore: false,
    private: false,
    noCache: false,
    mustRevalidate: false,
    proxyRevalidate: false,
    mustUnderstand: false,
  }
}

/** Whether a response is never served stale, whatever route or client say (RFC 9111 section 4.2.4). */
export function neverStale(directives: ResponseDirectives, policy: HttpPolicy): boolean {
  if (policy.override === 'all') return false
  return directives.mustRevalidate || directives.proxyRevalidate || directives.sMaxage !== undefined
}

export interface WindowInput {
  readonly lifetime: Lifetime
  readonly initialAgeMs: number
  readonly governing: Governing
  /** The handler can be asked whether it is still valid. */
  readonly revalidates: boolean
  readonly now: number
  /** Draw for jitter, 0 to 1. */
  readonly random: number
}

/** The instants of an entry, and the flags that say what its last one means. */
export function windowsOf(input: WindowInput, policy: HttpPolicy): Lifetimes & { readonly flags: number } {
  const { lifetime, governing, now } = input
  const { directives } = governing
  const keepsStale = !neverStale(directives, policy) && !directives.noCache
  const freshUntil = freshEnd(input, policy)
  const swrMs = keepsStale ? windowMs(directives.staleWhileRevalidate, lifetime, governing, policy.swrMs) : 0
  const sieMs = keepsStale ? errorWindowMs(input, policy) : 0
  const retainMs = keepsStale || input.revalidates ? policy.retainMs : 0
  // One instant cannot tell two ends: where the window's own end could not be found again, it is kept and counts.
  const lost = governing.targeted && sieMs > 0
  const retained = retainMs > sieMs && !lost
  const flags = retained ? Flag.retained | (sieMs === 0 ? Flag.noErrorWindow : 0) : 0
  return {
    storedAt: now,
    freshUntil,
    staleUntil: freshUntil + swrMs,
    errorUntil: freshUntil + (retained ? retainMs : sieMs),
    flags,
  }
}

function freshEnd({ lifetime, initialAgeMs, now, random }: WindowInput, policy: HttpPolicy): number {
  if (lifetime.by === 'handler') return now + lifetime.ms - initialAgeMs
  return lifetime.ms === Infinity ? Infinity : now + Math.floor(lifetime.ms * (1 - policy.jitter * random))
}

/** The directive where the handler's word counts, otherwise the route's option (RFC 5861). */
function windowMs(seconds: number | undefined, lifetime: Lifetime, { targeted }: Governing, optionMs: number): number {
  return seconds !== undefined && (lifetime.by === 'handler' || targeted) ? seconds * 1000 : optionMs
}

/** `staleOnError` is for those that name no window themselves. */
function errorWindowMs({ lifetime, governing }: WindowInput, policy: HttpPolicy): number {
  const optionMs = policy.staleOnError ? Math.max(policy.sieMs, policy.retainMs) : policy.sieMs
  return windowMs(governing.directives.staleIfError, lifetime, governing, optionMs)
}

/** Until when a stored response may stand in for a failure. */
export function errorWindowEnd(stored: StoredResponse, policy: HttpPolicy): number {
  if (!hasFlag(stored.flags, Flag.retained)) return stored.errorUntil
  if (hasFlag(stored.flags, Flag.noErrorWindow)) return stored.freshUntil
  const directive = hasFlag(stored.flags, Flag.routeGoverned) ? undefined : cacheControlOf(stored).staleIfError
  const ms = directive === undefined ? policy.sieMs : directive * 1000
  return Math.min(stored.errorUntil, stored.freshUntil + ms)
}

/**
 * The generated Cache-Control: what is left of the lifetime, rounded down; `no-cache` where there is no end to count
 * to.
 */
export function generatedCacheControl(freshUntil: number, now: number, personal: boolean): string {
  const seconds = Math.max(0, Math.min(Math.floor((freshUntil - now) / 1000), MAX_SECONDS))
  const lifetime = freshUntil === Infinity ? 'no-cache' : `max-age=${seconds}`
  return personal ? `private, ${lifetime}` : lifetime
}

/**
 * The fields of a hit that tell its age, one way or the other and never both, or the age would count twice: a stored
 * Date with Age (RFC 9111 section 5.1), or a fresh Date with a lifetime that counts down (RFC 9111 section 6).
 */
export function withFreshness(stored: StoredResponse, now: number, validated: boolean): string[] {
  const { flags } = stored
  const counts = !hasFlag(flags, Flag.age)
  const headers = rewrites(flags) ? countDown(stored, now) : stored.headers.slice()
  if (hasFlag(flags, Flag.routeGoverned) && !hasFlag(flags, Flag.ownCacheControl)) {
    headers.push(
      'Cache-Control',
      generatedCacheControl(stored.freshUntil, counts ? now : stored.storedAt, hasFlag(flags, Flag.personal)),
    )
  }
  if (!counts && !validated) headers.push('Age', String(ageSeconds(stored, now)))
  return headers
}

export function ageSeconds(stored: StoredResponse, now: number): number {
  return Math.min(Math.floor(currentAge(stored, now) / 1000), MAX_SECONDS)
}

/** The handler's lifetime without an Age: its own numbers have to shrink. */
function rewrites(flags: number): boolean {
  return (flags & (Flag.age | Flag.routeGoverned)) === 0 && hasFlag(flags, Flag.ownCacheControl)
}

const LIFETIME = /\b(max-age|s-maxage)="?(\d{1,15})"?/gi

function countDown(stored: StoredResponse, now: number): string[] {
  const age = ageSeconds(stored, now)
  return stored.headers.map((text, index, headers) => {
    if (index % 2 === 0 || !isField(headers[index - 1] as string, 'cache-control')) return text
    return text.replace(LIFETIME, (_, name: string, seconds: string) => `${name}=${Math.max(0, Number(seconds) - age)}`)
  })
}

/** Fields a hit does not take from the store. */
export function unstoredFreshness(usesAge: boolean): HeaderList {
  return usesAge ? ['age'] : ['age', 'date']
}
