import { type Duration, DURATION_RULE, durationMs } from '../duration.js'
import { describeValue, isOptionsObject, OptionsError, unknownOptions } from '../errors.js'
import type { Session } from './session.js'

/**
 * Why a request is refused.
 * - `anonymous`: no user is signed in
 * - `old`: the sign-in, or the last rotation, was too long ago
 * - `unavailable`: Redis did not answer
 */
export type SessionRejection = 'anonymous' | 'old' | 'unavailable'

/** What a route requires of the session. Without options: a signed-in user. */
export interface SessionRequirement<Req> {
  /** The id was issued, by a sign-in or `rotate()`, within this time. Such a response is `no-store`. */
  issuedWithin?: Duration | undefined
  /** `WWW-Authenticate` of the 401; never `Basic`, for which browsers ask in a window of their own. Default `Session`. */
  challenge?: string | undefined
  /** Makes the response in place of redwell's 401 or 503. */
  onReject?: { of(reason: SessionRejection, request: Req): unknown }['of'] | undefined
}

export interface Rejection {
  readonly reason: SessionRejection
  readonly status: 401 | 503
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

const NAMES = ['issuedWithin', 'challenge', 'onReject']

const TITLES = {
  anonymous: 'Sign in first',
  old: 'Sign in again',
  unavailable: 'Sessions are unavailable',
} as const

/** A requirement, checked where it is declared. Throws OptionsError with every problem. */
export class SessionGuard<Req> {
  readonly onReject: SessionRequirement<Req>['onReject']
  readonly #withinMs: number
  readonly #challenge: string

  constructor(where: string, requirement: SessionRequirement<Req> = {}) {
    if (!isOptionsObject(requirement))
      throw new OptionsError(where, [`${describeValue(requirement)} must be an object such as { issuedWithin: '5m' }`])
    const problems = unknownOptions(requirement, NAMES)
    const { issuedWithin, challenge = 'Session', onReject } = requirement
    const withinMs = issuedWithin === undefined ? Infinity : durationMs(issuedWithin)
    if (withinMs === undefined || withinMs === 0) problems.push(`issuedWithin: must be ${DURATION_RULE}`)
    if (typeof challenge !== 'string' || !/^[A-Za-z][\x20-\x7e]*$/.test(challenge))
      problems.push('challenge: is not a value of WWW-Authenticate')
    else if (/^basic\b/i.test(challenge)) problems.push('challenge: `Basic` makes browsers show a password dialog')
    if (onReject !== undefined && typeof onReject !== 'function') problems.push('onReject: must be a function')
    if (problems.length > 0) throw new OptionsError(where, problems)
    this.#withinMs = withinMs ?? 0
    this.#challenge = challenge
    this.onReject = onReject
  }

  /** Whether what it guards must not be kept by any cache. */
  get isRecent(): boolean {
    return this.#withinMs !== Infinity
  }

  /** Undefined: the request passes. */
  check(session: Session): Rejection | undefined {
    if (!session.effects.available) return this.#reject('unavailable')
    if (session.subject === undefined) return this.#reject('anonymous')
    return (session.issuedForSeconds ?? Infinity) * 1000 > this.#withinMs ? this.#reject('old') : undefined
  }

  #reject(reason: SessionRejection): Rejection {
    const status = reason === 'unavailable' ? 503 : 401
    return {
      reason,
      status,
      fields: [
        ['Content-Type', 'application/problem+json'],
        ['Cache-Control', 'no-store'],
        status === 401 ? ['WWW-Authenticate', this.#challenge] : ['Retry-After', '1'],
      ],
      body: JSON.stringify({ type: 'about:blank', title: TITLES[reason], status }),
    }
  }
}
