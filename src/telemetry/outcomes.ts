import { valueAt } from '../value-at.js'
import { channels, type RateLimitOutcome } from './events.js'

/** Names that are counted apart; further ones count together. They come from declarations, so there are few. */
const NAMES_MAX = 1000
const OTHER = 'other'

/** Counts how often what ended how. Neither identities nor ids nor subjects reach it. */
class OutcomeCounts<Outcome extends string> {
  #counts = new Map<string, Map<Outcome, number>>()

  /** Returns the name under which it counts. */
  protected count(of: string, outcome: Outcome): string {
    const name = this.#counts.has(of) || this.#counts.size < NAMES_MAX ? of : OTHER
    const counts = valueAt(this.#counts, name, () => new Map<Outcome, number>())
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    return name
  }

  /** Outcomes that have not come are left out. */
  read(): Readonly<Record<string, Readonly<Record<Outcome, number>>>> {
    const read = Array.from(this.#counts, ([name, counts]) => [name, Object.fromEntries(counts)] as const)
    return Object.fromEntries(read) as Record<string, Record<Outcome, number>>
  }

  reset(): void {
    this.#counts = new Map()
  }
}

/** Calls of rate limiters by scope, also as events. */
export class LimitRecorder extends OutcomeCounts<RateLimitOutcome> {
  /** `since`: monotonic milliseconds when the call began. */
  record(scope: string, outcome: RateLimitOutcome, limit: number, since: number): void {
    const name = this.count(scope, outcome)
    if (!channels.rateLimit.hasSubscribers) return
    const durationMs = performance.now() - since
    channels.rateLimit.publish({ at: Date.now(), scope: name, outcome, limit, durationMs })
  }
}

/** Operations on sessions, also as events. */
export class SessionRecorder extends OutcomeCounts<string> {
  /** Both words are from fixed lists. `durationMs`: of what was asked of Redis. */
  record(operation: string, outcome: string, durationMs: number): void {
    this.count(operation, outcome)
    if (channels.session.hasSubscribers) channels.session.publish({ at: Date.now(), operation, outcome, durationMs })
  }
}
