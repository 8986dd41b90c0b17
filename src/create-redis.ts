import { CacheScope } from './cache/cache-scope.js'
import { CacheBackend } from './data/backend.js'
import { describeValue, isOptionsObject, SettingsError, unknownOptions, UsageError } from './errors.js'
import { consoleLogger, type Logger } from './logger.js'
import { observeDriver } from './redis/driver.js'
import { isIoRedis } from './redis/ioredis.js'
import { Limits } from './limit/limits.js'
import type { RateLimiterOptions } from './limit/options.js'
import type { RateLimiter } from './limit/rate-limiter.js'
import { Connection } from './redis/connection.js'
import { Desk } from './report/desk.js'
import { type History, MemoryHistory, RedisHistory } from './report/history.js'
import { Reporter } from './report/reporter.js'
import { masked } from './redis/address.js'
import { SETTING_NAMES } from './redis/setting-types.js'
import { resolveSettings } from './redis/resolve-settings.js'
import type { NodeRedis, RedisSettings, ResolvedSettings } from './redis/settings.js'
import { type ConnectionCounters, type ConnectionStatus, noCounts } from './redis/server.js'
import type { ResponseDefaults } from './route/options.js'
import { Sessions } from './session/sessions.js'
import type { SessionOptions } from './session/types.js'
import { Keyspace } from './store/keyspace.js'
import { Memory, MemoryStore } from './store/memory-store.js'
import { NearCache } from './store/near-cache.js'
import { nearStore, trackingOf } from './store/near-store.js'
import { RedisStore } from './store/redis-store.js'
import type { Store } from './store/store.js'
import type { Otel } from './telemetry/otel/index.js'
import { Telemetry } from './telemetry/telemetry.js'

/** Options of `createRedis`: the settings, and what only code can give. */
export interface RedisOptions extends RedisSettings {
  /** Logs changes of state. Default: warnings and errors on the console. */
  logger?: Logger | undefined
  /** The store in place of Redis, for tests (see `redwell/testing`). Called once, with the prefix. */
  store?: ((prefix: string) => Store) | undefined
  /** Options of all routes that do not set their own, such as `{ preset: 'rfc9111' }` or `{ cacheStatus: 'shop' }`. */
  defaults?: ResponseDefaults | undefined
  /** Options of the sessions of this handle's applications. */
  sessions?: SessionOptions | undefined
  /** Milliseconds since the epoch, for tests. Default `Date.now`. */
  now?: (() => number) | undefined
}

/** Options that are no settings; one that is missing here does not compile. */
const OWN_OPTIONS: Readonly<Record<Exclude<keyof RedisOptions, keyof RedisSettings>, true>> = {
  logger: true,
  store: true,
  defaults: true,
  sessions: true,
  now: true,
}

/** @internal For adapters, which have more. */
export const OPTION_NAMES: readonly string[] = [...SETTING_NAMES, ...Object.keys(OWN_OPTIONS)]

/** One application's handle: the connection to Redis and the cache on it. */
export class Redis implements AsyncDisposable {
  /** Settings after all defaults and checks. Safe to log. */
  readonly settings: ResolvedSettings
  /** The data cache. */
  readonly cache: CacheBackend
  /** Where changes of state and warnings go. */
  readonly logger: Logger
  /** @internal Options of all routes. */
  readonly defaults: ResponseDefaults
  /** @internal Everything that is cached through this handle. */
  readonly scope: CacheScope
  /** Lists and ends sessions, and loads one by its cookie. */
  readonly sessions: Sessions
  /** @internal The rate limiters of this handle. */
  readonly limits: Limits
  /** @internal Undefined with the embedded store. */
  readonly connection: Connection | undefined
  /** @internal Names of the keys by which operators and processes communicate. */
  readonly desk: Desk
  /** @internal Lookups of all processes over the last day. */
  readonly history: History
  /** @internal Reports this process to operators. */
  readonly reporter: Reporter
  /** For invalidations that wait for replicas. */
  readonly #replicated: Connection | undefined
  readonly #otel: Promise<Otel | undefined> | undefined
  #closed = false

  /** @internal Use `createRedis`. */
  constructor(options: RedisOptions = {}) {
    checkOptions(options)
    const { logger = consoleLogger, store, now = Date.now, defaults = {}, sessions, ...settings } = options
    this.settings = resolveSettings(store === undefined ? settings : { url: 'memory:', ...settings })
    this.logger = logger
    this.defaults = defaults
    const { kind, prefix, otel, otelRedis, warnings, defaultTtlMs, nearBytes } = this.settings
    for (const warning of warnings) logger.warn(warning)
    this.#otel = otel ? loadOtel(logger) : undefined
    if (otelRedis && kind !== 'memory') observeDriver((message) => logger.warn(message))
    const connection = kind === 'memory' ? undefined : new Connection(this.settings, logger)
    const replicated = connection?.replicated()
    this.connection = connection
    this.#replicated = replicated
    // Freshness is judged by Redis' clock, which all processes share; this process' own may be wrong.
    const redisNow = connection === undefined ? now : () => now() + connection.clockOffsetMs
    const near = nearBytes === undefined ? undefined : new NearCache(nearBytes, redisNow)
    const telemetry = new Telemetry(now, near)
    this.limits = new Limits(connection, { prefix, ...this.settings.rateLimit }, telemetry.limits, logger, now)
    this.sessions = new Sessions(
      {
        ...{ connection, replicated, prefix, logger },
        // Finer than Date.now: what happens within a millisecond has an order, too.
        now: options.now ?? (() => performance.timeOrigin + performance.now()),
        ...{ settings: this.settings.sessions, telemetry: telemetry.sessions },
      },
      sessions,
    )
    const budget = connection === undefined ? undefined : () => connection.commandBudget()
    const bulkBudget = connection === undefined ? undefined : () => connection.bulkBudget()
    const own = (): Store =>
      connection === undefined
        ? new MemoryStore(new Memory({ now }), prefix)
        : redisStore(connection, prefix, replicated, near)
    this.scope = new CacheScope(store === undefined ? own() : checkedStore(store(prefix)), {
      now: redisNow,
      logger,
      telemetry,
      budget,
    })
    this.cache = new CacheBackend(this.scope, defaultTtlMs, logger, { budget, bulkBudget })
    this.desk = new Desk(prefix)
    this.history = connection === undefined ? new MemoryHistory() : new RedisHistory(connection, this.desk)
    this.reporter = new Reporter(connection, this.desk, this.history, {
      telemetry,
      status: () => this.status,
      limiters: () => this.limits.limiters(),
      explain: (request) => this.cache.explain(request),
      pathsOf: (url, which) => this.cache.pathsOf(url, which),
      now: redisNow,
      application: this.settings.application,
      cachesRoutes: () => this.scope.cachesRoutes,
      warn: (message) => logger.warn(message),
    })
    connection?.onStatus((status) => {
      if (status === 'ready') this.scope.retry()
    })
  }

  /** The node-redis client (standalone, cluster or sentinel), for everything other than caching. */
  get client(): NodeRedis {
    if (this.connection === undefined) {
      throw new UsageError(
        'The embedded store (memory:) has no Redis client. Set REDIS_URL, or the `url` option, to a Redis server.',
      )
    }
    const { client } = this.connection
    if (isIoRedis(client))
      throw new UsageError('The client of this Redis is one of ioredis: use the one that you gave.')
    return client
  }

  /** State of the connection; always `ready` on the embedded store until it is closed. */
  get status(): ConnectionStatus {
    if (this.#closed) return 'closed'
    return this.connection?.status ?? 'ready'
  }

  /** Results of the cache's commands since the start. */
  get counters(): ConnectionCounters {
    return this.connection?.counters ?? noCounts()
  }

  /** Round trip in milliseconds. Rejects with UnavailableError if Redis does not answer within the command timeout. */
  async ping(): Promise<number> {
    return (await this.connection?.ping()) ?? 0
  }

  /** Waits until Redis answers; rejects with UnavailableError if it does not. Without it, connecting happens in the background. */
  async connect(): Promise<this> {
    await this.telemetryReady()
    await Promise.all([this.connection?.connect(), this.#replicated?.connect()])
    return this
  }

  /**
   * @internal Waits until Redis answers or the first attempt to connect has failed, for a second at most. Never rejects.
   * Frameworks that get ready before they listen use it, so that their first request finds a connection.
   */
  async attempted(): Promise<void> {
    await this.connection?.attempted()
  }

  /**
   * A limiter of calls by identity, counted across all processes. The same name counts together; the same options give
   * the same limiter. Throws OptionsError with every problem of the options.
   *
   * @example
   * const logins = redis.rateLimiter('logins', { rate: ['5/minute', '30/hour'] })
   * const { allowed, retryAfter } = await logins.hit(email)
   */
  rateLimiter(name: string, options: RateLimiterOptions): RateLimiter {
    return this.limits.limiter(name, options)
  }

  /** Starts to connect in the background, if that has not happened yet. */
  start(): this {
    this.connection?.start()
    this.#replicated?.start()
    if (this.settings.operate) this.reporter.start()
    return this
  }

  /** Calls the listener at each change of status. Returns a function that stops it. */
  onStatus(listener: (status: ConnectionStatus, previous: ConnectionStatus) => void): () => void {
    return this.connection?.onStatus(listener) ?? (() => {})
  }

  /** Waits for background refreshes, then closes all sockets and timers. A client that was passed in stays open. */
  async close(): Promise<void> {
    if (this.#closed) return
    await this.cache.settled()
    if (this.settings.operate) await this.reporter.stop()
    this.#closed = true
    this.scope.close()
    await Promise.all([this.connection?.close(), this.#replicated?.close()])
    ;(await this.#otel)?.stop()
  }

  /** The same as `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal Resolves when OpenTelemetry is loaded, if a setting asks for it: what happens before is not recorded. */
  async telemetryReady(): Promise<void> {
    await this.#otel
  }
}

function redisStore(connection: Connection, prefix: string, replicated?: Connection, near?: NearCache): Store {
  const redis = new RedisStore(connection, prefix, replicated)
  if (near === undefined) return redis
  const keys = new Keyspace(prefix)
  connection.track(keys.groups, trackingOf(near, keys))
  return nearStore(redis, near)
}

/** Values are not shown: a misspelt name may be that of a password. */
function checkOptions(options: unknown): void {
  if (typeof options === 'string')
    throw new SettingsError([`'${masked(options)}' is not an options object; write { url: '${masked(options)}' }`])
  if (typeof options !== 'object' || options === null)
    throw new SettingsError([`${describeValue(options)} is not an options object; write { url: 'redis://…' }`])
  const problems = unknownOptions(options, OPTION_NAMES, false)
  const { logger, store, now, defaults, sessions }: Readonly<Record<string, unknown>> = { ...options }
  for (const [name, value] of Object.entries({ store, now })) {
    if (value !== undefined && typeof value !== 'function')
      problems.push(`${name}: ${describeValue(value)} must be a function`)
  }
  for (const [name, value] of Object.entries({ defaults, sessions })) {
    if (value !== undefined && !isOptionsObject(value))
      problems.push(`${name}: ${describeValue(value)} must be an object of options`)
  }
  if (logger !== undefined && !isLogger(logger))
    problems.push(`logger: ${describeValue(logger)} must have the functions info, warn and error`)
  if (problems.length > 0) throw new SettingsError(problems)
}

/** A class or a handle in place of a function that returns a store would fail at the first request. */
function checkedStore(made: Store): Store {
  if (Object(made) === made && typeof made.prefix === 'string') return made
  throw new SettingsError([`store: the function returned ${describeValue(made)}, which is not a store`])
}

function isLogger(value: unknown): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['info', 'warn', 'error'].every((name) => typeof Reflect.get(value, name) === 'function')
  )
}

async function loadOtel(logger: Logger): Promise<Otel | undefined> {
  try {
    const { otelFromSettings } = await import('./telemetry/otel/index.js')
    return otelFromSettings((message) => logger.warn(message))
  } catch (error) {
    logger.warn(`redwell: OpenTelemetry could not be loaded: ${String(error)}`)
    return undefined
  }
}

/**
 * A connection to Redis and the cache on it, from options or the `REDIS_*` variables. Connects in the background;
 * `connect()` waits for Redis, `close()` (or `await using`) ends it.
 *
 * @example
 * await using redis = createRedis({ url: 'redis://localhost:6379' })
 * const stats = await redis.cache.getOrSet('stats', () => db.stats(), { ttl: '1m', group: 'dashboard' })
 */
export function createRedis(options: RedisOptions = {}): Redis {
  return new Redis(options).start()
}
