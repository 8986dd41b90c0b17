import { type Redis } from '../create-redis.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import { resolveSessions } from '../session/options.js'
import { sessionFields } from '../session/fields.js'
import type { SessionGuard } from '../session/guard.js'
import type { Session } from '../session/session.js'
import type { SessionOptions } from '../session/types.js'
import { type Answer, answerOf } from './answers.js'

/** The session of a request, on the object that stands for it: the framework's own request or context. */
const SESSION = Symbol('redwell.session')

interface Owner {
  [SESSION]?: Session | undefined
}

function owned(owner: object): Owner {
  return owner
}

/** The session of a request; undefined where sessions are off, or not reached yet. */
export function sessionOf(owner: object): Session | undefined {
  return owned(owner)[SESSION]
}

export function keepSession(owner: object, session: Session): Session {
  owned(owner)[SESSION] = session
  return session
}

/** Who asks, where the application does not say so itself: the subject of the session. */
export function subjectOf(owner: object): string | undefined {
  return sessionOf(owner)?.peekSubject()
}

/** Options of `sessions(options)`, checked where they are declared, and used by the first Redis that they meet. */
export class DeclaredSessions<Req> {
  readonly #options: SessionOptions<Req> | undefined
  readonly #configured = new WeakSet<Redis>()

  constructor(options: SessionOptions<Req> | undefined) {
    this.#options = options
    if (options !== undefined) resolveSessions(options)
  }

  on(redis: Redis): Redis['sessions'] {
    if (!this.#configured.has(redis)) {
      this.#configured.add(redis)
      if (this.#options !== undefined) redis.sessions.configure(this.#options)
    }
    return redis.sessions
  }
}

/** The header fields of a response that is being written. */
export interface SessionFieldTarget {
  get(name: string): string | undefined
  set(name: string, value: string): void
  add(name: string, value: string): void
}

/** Sets what a response owes to its session. */
export function applySession(session: Session, target: SessionFieldTarget): void {
  for (const { name, value, adds } of sessionFields(session, (field) => target.get(field))) {
    // Hooks may run once more for an error response.
    if (adds && target.get(name.toLowerCase())?.includes(value) !== true) target.add(name, value)
    else if (!adds) target.set(name, value)
  }
}

/** What is sent in place of the handler's response; undefined: the request passes. */
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
