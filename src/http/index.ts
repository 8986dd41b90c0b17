export type {
  HeaderList,
  Lifetimes,
  OutgoingResponse,
  MissResponse,
  StoredResponseContext,
  RequestHead,
  RequestPlan,
  ResponseHead,
  Storable,
  StoreDecision,
  StoredResponse,
  StoreFacts,
  ReuseDecision,
} from './types.js'
export { Flag } from './types.js'
export { type Conditions, forwardedConditions, handlerValidators } from './validation.js'
export { type Freshened, freshen } from './freshening.js'
export { gatewayTimeout } from './response.js'
export { headUpdate } from './freshening.js'
export type { HttpOptions } from './options.js'
export type { HttpPolicy } from './options.js'
export { type InvalidationPolicy, invalidationOf, isSafe } from './invalidation.js'
export type { BypassReason, RefusalReason, ReuseReason } from './types.js'
export { resolveHttpPolicy } from './options.js'
export { planRequest, planWrite } from './request-plan.js'
export { buildMissResponse } from './response.js'
export { isFailure, isSuccess } from './storage.js'
export { decideStore } from './storage.js'
export { buildStoredResponse } from './response.js'
export { toStored, withBody } from './response.js'
export { mostRecent, selectedFields } from './vary.js'
export { evaluateReuse } from './reuse.js'
