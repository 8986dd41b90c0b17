export { CacheBackend } from './cache/backend.js'
export type {
  GetOptions,
  GetOrSetOptions,
  Loader,
  LoaderContext,
  SetResult,
  SweepOptions,
  ValueEntry,
} from './cache/backend.js'
export type { Key, KeyParams, KeyPart, QueryRule } from './cache/key.js'
export type { ValueOptions } from './cache/options.js'
export type { Evicted } from './cache/space.js'
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
export { OptionsError, RedwellError, SettingsError, UnavailableError, UsageError, ValueError } from './errors.js'
export type { UnavailableReason } from './errors.js'
export type { RefusalReason } from './http/index.js'
export type { Logger } from './logger.js'
export type { BypassReason, MissReason } from './route/lookup.js'
export { createRedis, Redis } from './redis.js'
export type { RedisOptions } from './redis.js'
export type { CacheEvictOptions, CacheOptions, CachePutOptions, ResponseOptions, WriteResult } from './route/options.js'
