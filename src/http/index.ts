export type {
  HeaderList,
  Lifetimes,
  Outgoing,
  Presented,
  ReplayHow,
  RequestHead,
  RequestPlan,
  ResponseHead,
  Storable,
  StoreDecision,
  StoredResponse,
  StoreFacts,
  Verdict,
} from './contract.js'
export { Flag } from './flag.js'
export { type Conditions, forwardedConditions, handlerValidators } from './forwarded-conditions.js'
export { type Freshened, freshen } from './freshen.js'
export { gatewayTimeout } from './gateway-timeout.js'
export { headUpdate } from './head-update.js'
export type { HttpOptions } from './http-options.js'
export type { HttpPolicy } from './http-policy.js'
export { type InvalidationPolicy, invalidationOf, isSafe } from './invalidation.js'
export type { BypassReason, RefusalReason, VerdictReason } from './reasons.js'
export { resolveHttpPolicy } from './resolve-policy.js'
export { planRequest, planWrite } from './request-plan.js'
export { present } from './run-answer.js'
export { isFailure, isSuccess } from './status-code.js'
export { decideStore } from './store-decision.js'
export { replay } from './stored-answer.js'
export { toStored, withBody } from './stored-body.js'
export { mostRecent, selectedFields } from './vary.js'
export { judge } from './verdict.js'
