export { CACHE_GROUPS_MAX, cacheGroups, invalidatedGroups } from './cache-groups.js'
export type {
  HeaderList,
  Lifetimes,
  Outgoing,
  Presented,
  Refused,
  ReplayHow,
  RequestHead,
  RequestPlan,
  ResponseHead,
  RunFacts,
  Storable,
  StoreDecision,
  StoredResponse,
  StoreFacts,
  Verdict,
} from './contract.js'
export { Flag, hasFlag } from './flag.js'
export { type Conditions, forwardedConditions, handlerValidators } from './forwarded-conditions.js'
export { freshen, type Freshened } from './freshen.js'
export { gatewayTimeout } from './gateway-timeout.js'
export { type HeadUpdate, headUpdate } from './head-update.js'
export type { HttpOptions } from './http-options.js'
export type { HttpPolicy } from './http-policy.js'
export { type Invalidation, invalidationOf, type InvalidationPolicy, isSafe } from './invalidation.js'
export type { BypassReason, RefusalReason, VerdictReason } from './reasons.js'
export { type HttpDefaults, resolveHttpPolicy } from './resolve-policy.js'
export { planRequest, planWrite } from './request-plan.js'
export { present } from './run-answer.js'
export { isFailure, isSuccess } from './status-code.js'
export { decideStore } from './store-decision.js'
export { replay } from './stored-answer.js'
export { toStored, withBody } from './stored-body.js'
export { mostRecent, type SelectedField, selectedFields, VARIANTS_MAX } from './vary.js'
export type { VaryNormaliser, VaryRule } from './vary-value.js'
export { judge } from './verdict.js'
