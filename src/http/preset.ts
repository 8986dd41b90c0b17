import type { HttpPolicy } from './http-policy.js'

/** Option values of a preset; a preset is nothing more. */
export interface Preset extends Omit<HttpPolicy, OfTheRoute> {
  /** Whether `REDIS_DEFAULT_TTL` counts where nobody gives a lifetime. */
  readonly useDefaultTtl: boolean
  readonly statuses: 'any' | undefined
}

/** What no preset has an opinion on. */
type OfTheRoute =
  | 'preset'
  | 'ttlMs'
  | 'statuses'
  | 'defaultTtlMs'
  | 'swrMs'
  | 'sieMs'
  | 'jitter'
  | 'override'
  | 'vary'
  | 'varyRules'
  | 'hasPrincipal'
  | 'private'
  | 'unsafeShared'
  | 'personal'
  | 'unkeyedFields'

/** The field only this cache reads; it never leaves the server. */
export const OWN_TARGET = 'redis-cache-control'

/** Larger bodies cost more to keep and to move than most handlers to run. */
const BODY_BYTES_MAX = 10 * 1024 * 1024
/** What Node and most proxies accept as a response head is 8 to 16 KiB. */
const HEADER_BYTES_MAX = 8 * 1024
/** Long enough that a client's next visit can still be answered by a validation. */
const RETAIN_MS = 3_600_000
/** The share of the time since Last-Modified that RFC 9111 section 4.2.2 calls typical. */
const HEURISTIC = 0.1

const APP: Preset = {
  useDefaultTtl: true,
  retainMs: 0,
  staleOnError: false,
  statuses: undefined,
  heuristic: 0,
  maxBodyBytes: BODY_BYTES_MAX,
  maxHeaderBytes: HEADER_BYTES_MAX,
  clientDirectives: 'honour',
  auth: 'bypass',
  setCookie: 'refuse',
  unkeyedReads: 'refuse',
  encoded: 'vary',
  etag: true,
  statusHeader: true,
  cacheStatus: undefined,
  freshnessHeaders: 'auto',
  targets: [OWN_TARGET],
  revalidate: true,
  validateOtherVariants: false,
  forwardConditionals: false,
  partial: false,
  headUpdate: false,
  postContentLocation: false,
  autoInvalidate: true,
  invalidateLocations: true,
  groupInvalidation: true,
  invalidateSharedGroups: false,
  emitCacheGroups: false,
  host: false,
  collapse: true,
}

const RFC9111: Preset = {
  ...APP,
  useDefaultTtl: false,
  retainMs: RETAIN_MS,
  statuses: 'any',
  heuristic: HEURISTIC,
  staleOnError: true,
  setCookie: 'store',
  unkeyedReads: 'ignore',
  encoded: 'store',
  cacheStatus: 'redwell',
  forwardConditionals: true,
  partial: true,
  headUpdate: true,
  postContentLocation: true,
  host: true,
}

export const PRESETS = { app: APP, rfc9111: RFC9111 } as const
