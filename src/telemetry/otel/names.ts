import type * as OpenTelemetry from '@opentelemetry/api'

/*
 * Every name that reaches OpenTelemetry, in one place: OpenTelemetry has no semantic convention for caches yet, and one
 * would be adopted here. docs/telemetry.md explains each.
 */

export type Api = typeof OpenTelemetry

/** The name of tracer and meter. */
export const SCOPE = 'redwell'

/** Names of spans. */
export const SPAN = {
  get: 'cache.get',
  set: 'cache.set',
  put: 'cache.put',
  evict: 'cache.evict',
  /** Followed by the method of the data cache in snake case: `cache.backend.get_or_set`. */
  backend: 'cache.backend.',
  rateLimit: 'ratelimit.hit',
  /** Followed by the operation in snake case: `session.load`, `session.revoke_all`. */
  session: 'session.',
} as const

/** Names of metrics. */
export const METRIC = {
  requests: 'redwell.cache.requests',
  stale: 'redwell.cache.stale',
  collapsed: 'redwell.cache.collapsed',
  waits: 'redwell.cache.waits',
  refreshes: 'redwell.cache.refreshes',
  writes: 'redwell.cache.writes',
  fenced: 'redwell.cache.fenced',
  refusals: 'redwell.cache.refusals',
  evictions: 'redwell.cache.evictions',
  bytes: 'redwell.cache.bytes',
  latency: 'redwell.cache.latency',
  breakerChanges: 'redwell.cache.breaker.changes',
  breakerOpen: 'redwell.cache.breaker.open',
  available: 'redwell.cache.available',
  retries: 'redwell.cache.invalidation.retries',
  unconfirmed: 'redwell.cache.invalidation.unconfirmed',
  nearTrusted: 'redwell.cache.near.trusted',
  rateLimitRequests: 'redwell.ratelimit.requests',
  rateLimitLatency: 'redwell.ratelimit.latency',
  sessionOperations: 'redwell.session.operations',
  sessionLatency: 'redwell.session.latency',
} as const

/** Names of attributes of spans and labels of metrics. */
export const ATTRIBUTE = {
  route: 'cache.route',
  namespace: 'cache.namespace',
  operation: 'cache.operation',
  outcome: 'cache.outcome',
  reason: 'cache.reason',
  hit: 'cache.hit',
  /** Seconds. */
  ttl: 'cache.ttl',
  /** Seconds. */
  age: 'cache.age',
  write: 'cache.write',
  result: 'cache.result',
  target: 'cache.target',
  direction: 'cache.direction',
  state: 'cache.state',
  holder: 'cache.holder',
  confirmed: 'cache.confirmed',
  scope: 'ratelimit.scope',
  limit: 'ratelimit.limit',
  limitOutcome: 'ratelimit.outcome',
  sessionOperation: 'session.operation',
  sessionOutcome: 'session.outcome',
  /** On request. */
  groups: 'cache.groups',
  /** On request. */
  key: 'cache.key',
  /** The registry's own: low-cardinality cause of a failure. */
  errorType: 'error.type',
  /** Address of Redis, or of the seeds. */
  server: 'cache.server',
  prefix: 'cache.prefix',
} as const

/**
 * Seconds: from 50 µs, below which only memory answers, to 10 s, the longest that a request waits for another
 * request's run.
 */
export const LATENCY_BOUNDARIES: readonly number[] = [
  0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]
