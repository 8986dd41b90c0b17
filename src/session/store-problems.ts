import { SessionError, UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { codeOf, isForbidden, isReply } from '../redis/port.js'

/** Redis did not answer, or answered that it cannot: it is full, read-only, or lacks the command. */
export function isOutage(error: unknown): error is Error {
  return error instanceof UnavailableError || isReply(error)
}

/** A server that refuses some commands only, or is full now and then, is in one state for at least so long. */
const STATE_MS = 60_000

interface Problem {
  readonly because: string
  /** When it was last met. */
  at: number
}

/** What Redis refuses, by operation: each change is logged once. */
export class StoreProblems {
  readonly #logger: Logger
  readonly #now: () => number
  readonly #problems = new Map<string, Problem>()

  /** `now` in milliseconds. */
  constructor(logger: Logger, now: () => number) {
    this.#logger = logger
    this.#now = now
  }

  /** What a request is told. */
  sessionError(operation: string, cause: Error): SessionError {
    return new SessionError('unavailable', { cause, because: this.#note(operation, cause) })
  }

  /** What a call is told that needs Redis. */
  unavailable(operation: string, cause: Error): UnavailableError {
    const because = this.#note(operation, cause)
    if (cause instanceof UnavailableError) return cause
    return new UnavailableError('error', `sessions.${operation} failed because ${because}: ${cause.message}`, { cause })
  }

  worked(operation: string): void {
    if (this.#problems.size === 0) return
    const problem = this.#problems.get(operation)
    if (problem === undefined || this.#now() - problem.at < STATE_MS) return
    this.#problems.delete(operation)
    this.#logger.info(`redwell: sessions: ${operation} works again`)
  }

  /** Undefined: Redis did not answer, which the connection logs. */
  #note(operation: string, error: Error): string | undefined {
    const [because, advice] = reasonOf(error)
    if (because === undefined) return undefined
    const before = this.#problems.get(operation)
    if (before?.because === because) before.at = this.#now()
    else {
      this.#problems.set(operation, { because, at: this.#now() })
      this.#logger.warn(`redwell: sessions: ${operation} failed because ${because}: ${error.message}. ${advice}`)
    }
    return because
  }
}

function reasonOf(error: Error): readonly [because: string | undefined, advice: string] {
  if (!isReply(error)) return [undefined, '']
  if (isForbidden(error)) {
    const because = 'the Redis user may not run a command that sessions need'
    return [because, 'See docs/operations.md for the permissions; `redwell doctor` names those that are missing']
  }
  if (codeOf(error) === 'OOM') return ['Redis is full', 'Give it more memory, or sessions a Redis of their own']
  return ['Redis refused the command', '`redwell doctor` looks at the server']
}
