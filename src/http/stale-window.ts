import type { Lifetimes, StoredResponse } from './contract.js'
import { Flag, hasFlag } from './flag.js'
import { cacheControlOf, type Governing } from './governing.js'
import type { HttpPolicy } from './http-policy.js'
import type { Lifetime } from './lifetime.js'
import type { ResponseDirectives } from './response-directives.js'

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
