import type { RateLimitVerdict } from './verdict.js'

/** Identities remembered as refused, in two generations of half as many each. */
const REFUSALS_MAX = 10_000

interface Refused {
  readonly cost: number
  /** The rates that refused: a call with others has to ask. */
  readonly rates: string
  /** Monotonic milliseconds. */
  readonly since: number
  readonly until: number
  readonly verdict: RateLimitVerdict
  /** The verdict as it was last returned, and when. */
  told: RateLimitVerdict | undefined
  toldAt: number
}

/** A verdict is repeated for this long, which keeps floods cheap; a `retryAfter` that is slightly too long does no harm. */
const TOLD_MS = 100

/**
 * Refusals that are known without asking: the same identity, rates and at least the same cost, until the store would
 * allow it. Two generations of maps, because evicting the first key of one large map is slow.
 */
export class Refusals {
  #young = new Map<string, Refused>()
  #old = new Map<string, Refused>()

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** `sentAt`: monotonic milliseconds when the command was sent, so that the memory never outlasts the refusal. */
  add(key: string, rates: string, cost: number, verdict: RateLimitVerdict, sentAt: number, forMs: number): void {
    if (this.#young.size >= REFUSALS_MAX / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, { cost, rates, since: sentAt, until: sentAt + forMs, verdict, told: undefined, toldAt: 0 })
  }

  /** The verdict that is still true, with the time that is left. */
  find(key: string, rates: string, cost: number): RateLimitVerdict | undefined {
    const refused = this.#young.get(key) ?? this.#old.get(key)
    if (refused === undefined || refused.rates !== rates || cost < refused.cost) return undefined
    const now = performance.now()
    if (now >= refused.until) {
      this.delete(key)
      return undefined
    }
    if (refused.told === undefined || now - refused.toldAt >= TOLD_MS) {
      refused.told = aged(refused.verdict, (now - refused.since) / 1000)
      refused.toldAt = now
    }
    return refused.told
  }

  delete(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
  }
}

/** A verdict as it stands after some seconds in which nothing was charged. */
function aged(verdict: RateLimitVerdict, seconds: number): RateLimitVerdict {
  const left = (value: number): number => Math.max(0, value - seconds)
  return {
    ...verdict,
    source: 'blocked',
    resetAfter: left(verdict.resetAfter),
    retryAfter: verdict.retryAfter === undefined ? undefined : left(verdict.retryAfter),
    policies: verdict.policies.map((policy) => ({
      ...policy,
      resetAfter: left(policy.resetAfter),
      nextAfter: left(policy.nextAfter),
    })),
  }
}
