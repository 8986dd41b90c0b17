import { type Duration, DURATION_RULE, durationMs } from '../duration.js'
import { describeValue, isOptionsObject, OptionsError, unknownOptions } from '../errors.js'
import { parseRates, type Rate, type RateInput } from './rate.js'
import type { Algorithm } from './window.js'

/** Options of `redis.rateLimiter(name, options)`. */
export interface RateLimiterOptions {
  /** One rate, or several that must all allow a call: `'100/minute'`, `['5/minute', '30/hour']`, `{ limit, window }`. */
  rate: RateInput | readonly RateInput[]
  /** How units are counted. Default `sliding-window`. */
  algorithm?: Algorithm | undefined
  /** Refuses all calls of an identity after repeated refusals. Default: never. */
  ban?:
    | {
        /** Number of refusals. */
        readonly after: number
        /** Length of the ban, and of the time in which refusals are counted: seconds, or `'10m'`. */
        readonly for: Duration
      }
    | undefined
  /**
   * While Redis is unavailable: `local` counts in each process separately, `allow` allows every call, `deny` refuses every
   * call with 503. Default `local`, or `deny` with `REDIS_RATE_LIMIT_FAIL_CLOSED`.
   */
  whenUnavailable?: 'local' | 'allow' | 'deny' | undefined
  /** Fraction of the limit that each process allows while Redis is unavailable: above 0, up to 1. Default 1. */
  localShare?: number | undefined
}

/** Options with everything decided. */
export interface LimiterPolicy {
  readonly rates: readonly Rate[]
  readonly algorithm: Algorithm
  readonly ban: { readonly after: number; readonly forMs: number }
  readonly whenUnavailable: 'local' | 'allow' | 'deny'
  readonly localShare: number
}

const ALGORITHMS: readonly unknown[] = ['sliding-window', 'fixed-window', 'token-bucket'] satisfies Algorithm[]
const WHEN_UNAVAILABLE: readonly unknown[] = ['local', 'allow', 'deny']
const NAMES = ['rate', 'algorithm', 'ban', 'whenUnavailable', 'localShare']
const NO_BAN = { after: 0, forMs: 0 } as const

/** Checks options where they are declared. Throws OptionsError with every problem. */
export function resolveLimiter(
  where: string,
  options: RateLimiterOptions,
  failClosed: boolean,
  more: readonly string[] = [],
): LimiterPolicy {
  const problems: string[] = []
  if (!isOptionsObject(options)) throw new OptionsError(where, ['options must be an object with `rate`'])
  problems.push(...unknownOptions(options, [...NAMES, ...more]))
  const {
    rate,
    algorithm = 'sliding-window',
    whenUnavailable = failClosed ? 'deny' : 'local',
    localShare = 1,
  } = options
  const rates = parseRates(rate, problems)
  if (!ALGORITHMS.includes(algorithm))
    problems.push(`algorithm: ${describeValue(algorithm)} is not one of ${ALGORITHMS.join(', ')}`)
  if (algorithm !== 'token-bucket' && rates.some(({ burst, limit }) => burst !== limit)) {
    problems.push("rate: `burst` belongs to `algorithm: 'token-bucket'`")
  }
  if (!WHEN_UNAVAILABLE.includes(whenUnavailable)) {
    problems.push(`whenUnavailable: ${describeValue(whenUnavailable)} is not one of ${WHEN_UNAVAILABLE.join(', ')}`)
  }
  if (!(typeof localShare === 'number' && localShare > 0 && localShare <= 1))
    problems.push('localShare: must be a number above 0, up to 1')
  const policy = { rates, algorithm, ban: banOf(options.ban, problems), whenUnavailable, localShare }
  if (problems.length > 0) throw new OptionsError(where, problems)
  return policy
}

function banOf(ban: RateLimiterOptions['ban'], problems: string[]): LimiterPolicy['ban'] {
  if (ban === undefined) return NO_BAN
  if (!isOptionsObject(ban)) {
    problems.push(`ban: ${describeValue(ban)} must be an object such as { after: 5, for: '10m' }`)
    return NO_BAN
  }
  problems.push(...unknownOptions(ban, ['after', 'for']).map((problem) => `ban.${problem}`))
  const forMs = durationMs(ban.for)
  if (forMs === undefined || forMs === 0) problems.push(`ban.for: must be ${DURATION_RULE}`)
  if (!Number.isInteger(ban.after) || ban.after < 1)
    problems.push('ban.after: must be a whole number of refusals, at least 1')
  return { after: ban.after, forMs: forMs ?? 0 }
}

/** What of a cost cannot be charged; undefined: nothing. */
export function costProblem(cost: unknown): string | undefined {
  return typeof cost === 'number' && Number.isInteger(cost) && cost >= 0 && cost <= 1e9
    ? undefined
    : `cost: ${String(cost)} is not a whole number of units from 0 to 10^9`
}
