/** What is known about a request's session when its response is. */
export interface SessionFacts {
  /**
   * - `none`: no cookie, or the session was ended by this request
   * - `absent`: the cookie's session does not exist
   * - `moved`: the cookie's id was replaced less than a minute ago
   * - `unavailable`: Redis did not answer
   * - `loaded`
   */
  readonly state: 'none' | 'absent' | 'moved' | 'unavailable' | 'loaded'
  /** This request has ended a session, so its cookie goes. */
  readonly ended: boolean
  /** A property has another value than when it was read; where that is not known, one was set or deleted. */
  readonly changed: boolean
  /** No property is left. */
  readonly empty: boolean
  /** What became of the principal; `switched`: another one signs in. */
  readonly principal: 'same' | 'signed-in' | 'switched' | 'signed-out'
  /** The application asked for another id. */
  readonly rotates: boolean
  /** The application asked to restart the idle clock. */
  readonly touches: boolean
  /** A status below 400, or an explicit `save()`. */
  readonly success: boolean
}

/**
 * What happens to a session with a response.
 * - `suppress`: the principal has changed, and the response failed: nothing is written
 * - `moved`, `unavailable`: the change is refused
 */
export type SessionOutcome =
  | 'nothing'
  | 'touch'
  | 'write'
  | 'create'
  | 'rotate'
  | 'end'
  | 'clear-cookie'
  | 'suppress'
  | 'moved'
  | 'unavailable'

/** The one decision about a session at the end of a request. */
export function decideOutcome(facts: SessionFacts): SessionOutcome {
  switch (facts.state) {
    case 'loaded':
      return ofLoaded(facts)
    case 'unavailable':
      // The cookie goes, whatever Redis answers.
      if (facts.principal === 'signed-out' && facts.success) return 'end'
      if (isRefused(facts)) return 'unavailable'
      return facts.ended ? 'clear-cookie' : 'nothing'
    case 'moved':
      // A sign-in does not depend on what the cookie named; any other change would be lost with it.
      if (isRefused(facts) && !signsIn(facts)) return 'moved'
      return ofNew(facts)
    case 'none':
    case 'absent':
      return ofNew(facts)
  }
}

function ofLoaded({ changed, empty, principal, rotates, touches, success }: SessionFacts): SessionOutcome {
  if (rotates || principal !== 'same') {
    if (!success) return 'suppress'
    return empty ? 'end' : 'rotate'
  }
  if (changed) return 'write'
  return touches ? 'touch' : 'nothing'
}

function ofNew(facts: SessionFacts): SessionOutcome {
  const { ended, changed, empty, success } = facts
  if (changed && !empty) return signsIn(facts) && !success ? 'suppress' : 'create'
  return ended ? 'clear-cookie' : 'nothing'
}

/** What is asked of a session that is not there. */
function isRefused({ changed, rotates, success }: SessionFacts): boolean {
  return changed || (rotates && success)
}

function signsIn({ principal }: SessionFacts): boolean {
  return principal === 'signed-in' || principal === 'switched'
}
