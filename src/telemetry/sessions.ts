import { channels } from './events.js'

/** Operations of sessions by outcome. */
export type SessionStats = Readonly<Record<string, Readonly<Record<string, number>>>>

/** Counts the outcomes of session operations and publishes them. Neither ids nor handles nor subjects reach it. */
export class SessionRecorder {
  #counts = new Map<string, Map<string, number>>()

  /** Both words are from fixed lists. `durationMs`: of what was asked of Redis. */
  record(operation: string, outcome: string, durationMs: number): void {
    let counts = this.#counts.get(operation)
    if (counts === undefined) this.#counts.set(operation, (counts = new Map()))
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    if (channels.session.hasSubscribers) channels.session.publish({ at: Date.now(), operation, outcome, durationMs })
  }

  read(): SessionStats {
    return Object.fromEntries(
      Array.from(this.#counts, ([operation, counts]) => [operation, Object.fromEntries(counts)]),
    )
  }

  reset(): void {
    this.#counts = new Map()
  }
}
