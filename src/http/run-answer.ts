import { runStatus, statusFields } from './cache-status.js'
import { clientHasIt } from './condition.js'
import type {
  HeaderList,
  Presented,
  RequestHead,
  RequestPlan,
  ResponseHead,
  RunFacts,
  Storable,
  StoreDecision,
} from './contract.js'
import { Flag, hasFlag } from './flag.js'
import { generatedCacheControl } from './freshness-fields.js'
import { firstField, hasField, keepFields } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'
import { toNotModified } from './not-modified.js'
import { OWN_TARGET } from './preset.js'
import { withBody } from './stored-body.js'
import { OWN_STATUS_FIELD } from './stored-fields.js'
import { varyAddition } from './vary.js'

const NO_RUN: RunFacts = Object.freeze({})

/**
 * What the client of a handler run is sent: the handler's response with the fields that a hit would have as well, and a
 * lifetime only where it was stored. A condition that the handler did not see is answered here.
 */
export function present(
  _request: RequestHead,
  plan: RequestPlan,
  response: ResponseHead,
  body: Buffer | undefined,
  decision: StoreDecision,
  policy: HttpPolicy,
  now: number,
  run: RunFacts = NO_RUN,
): Presented {
  const complete = decision.store && body !== undefined ? withBody(decision, body, policy) : decision
  const stored = complete.store && run.stored !== false
  const member = policy.cacheStatus === undefined ? undefined : runStatus(policy.cacheStatus, plan, stored, run)
  const headers = [
    ...representation(plan, response, complete, policy),
    ...cacheControl(plan, response, stored && complete.store ? complete : undefined, policy, now),
    ...statusFields(policy, stored ? 'MISS' : 'BYPASS', member),
  ]
  const unmodified =
    canBeNotModified(plan, headers, body) &&
    clientHasIt({ status: response.status, headers, storedAt: now }, plan, firstField(headers, 'etag'), now)
  return unmodified ? toNotModified(headers, 'set-cookie') : { status: response.status, headers, body }
}

/** A body that is on its way already cannot be taken back, and what has just been made is newer than any Date. */
function canBeNotModified(plan: RequestPlan, headers: HeaderList, body: Buffer | undefined): boolean {
  if (plan.outcome !== 'lookup' || (body === undefined && !plan.head)) return false
  return plan.ifNoneMatch !== undefined || hasField(headers, 'last-modified')
}

function representation(
  plan: RequestPlan,
  response: ResponseHead,
  decision: StoreDecision,
  policy: HttpPolicy,
): HeaderList {
  const added =
    decision.store && plan.stores !== 'write' ? decision.addedHeaders : varyAddition(response.headers, policy)
  const dated = added.includes('Date')
  const own = keepFields(
    response.headers,
    (name) => name !== OWN_STATUS_FIELD && name !== OWN_TARGET && !(dated && name === 'date'),
  )
  return added.length === 0 ? own : [...own, ...added]
}

/** Generated only where the handler wrote none and the route governs; a write's response is no reader's. */
function cacheControl(
  plan: RequestPlan,
  { headers }: ResponseHead,
  stored: Storable | undefined,
  policy: HttpPolicy,
  now: number,
): HeaderList {
  if (hasField(headers, 'cache-control')) return []
  if (stored === undefined || plan.stores === 'write') return policy.private ? ['Cache-Control', 'private'] : []
  if (!hasFlag(stored.flags, Flag.routeGoverned)) return []
  return ['Cache-Control', generatedCacheControl(stored.lifetimes.freshUntil, now, policy.private)]
}
