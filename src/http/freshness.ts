import { cacheControlOf, type ResponseDirectives, targetedDirectives } from './cache-control.js'
import {
  dateOf,
  firstField,
  type HeaderList,
  isField,
  MAX_SECONDS,
  parseDeltaSeconds,
  parseHttpDate,
} from './fields.js'
import type { HttpPolicy } from './options.js'
import { Flag, hasFlag, type Lifetimes, type ResponseHead, type StoredResponse } from './types.js'

/** Statuses that are cacheable without explicit freshness (RFC 9110 section 15.1). */
const HEURISTIC_STATUSES: ReadonlySet<number> = new Set([200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501])

/**
 * Statuses stored with the handler's own explicit freshness in `app`: those, and redirects (RFC 9111 section 3). Also
 * those whose caching rules are followed here, which `must-understand` requires (section 5.2.2.3).
 */
export const HANDLER_STATUSES: ReadonlySet<number> = new Set([
  200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501,
])

/** Statuses stored by a route that names none. */
const ROUTE_STATUSES: ReadonlySet<number> = new Set([200])

/** Age in milliseconds; the first member counts, and an invalid one is ignored (RFC 9111 section 5.1). */
export function parseAge(value: string | undefined): number {
  return (parseDeltaSeconds(value?.split(',', 1)[0]?.trim()) ?? 0) * 1000
}

/** corrected_initial_age of RFC 9111 section 4.2.3: the time the handler took counts. */
export function initialAge(headers: HeaderList, requestedAt: number, receivedAt: number): number {
  const apparent = Math.max(0, receivedAt - (dateOf(headers, receivedAt) ?? receivedAt))
  const delay = Math.max(0, receivedAt - requestedAt)
  return Math.max(apparent, parseAge(firstField(headers, 'age')) + delay)
}

/** current_age of RFC 9111 section 4.2.3, in milliseconds. */
export function currentAge(stored: Pick<StoredResponse, 'storedAt' | 'initialAgeMs'>, now: number): number {
  return stored.initialAgeMs + Math.max(0, now - stored.storedAt)
}

export function ageSeconds(stored: StoredResponse, now: number): number {
  return Math.min(Math.floor(currentAge(stored, now) / 1000), MAX_SECONDS)
}

/** The directives that this cache obeys. */
export interface EffectiveDirectives {
  readonly directives: ResponseDirectives
  /** From a targeted field: Cache-Control and Expires do not count (RFC 9213 section 2.2). */
  readonly targeted: boolean
  readonly expires: string | undefined
}

export function effectiveDirectives({ headers }: ResponseHead, policy: HttpPolicy): EffectiveDirectives {
  const targeted = targetedDirectives(headers, policy.targets)
  const directives = targeted ?? cacheControlOf(headers)
  return {
    directives: policy.override === 'all' ? { ...directives, ...OVERRIDDEN } : directives,
    targeted: targeted !== undefined,
    expires: targeted === undefined ? firstField(headers, 'expires') : undefined,
  }
}

/** `override: 'all'`: the route's author vouches for what the handler forbids. Field names stay forbidden. */
const OVERRIDDEN = {
  noStore: false,
  private: false,
  noCache: false,
  mustRevalidate: false,
  proxyRevalidate: false,
  mustUnderstand: false,
}

/** Whether a response is never served stale, even if the route or client allow it (RFC 9111 section 4.2.4). */
export function neverStale(directives: ResponseDirectives, policy: HttpPolicy): boolean {
  if (policy.override === 'all') return false
  return directives.mustRevalidate || directives.proxyRevalidate || directives.sMaxage !== undefined
}

/** How long a response is fresh. */
export interface Lifetime {
  readonly ms: number
  /** `route`: counted from when it is stored. `handler`: from when the response was made (RFC 9111 section 4.2). */
  readonly by: 'route' | 'handler'
}

/**
 * The order of lifetimes: `override`, the own targeted field, the route's `ttl`, `s-maxage`, `max-age`, `Expires` less
 * `Date` (RFC 9111 section 4.2.1), the heuristic (4.2.2), the default. A text is the reason why there is none.
 */
export function chooseLifetime(
  response: ResponseHead,
  effective: EffectiveDirectives,
  policy: HttpPolicy,
  now: number,
): Lifetime | 'status' | 'no-freshness' {
  const allowed = (statuses: ReadonlySet<number> | 'any', ms: number, by: Lifetime['by']): Lifetime | 'status' =>
    statuses === 'any' || statuses.has(response.status) || response.status === 206 ? { ms, by } : 'status'
  const { ttlMs, statuses, defaultTtlMs } = policy
  if (ttlMs !== undefined) {
    const ms = typeof ttlMs === 'number' ? ttlMs : ttlMs.get(response.status)
    if (ms === undefined) return 'status'
    const own = effective.targeted && policy.override === undefined ? deltaMs(effective.directives) : undefined
    return allowed(typeof ttlMs === 'number' ? (statuses ?? ROUTE_STATUSES) : 'any', own ?? ms, 'route')
  }
  const explicit = explicitLifetime(response, effective, now)
  if (explicit !== undefined) return allowed(statuses ?? HANDLER_STATUSES, explicit, 'handler')
  const heuristic = heuristicLifetime(response, effective, policy, now)
  if (heuristic !== undefined) return allowed(statuses ?? 'any', heuristic, 'handler')
  if (defaultTtlMs !== undefined) return allowed(statuses ?? ROUTE_STATUSES, defaultTtlMs, 'route')
  // Only a validation ever uses it, so it needs no lifetime.
  if (effective.directives.noCache) return allowed(statuses ?? HANDLER_STATUSES, 0, 'handler')
  return 'no-freshness'
}

function deltaMs({ sMaxage, maxAge }: ResponseDirectives): number | undefined {
  const seconds = sMaxage ?? maxAge
  return seconds === undefined ? undefined : seconds * 1000
}

/** freshness_lifetime of RFC 9111 section 4.2.1, without the heuristic; max-age outranks Expires (section 5.3). */
export function explicitLifetime(
  response: ResponseHead,
  { directives, expires }: EffectiveDirectives,
  now: number,
): number | undefined {
  const delta = deltaMs(directives)
  if (delta !== undefined || expires === undefined) return delta
  const end = parseHttpDate(expires, now)
  return end === undefined ? 0 : Math.max(0, end - (dateOf(response.headers, now) ?? now))
}

/** A fraction of the time since the last change, for statuses that allow it (RFC 9111 section 4.2.2). */
function heuristicLifetime(
  { status, headers }: ResponseHead,
  { directives }: EffectiveDirectives,
  policy: HttpPolicy,
  now: number,
): number | undefined {
  if (policy.heuristic === 0 || directives.noCache) return undefined
  if (!HEURISTIC_STATUSES.has(status) && !directives.public) return undefined
  const modified = dateOf(headers, now, 'last-modified')
  return modified === undefined ? undefined : Math.max(0, (dateOf(headers, now) ?? now) - modified) * policy.heuristic
}

/** The instants of an entry, and the flags that describe the last of them. */
export function windowsOf(
  lifetime: Lifetime,
  { directives, targeted }: EffectiveDirectives,
  policy: HttpPolicy,
  run: {
    readonly initialAgeMs: number
    /** The handler can be asked whether it is still valid. */
    readonly revalidates: boolean
    /** Draw for jitter, 0 to 1. */
    readonly random: number
    readonly now: number
  },
): Lifetimes & { readonly flags: number } {
  // RFC 5861: the directive where the handler's lifetime counts, otherwise the route's option.
  const window = (seconds: number | undefined, optionMs: number): number =>
    seconds !== undefined && (lifetime.by === 'handler' || targeted) ? seconds * 1000 : optionMs
  const keepsStale = !neverStale(directives, policy) && !directives.noCache
  const freshForMs =
    lifetime.by === 'handler'
      ? lifetime.ms - run.initialAgeMs
      : lifetime.ms === Infinity
        ? Infinity
        : Math.floor(lifetime.ms * (1 - policy.jitter * run.random))
  const freshUntil = run.now + freshForMs
  const swrMs = keepsStale ? window(directives.staleWhileRevalidate, policy.staleWhileRevalidateMs) : 0
  // `staleOnError` is for responses without a window of their own.
  const errorMs = policy.staleOnError ? Math.max(policy.staleIfErrorMs, policy.retainMs) : policy.staleIfErrorMs
  const sieMs = keepsStale ? window(directives.staleIfError, errorMs) : 0
  const retainMs = keepsStale || run.revalidates ? policy.retainMs : 0
  // An entry has one instant for both ends. A targeted window cannot be derived again, so there it replaces retention.
  const retained = retainMs > sieMs && !(targeted && sieMs > 0)
  return {
    storedAt: run.now,
    freshUntil,
    staleUntil: freshUntil + swrMs,
    errorUntil: freshUntil + (retained ? retainMs : sieMs),
    flags: retained ? Flag.retained | (sieMs === 0 ? Flag.noErrorWindow : 0) : 0,
  }
}

/** Until when a stored response may replace a failure. */
export function errorWindowEnd(stored: StoredResponse, policy: HttpPolicy): number {
  if (!hasFlag(stored.flags, Flag.retained)) return stored.errorUntil
  if (hasFlag(stored.flags, Flag.noErrorWindow)) return stored.freshUntil
  const directive = hasFlag(stored.flags, Flag.routeGoverned) ? undefined : cacheControlOf(stored.headers).staleIfError
  const ms = directive === undefined ? policy.staleIfErrorMs : directive * 1000
  return Math.min(stored.errorUntil, stored.freshUntil + ms)
}

/** The generated Cache-Control: the rest of the lifetime, rounded down; `no-cache` where it has no end. */
export function generatedCacheControl(
  freshUntil: number,
  now: number,
  personal: boolean,
  clientMaxAgeMs = Infinity,
): string {
  const end = Math.min(freshUntil, now + clientMaxAgeMs)
  const seconds = Math.max(0, Math.min(Math.floor((end - now) / 1000), MAX_SECONDS))
  const asked = clientMaxAgeMs === 0 ? 'max-age=0, must-revalidate' : `max-age=${seconds}`
  const lifetime = end === Infinity ? 'no-cache' : asked
  return personal ? `private, ${lifetime}` : lifetime
}

/** A value of a list of fields that depends on the time. */
export class TimedValue {
  constructor(
    readonly index: number,
    readonly at: (now: number) => string,
  ) {}
}

/**
 * The fields of a hit, with its age in one of two forms, never both, or the age would count twice: a stored Date with
 * Age (RFC 9111 section 5.1), or a new Date with a lifetime that counts down (section 6). Values that count are added
 * to `timed`.
 */
export function withFreshness(
  stored: StoredResponse,
  now: number,
  validated: boolean,
  clientMaxAgeMs?: number,
  timed: TimedValue[] = [],
): string[] {
  const { flags } = stored
  const headers = stored.headers.slice()
  const setTimed = (index: number, at: (now: number) => string): void => {
    timed.push(new TimedValue(index, at))
    headers[index] = at(now)
  }
  const counts = !hasFlag(flags, Flag.age)
  const generated = hasFlag(flags, Flag.routeGoverned) && !hasFlag(flags, Flag.ownCacheControl)
  // The handler's lifetime without an Age: its own numbers have to shrink.
  if (counts && !hasFlag(flags, Flag.routeGoverned) && hasFlag(flags, Flag.ownCacheControl)) {
    stored.headers.forEach((text, index) => {
      if (index % 2 === 1 && isField(stored.headers[index - 1] ?? '', 'cache-control'))
        setTimed(index, (at) => countedDown(text, stored, at))
    })
  }
  if (generated) {
    const personal = hasFlag(flags, Flag.personal)
    headers.push('Cache-Control')
    setTimed(headers.length, (at) =>
      generatedCacheControl(stored.freshUntil, counts ? at : stored.storedAt, personal, clientMaxAgeMs),
    )
  }
  if (!counts && !validated) {
    headers.push('Age')
    setTimed(headers.length, (at) => String(ageSeconds(stored, at)))
  }
  return headers
}

const LIFETIME = /\b(max-age|s-maxage)="?(\d{1,15})"?/gi

/**
 * A response that was invalidated softly, as clients are sent it: its freshness has ended, so that no other cache keeps it
 * as fresh. A lifetime of the handler's ends as well, except next to the route's own, where it is that of each answer.
 */
export function withoutFreshness<T extends StoredResponse>(stored: T, now: number): T {
  const freshUntil = Math.min(stored.freshUntil, now)
  if (hasFlag(stored.flags, Flag.routeGoverned)) return { ...stored, freshUntil, memo: undefined }
  let ended = false
  const headers = stored.headers.map((text, index) => {
    if (index % 2 === 0 || !isField(stored.headers[index - 1] ?? '', 'cache-control')) return text
    ended ||= /\bmax-age=/i.test(text)
    return text.replace(LIFETIME, '$1=0')
  })
  // It outranks Expires, and a lifetime that other caches would guess.
  if (!ended) headers.push('Cache-Control', 'max-age=0')
  return { ...stored, freshUntil, headers, memo: undefined }
}

function countedDown(cacheControl: string, stored: StoredResponse, now: number): string {
  const age = ageSeconds(stored, now)
  const rest = (_: string, directive: string, seconds: string) => `${directive}=${Math.max(0, Number(seconds) - age)}`
  return cacheControl.replace(LIFETIME, rest)
}
