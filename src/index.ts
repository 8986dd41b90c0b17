export { CacheBackend } from './cache/backend.js'
export { jsonCoder } from './cache/coder.js'
export type { Coder } from './cache/coder.js'
export type { CompressionCodec, CompressionOptions } from './cache/compression.js'
export type {
  BatchContext,
  BatchLoader,
  GetOptions,
  GetOrSetManyOptions,
  GetOrSetOptions,
  ReadOptions,
  SetItem,
  SetOptions,
  SetResult,
  ValueEntry,
  ValueMissReason,
} from './cache/contract.js'
export type { ExplainedEntry, ExplainRequest, Explanation } from './cache/explanation.js'
export type { Frozen } from './cache/immutable.js'
export { valueKey } from './cache/key.js'
export type { Key, KeyParams, KeyPart, QueryRule } from './cache/key.js'
export type { LoadContext, Loader, LoaderContext, Previous, StoreOptions } from './cache/loader.js'
export type { MatchOptions, SweepOptions } from './cache/matching.js'
export type { Memoized, MemoizeOptions } from './cache/memoize.js'
export { Namespace } from './cache/namespace.js'
export type { NamespaceOptions } from './cache/namespace-options.js'
export type { LoadOptions, ValueOptions } from './cache/options.js'
export type { SchemaInput, SchemaOutput, StandardSchema } from './cache/schema.js'
export type { Evicted } from './cache/space.js'
export type { WriteStamp } from './cache/write-stamp.js'
export type { NodeRedis } from './connection/client.js'
export type { ConnectionStatus } from './connection/connection.js'
export type { ConnectionCounters } from './connection/counters.js'
export type {
  ClusterOptions,
  Credentials,
  RedisSettings,
  ResolvedSettings,
  SentinelOptions,
  TlsOptions,
} from './connection/settings.js'
export type { Duration } from './duration.js'
export type { ByReason, Latency, OriginStats } from './diagnostics/counts.js'
export type { CacheStats } from './diagnostics/telemetry.js'
export {
  OptionsError,
  RedwellError,
  SettingsError,
  TimeoutError,
  UnavailableError,
  UsageError,
  ValueError,
} from './errors.js'
export type { UnavailableReason } from './errors.js'
export type { RefusalReason } from './http/index.js'
export type { Logger } from './logger.js'
export type { BypassReason, MissReason } from './route/lookup.js'
export { createRedis, Redis } from './redis.js'
export type { RedisOptions } from './redis.js'
export type {
  CacheEvictOptions,
  CacheOptions,
  CachePutOptions,
  ResponseDefaults,
  ResponseOptions,
  WriteResult,
} from './route/options.js'
