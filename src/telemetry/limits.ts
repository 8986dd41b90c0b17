import { channels, type RateLimitOutcome } from './events.js'

/** Scopes that are counted apart; further ones count together. Scopes come from declarations, so there are few. */
const SCOPES_MAX = 1000
const OTHER = 'other'

/** Calls of rate limiters by scope and outcome. */
export type RateLimitStats = Readonly<Record<string, Readonly<Partial<Record<RateLimitOutcome, number>>>>>

/** Counts the calls of rate limiters, and publishes them. Identities never reach it. */
export class LimitRecorder {
  #counts = new Map<string, Map<RateLimitOutcome, number>>()

  /** `since`: monotonic milliseconds when the call began. */
  record(scope: string, outcome: RateLimitOutcome, limit: number, since: number): void {
    const name = this.#counts.has(scope) || this.#counts.size < SCOPES_MAX ? scope : OTHER
    let counts = this.#counts.get(name)
    if (counts === undefined) this.#counts.set(name, (counts = new Map()))
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    if (channels.rateLimit.hasSubscribers) {
      const durationMs = performance.now() - since
      channels.rateLimit.publish({ at: Date.now(), scope: name, outcome, limit, durationMs })
    }
  }

  read(): RateLimitStats {
    return Object.fromEntries(Array.from(this.#counts, ([scope, counts]) => [scope, Object.fromEntries(counts)]))
  }

  reset(): void {
    this.#counts = new Map()
  }
}
