/**
 * The connection, the data cache, rate limiters, errors, and the types of options that all frameworks share.
 *
 * @module redwell
 */
export { CacheBackend } from './data/backend.js'
export type { Memoized, MemoizeOptions } from './data/backend.js'
export { jsonCoder } from './data/coder.js'
export type { Coder } from './data/coder.js'
export type { CompressionCodec, CompressionOptions } from './data/compression.js'
export { Namespace } from './data/namespace.js'
export type {
  BatchContext,
  BatchLoader,
  Frozen,
  GetOptions,
  GetOrSetManyOptions,
  GetOrSetOptions,
  LoadContext,
  Loader,
  LoaderContext,
  LoadOptions,
  NamespaceOptions,
  Previous,
  ReadOptions,
  ScanOptions,
  SchemaInput,
  SchemaOutput,
  SetItem,
  SetOptions,
  SetResult,
  StandardSchema,
  StoreOptions,
  ValueEntry,
  ValueMissReason,
  ValueOptions,
} from './data/types.js'
export type { ExplainedEntry, ExplainRequest, Explanation, Refusal } from './cache/explanation.js'
export { valueKey } from './cache/key.js'
export type { Key, KeyParams, KeyPart, PathOptions, QueryRule } from './cache/key.js'
export type { Evicted } from './cache/cache-scope.js'
export type { WriteStamp } from './cache/write.js'
export type { NodeRedis } from './redis/settings.js'
export type { ConnectionCounters, ConnectionStatus } from './redis/server.js'
export type {
  ClusterOptions,
  Credentials,
  NearOptions,
  RedisSettings,
  ResolvedSettings,
  SentinelOptions,
  Pem,
  TlsOptions,
} from './redis/settings.js'
export type { Duration } from './duration.js'
export type { ByReason, CacheStats, Latency, NearStats, OriginStats, RateLimitStats } from './telemetry/stats.js'
export {
  OptionsError,
  RateLimitError,
  RedwellError,
  StatusError,
  SessionError,
  SettingsError,
  TimeoutError,
  UnavailableError,
  UsageError,
  ValueError,
} from './errors.js'
export type { SessionProblem, UnavailableReason } from './errors.js'
export type { RefusalReason } from './http/index.js'
export type { RateLimitHeaders } from './limit/fields.js'
export type { RateLimiterOptions } from './limit/options.js'
export type { RateInput, RateObject, RateText } from './limit/rate.js'
export { RateLimiter } from './limit/rate-limiter.js'
export type { HitOptions, Identity } from './limit/rate-limiter.js'
export type { LimitedResponse, RateLimitInput, RateLimitOptions } from './limit/route-limit.js'
export type { LimitReason, RateLimitPolicy, RateLimitVerdict, VerdictSource } from './limit/verdict.js'
export type { Algorithm } from './limit/window.js'
export { Session } from './session/session.js'
export { Sessions } from './session/sessions.js'
export type { Subject } from './session/sessions.js'
export type {
  Admission as SessionAdmission,
  Change as SessionChange,
  Creation as SessionCreation,
  Described as SessionDescription,
  LoadedRecord as LoadedSession,
  Owned as OwnedSession,
  Revocation as SessionRevocation,
  Rotation as SessionRotation,
  SessionKey,
  SessionStore as SessionStorage,
  SessionTime,
  StoredProperty,
  SubjectEntry as SessionSubjectEntry,
  SubjectEpoch as SessionSubjectEpoch,
} from './session/session-store.js'
export type {
  SessionCoder,
  SessionCookieOptions,
  SessionData,
  SessionEncryptor,
  SessionInfo,
  SessionOptions,
  SessionPrincipal,
  SessionPropertyContext,
  SessionSchema,
} from './session/types.js'
export type { Logger } from './logger.js'
export type { BypassReason, MissReason } from './route/request.js'
export { createRedis, Redis } from './create-redis.js'
export type { RedisOptions } from './create-redis.js'
export type {
  CacheEvictOptions,
  CacheOptions,
  CachePutOptions,
  EntryOptions,
  EvictGroup,
  EvictKey,
  EvictKeyOptions,
  FromResult,
  GroupOption,
  KeyOptions,
  Principal,
  PrincipalOf,
  Privacy,
  ResponseDefaults,
  ResponseOptions,
  WriteResult,
} from './route/options.js'
export type { HttpOptions } from './http/index.js'
export type { VaryBy, VaryFrom, VaryFunction, VaryOption, VaryResult, VaryRule } from './http/vary.js'
export type { MaybePromise } from './maybe-promise.js'
