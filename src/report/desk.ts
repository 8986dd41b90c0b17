/**
 * Keys by which operators and processes communicate. All of them expire; while no operator is watching,
 * there is nothing but the history and the name of the application.
 */
export class Desk {
  /** A sorted set by expiry (ms): `watch <ms between reports>`, and questions as JSON. */
  readonly requests: string
  /** A sorted set by expiry (ms): ids of the processes that report. */
  readonly processes: string
  /** The name of the application that caches routes under the prefix. */
  readonly application: string

  constructor(readonly prefix: string) {
    this.requests = `${prefix}:operate:requests`
    this.processes = `${prefix}:operate:processes`
    this.application = `${prefix}:operate:application`
  }

  report(process: string): string {
    return `${this.prefix}:operate:process:${process}`
  }

  answers(question: string): string {
    return `${this.prefix}:operate:answers:${question}`
  }

  history(startAt: number): string {
    return `${this.prefix}:history:${startAt}`
  }
}

/** First word of a request to report. */
export const WATCH = 'watch '

/** How often a process checks for requests of operators: one command on a key that is usually absent. */
export const QUIET_MS = 2000

/** A report, an answer and the place in the list of processes live this much longer than the pause between reports. */
export const GRACE_MS = 5000

/** How long an application keeps its name under a prefix without using it. */
export const NAME_MS = 86_400_000
