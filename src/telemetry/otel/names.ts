import type * as OpenTelemetry from '@opentelemetry/api'

/*
 * Every name that reaches OpenTelemetry, in one place: OpenTelemetry has no semantic convention for caches yet. When it
 * has one, its names go here. docs/telemetry.md explains each.
 */

export type Api = typeof OpenTelemetry

/** The name of tracer and meter. */
export const SCOPE = 'redwell'

/** Names of spans. */
export const SPAN = {
  /** Decision about a request or value. */
  get: 'cache.get',
  /** Storing the result of a miss. */
  set: 'cache.set',
  /** Write-through. */
  put: 'cache.put',
  /** Invalidation. */
  evict: 'cache.evict',
  /** Followed by the method of the data cache in snake case: `cache.backend.get_or_set`. */
  backend: 'cache.backend.',
  /** Call of a rate limiter. */
  rateLimit: 'ratelimit.hit',
  /** Followed by the operation in snake case: `session.load`, `session.revoke_all`. */
  session: 'session.',
} as const

/** Names of metrics. */
export const METRIC = {
  /** Counter of lookups. */
  requests: 'redwell.cache.requests',
  /** Counter of answers past their lifetime. */
  stale: 'redwell.cache.stale',
  /** Counter of answers from another request's run. */
  collapsed: 'redwell.cache.collapsed',
  /** Counter of waits for another request's run. */
  waits: 'redwell.cache.waits',
  /** Counter of background refreshes. */
  refreshes: 'redwell.cache.refreshes',
  /** Counter of attempts to store. */
  writes: 'redwell.cache.writes',
  /** Counter of entries not stored because of an invalidation or another writer. */
  fenced: 'redwell.cache.fenced',
  /** Counter of responses that were sent and not stored. */
  refusals: 'redwell.cache.refusals',
  /** Counter of invalidated keys and groups. */
  evictions: 'redwell.cache.evictions',
  /** Counter of bytes of bodies. */
  bytes: 'redwell.cache.bytes',
  /** Histogram of decisions, stores and invalidations, in seconds. */
  latency: 'redwell.cache.latency',
  /** Counter of changes of the circuit breaker. */
  breakerChanges: 'redwell.cache.breaker.changes',
  /** Gauge: 1 while the circuit breaker is open. */
  breakerOpen: 'redwell.cache.breaker.open',
  /** Gauge: 1 while Redis answers. */
  available: 'redwell.cache.available',
  /** Counter of retried invalidations. */
  retries: 'redwell.cache.invalidation.retries',
  /** Gauge of unconfirmed keys and groups. */
  unconfirmed: 'redwell.cache.invalidation.unconfirmed',
  /** Gauge: 1 while near copies are trusted. */
  nearTrusted: 'redwell.cache.near.trusted',
  /** Counter of calls of rate limiters. */
  rateLimitRequests: 'redwell.ratelimit.requests',
  /** Histogram of decisions of rate limiters, in seconds. */
  rateLimitLatency: 'redwell.ratelimit.latency',
  /** Counter of session operations. */
  sessionOperations: 'redwell.session.operations',
  /** Histogram of session operations, in seconds. */
  sessionLatency: 'redwell.session.latency',
} as const

/** Names of attributes of spans and labels of metrics. */
export const ATTRIBUTE = {
  /** Method and template of the route. */
  route: 'cache.route',
  /** Name of the namespace. */
  namespace: 'cache.namespace',
  /** `get`, `set`, `put` or `evict`. */
  operation: 'cache.operation',
  /** `hit`, `stale`, `miss` or `bypass`. */
  outcome: 'cache.outcome',
  /** Cause of the outcome. */
  reason: 'cache.reason',
  /** Whether the cache answered. */
  hit: 'cache.hit',
  /** Remaining lifetime in seconds. */
  ttl: 'cache.ttl',
  /** Age in seconds. */
  age: 'cache.age',
  /** `fill`, `write_through` or `set`. */
  write: 'cache.write',
  /** Result of a store or an invalidation. */
  result: 'cache.result',
  /** `key` or `group`. */
  target: 'cache.target',
  /** `served` or `stored`. */
  direction: 'cache.direction',
  /** State of the circuit breaker. */
  state: 'cache.state',
  /** `process` or `other-process`. */
  holder: 'cache.holder',
  /** Whether Redis confirmed the invalidation. */
  confirmed: 'cache.confirmed',
  /** Name of the rate limiter, or method and template of the route. */
  scope: 'ratelimit.scope',
  /** Limit of the rate that is reached first. */
  limit: 'ratelimit.limit',
  /** Decision of the rate limiter. */
  limitOutcome: 'ratelimit.outcome',
  /** Operation on a session. */
  sessionOperation: 'session.operation',
  /** Result of the operation. */
  sessionOutcome: 'session.outcome',
  /** Groups of the entry; only with the option `groups`. */
  groups: 'cache.groups',
  /** Key of the entry; only with the option `keys`. */
  key: 'cache.key',
  /** OpenTelemetry's attribute for the cause of a failure. */
  errorType: 'error.type',
  /** Address of Redis, or of the seeds. */
  server: 'cache.server',
  /** Prefix of the keys. */
  prefix: 'cache.prefix',
} as const

/**
 * Seconds: from 50 µs, below which only memory answers, to 10 s, the longest that a request waits for another
 * request's run.
 */
export const LATENCY_BOUNDARIES: readonly number[] = [
  0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]
