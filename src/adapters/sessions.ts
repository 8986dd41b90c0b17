import { type Redis } from '../create-redis.js'
import { UsageError } from '../errors.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import { resolveSessions } from '../session/options.js'
import { sessionFields } from '../session/fields.js'
import type { SessionGuard } from '../session/guard.js'
import type { Session } from '../session/session.js'
import type { SessionOptions } from '../session/types.js'
import { type Answer, answerOf } from './answers.js'
import { RequestProperty } from './request-property.js'

/** Sessions, by the object that represents the request: the framework's request or context. */
const kept = new RequestProperty<Session>()

/** Returns the session of a request; undefined if sessions are off or not loaded yet. */
export function sessionOf(owner: object): Session | undefined {
  return kept.get(owner)
}

export function keepSession(owner: object, session: Session): Session {
  kept.set(owner, session)
  return session
}

/** The principal of a request if the application declares none: that of its session. */
export function principalOfSession(owner: object): string | undefined {
  return sessionOf(owner)?.peekPrincipal()
}

/** Another package has put a session where ours goes. */
export function sessionTaken(where: string): UsageError {
  return new UsageError(
    `${where} is already set by another session middleware. Remove it, or let it and redwell serve different paths.`,
  )
}

const OTHERS =
  'This request has a session of another kind already, by a `sessions` before this one. Put sessions of two Redis handles on different paths.'

/** Options of `sessions(options)`, checked where they are declared and bound to the first Redis that uses them. */
export class DeclaredSessions<Req> {
  readonly #options: SessionOptions<Req> | undefined
  readonly #configured = new WeakSet<Redis['sessions']>()

  constructor(options: SessionOptions<Req> | undefined) {
    this.#options = options
    if (options !== undefined) resolveSessions(options)
  }

  /**
   * The sessions for a request. Throws UsageError where others are in its place, nested as well: a guard behind them would
   * take their users for its own.
   */
  on({ sessions }: Redis, owner: object): Redis['sessions'] {
    if (!this.#configured.has(sessions)) {
      // Each request fails where there are other options already.
      if (this.#options !== undefined) sessions.configure(this.#options)
      this.#configured.add(sessions)
    }
    const open = sessionOf(owner)
    if (open !== undefined && !sessions.opened(open)) throw new UsageError(OTHERS)
    return sessions
  }
}

/** The header fields of a response that is being written. */
export interface SessionFieldTarget {
  get(name: string): string | undefined
  set(name: string, value: string): void
  add(name: string, value: string): void
}

/** Sets the header fields that the session requires. */
export function applySession(session: Session, target: SessionFieldTarget): void {
  for (const { name, value, adds } of sessionFields(session.effects, (field) => target.get(field))) {
    // Hooks may run again for an error response.
    if (adds && target.get(name.toLowerCase())?.includes(value) !== true) target.add(name, value)
    else if (!adds) target.set(name, value)
  }
}

/** The response to send instead of the handler's; undefined: the request is allowed. */
export function guardSession<Req>(
  guard: SessionGuard<Req>,
  session: Session,
  native: Req,
): MaybePromise<Answer | undefined> {
  const rejection = guard.check(session)
  if (rejection === undefined) return undefined
  const { reason, status, fields, body } = rejection
  if (guard.onReject === undefined) return { status, fields, body }
  return chain(guard.onReject(reason, native), (made) => answerOf(made, status, fields))
}
