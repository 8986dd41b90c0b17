export {
  type Conditions,
  endFreshness,
  forwardedConditions,
  type Freshened,
  freshen,
  handlerValidators,
  headUpdate,
} from './conditions.js'
export { withoutFreshness } from './freshness.js'
export { ADDRESSES, CLIENT_ADDRESS, CREDENTIALS, type HeaderList } from './fields.js'
export { type InvalidationPolicy, invalidationOf, isSafe, isSuccess } from './invalidation.js'
export { type Check, checkDuration, choice, flag, fraction, Option, resolveOptions } from './option.js'
export { HTTP_OPTIONS, type HttpOptions, type HttpPolicy, resolveHttpPolicy } from './options.js'
export { buildFreshHit, buildMissResponse, buildStoredResponse, gatewayTimeout } from './response.js'
export { evaluateReuse, planRequest, planWrite } from './reuse.js'
export {
  decideStore,
  hasNonce,
  LATE_CACHE_CONTROL,
  LATE_COOKIE,
  isFailure,
  declaredLength,
  isTruncated,
  type RunContext,
  toStored,
  withBody,
} from './storage.js'
export {
  type BypassReason,
  Flag,
  type Lifetimes,
  OutgoingResponse,
  type RefusalReason,
  type Refused,
  type RequestHead,
  type RequestPlan,
  type ResponseHead,
  type ReuseDecision,
  type ReuseReason,
  type Storable,
  type StoreDecision,
  type StoredResponse,
  type StoredResponseContext,
} from './types.js'
export {
  cookieOf,
  cookiesOnly,
  mostRecent,
  type SelectedField,
  selectedFields,
  type VaryOption,
  type VaryResult,
  type VaryValue,
} from './vary.js'
