import type { Rate } from './rate.js'
import type { RateOutcome } from './window.js'

/** One rate of a verdict, for fields and dashboards. Seconds, with fractions. */
export interface RateLimitPolicy {
  /** Name of the rate, such as `minute`. */
  readonly name: string
  /** Units in one window. */
  readonly limit: number
  /** Length of the window. */
  readonly window: number
  /** Units left. */
  readonly remaining: number
  /** Until all units are back. */
  readonly resetAfter: number
  /** Until the next unit is back; the whole window where none is used. */
  readonly nextAfter: number
  /** Whether this rate refused the call. */
  readonly violated: boolean
}

/**
 * Where a verdict comes from.
 * - `redis`: the shared count
 * - `local`: this process alone, because Redis was unavailable (`whenUnavailable`)
 * - `blocked`: a refusal that is remembered in this process, or a ban
 */
export type VerdictSource = 'redis' | 'local' | 'blocked'

/** Why a call was refused. */
export type LimitReason = 'limited' | 'banned' | 'unavailable' | 'unidentified'

/** The answer of a rate limiter to one call. */
export interface RateLimitVerdict {
  /** Whether the call may go on. */
  readonly allowed: boolean
  /** Undefined where the call was allowed. */
  readonly reason: LimitReason | undefined
  /** Limit of the rate that binds first. */
  readonly limit: number
  /** Units left of that rate. */
  readonly remaining: number
  /** Seconds until all of its units are back, with fractions. */
  readonly resetAfter: number
  /** Seconds until the same call would be allowed, with fractions; 0 where it was. Undefined: never, its cost is above a limit. */
  readonly retryAfter: number | undefined
  /** Name of the rate that binds first, such as `minute`. */
  readonly rate: string
  /** Who decided. */
  readonly source: VerdictSource
  /** Every rate of the limit, shortest window first. */
  readonly policies: readonly RateLimitPolicy[]
}

/** A verdict from the outcomes of its rates, in the order of the rates. */
export function verdictOf(
  rates: readonly Rate[],
  outcomes: readonly RateOutcome[],
  reason: LimitReason | undefined,
  source: VerdictSource,
): RateLimitVerdict {
  const policies: RateLimitPolicy[] = []
  let binding: RateLimitPolicy | undefined
  let longestMs = 0
  for (let index = 0; index < rates.length; index += 1) {
    const rate = rates[index]
    if (rate === undefined) continue
    const outcome = outcomes[index]
    const policy = policyOf(rate, outcome)
    const retryMs = outcome?.retryMs ?? 0
    // The rate that refuses for longest binds; where none does, the one with the fewest units left.
    if (
      binding === undefined ||
      retryMs > longestMs ||
      (retryMs === longestMs && policy.remaining < binding.remaining)
    ) {
      binding = policy
    }
    if (retryMs > longestMs) longestMs = retryMs
    policies.push(policy)
  }
  return {
    allowed: reason === undefined,
    reason,
    limit: binding?.limit ?? 0,
    remaining: binding?.remaining ?? 0,
    resetAfter: binding?.resetAfter ?? 0,
    retryAfter: reason === undefined ? 0 : longestMs === Infinity ? undefined : longestMs / 1000,
    rate: binding?.name ?? '',
    source,
    policies,
  }
}

/** The verdict while a ban lasts, whatever is left of the rates. */
export function bannedFor(seconds: number, { policies, ...verdict }: RateLimitVerdict): RateLimitVerdict {
  const banned = <T extends { readonly resetAfter: number }>(of: T) => ({
    ...of,
    remaining: 0,
    resetAfter: Math.max(of.resetAfter, seconds),
  })
  return {
    ...banned(verdict),
    retryAfter: seconds,
    policies: policies.map((policy) => ({ ...banned(policy), nextAfter: seconds })),
  }
}

function policyOf({ name, limit, windowMs }: Rate, outcome: RateOutcome | undefined): RateLimitPolicy {
  return {
    name,
    limit,
    window: windowMs / 1000,
    remaining: outcome?.remaining ?? limit,
    resetAfter: (outcome?.resetMs ?? 0) / 1000,
    nextAfter: (outcome?.nextMs ?? windowMs) / 1000,
    violated: (outcome?.retryMs ?? 0) > 0,
  }
}
