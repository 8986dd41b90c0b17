import { CacheScope } from './cache/cache-scope.js'
import { CacheBackend } from './data/backend.js'
import { UsageError } from './errors.js'
import { consoleLogger, type Logger } from './logger.js'
import { observeDriver } from './redis/driver.js'
import { Connection } from './redis/connection.js'
import { resolveSettings } from './redis/resolve-settings.js'
import type { NodeRedis, RedisSettings, ResolvedSettings } from './redis/settings.js'
import { type ConnectionCounters, type ConnectionStatus, noCounts } from './redis/status.js'
import type { ResponseDefaults } from './route/options.js'
import { Memory, MemoryStore } from './store/memory-store.js'
import { RedisStore } from './store/redis-store.js'
import type { Store } from './store/store.js'
import type { Otel } from './telemetry/otel/otel.js'
import { Telemetry } from './telemetry/recorder.js'

export interface RedisOptions extends RedisSettings {
  /** Where changes of state are said. Default: warnings and errors on the console. */
  logger?: Logger | undefined
  /** The store itself, in place of Redis: for tests (see `redwell/testing`). Called once for each prefix. */
  store?: ((prefix: string) => Store) | undefined
  /** Options that routes have when they do not say otherwise, such as `{ preset: 'rfc9111' }` or `{ cacheStatus: 'shop' }`. */
  defaults?: ResponseDefaults | undefined
  /** Milliseconds since the epoch. Default `Date.now`. For tests. */
  now?: (() => number) | undefined
}

/** One application's Redis: the connection, and the cache upon it. */
export class Redis implements AsyncDisposable {
  readonly settings: ResolvedSettings
  /** Values beside the routes. */
  readonly cache: CacheBackend
  readonly logger: Logger
  /** @internal Options of all routes. */
  readonly defaults: ResponseDefaults
  readonly #connection: Connection | undefined
  /** Where invalidations wait for replicas. */
  readonly #replicated: Connection | undefined
  readonly #openStore: (prefix: string) => Store
  readonly #now: () => number
  readonly #telemetry: Telemetry
  readonly #otel: Promise<Otel | undefined> | undefined
  readonly #spaces = new Map<string, CacheScope>()
  #closed = false

  /** @internal Use `createRedis`. */
  constructor(options: RedisOptions = {}) {
    const { logger = consoleLogger, store, now = Date.now, defaults = {}, ...settings } = options
    this.settings = resolveSettings(store === undefined ? settings : { url: 'memory:', ...settings })
    this.logger = logger
    this.defaults = defaults
    this.#now = now
    this.#telemetry = new Telemetry(now)
    for (const warning of this.settings.warnings) logger.warn(warning)
    this.#otel = this.settings.otel ? switchOn(logger) : undefined
    const { kind, otelRedis } = this.settings
    if (otelRedis && kind !== 'memory') observeDriver((message) => logger.warn(message))
    this.#connection = kind === 'memory' ? undefined : new Connection(this.settings, logger)
    this.#replicated = this.#connection?.replicated()
    this.#openStore = store ?? storeOpener(this.#connection, this.#replicated, now)
    this.cache = new CacheBackend(this.space(), this.settings.defaultTtlMs, logger)
    this.#connection?.onStatus((status) => {
      if (status === 'ready') for (const space of this.#spaces.values()) space.retry()
    })
  }

  /** The node-redis client (standalone, cluster or sentinel), for everything that is not caching. */
  get client(): NodeRedis {
    if (this.#connection === undefined) {
      throw new UsageError(
        'The embedded store (memory:) has no Redis client. Set REDIS_URL, or the `url` option, to a Redis server.',
      )
    }
    return this.#connection.client
  }

  get status(): ConnectionStatus {
    if (this.#closed) return 'closed'
    return this.#connection?.status ?? 'ready'
  }

  /** What befell the cache's commands since the start. */
  get counters(): ConnectionCounters {
    return this.#connection?.counters ?? noCounts()
  }

  /** Round trip in milliseconds. Rejects with UnavailableError where Redis does not answer within the command's deadline. */
  async ping(): Promise<number> {
    return (await this.#connection?.ping()) ?? 0
  }

  /** Waits until Redis answers; rejects with UnavailableError when it does not. Without it the connection is made in the background. */
  async connect(): Promise<this> {
    await this.observed()
    await Promise.all([this.#connection?.connect(), this.#replicated?.connect()])
    return this
  }

  /** Begins to connect, if that has not begun. */
  start(): this {
    this.#connection?.start()
    this.#replicated?.start()
    return this
  }

  /** Calls back at each change of status; gives the way to stop. */
  onStatus(listener: (status: ConnectionStatus, previous: ConnectionStatus) => void): () => void {
    return this.#connection?.onStatus(listener) ?? (() => {})
  }

  /** Finishes what is under way and leaves no socket and no timer. A client that was given stays open. */
  async close(): Promise<void> {
    if (this.#closed) return
    await this.cache.settled()
    this.#closed = true
    for (const space of this.#spaces.values()) space.close()
    await Promise.all([this.#connection?.close(), this.#replicated?.close()])
    ;(await this.#otel)?.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @internal Resolves when telemetry sees what happens: its code is loaded where a setting asks for it, and nowhere else. */
  async observed(): Promise<void> {
    await this.#otel
  }

  /** @internal What is cached under the application's prefix, or under one of a route below it. */
  space(prefix?: string): CacheScope {
    const name = prefix === undefined ? this.settings.prefix : `${this.settings.prefix}:${prefix}`
    const known = this.#spaces.get(name)
    if (known !== undefined) return known
    const space = new CacheScope(this.#openStore(name), {
      now: this.#now,
      logger: this.logger,
      telemetry: this.#telemetry,
    })
    this.#spaces.set(name, space)
    return space
  }
}

async function switchOn(logger: Logger): Promise<Otel | undefined> {
  try {
    const { otelFromSettings } = await import('./telemetry/otel/otel.js')
    return otelFromSettings((message) => logger.warn(message))
  } catch (error) {
    logger.warn(`redwell: OpenTelemetry could not be switched on: ${String(error)}`)
    return undefined
  }
}

function storeOpener(
  connection: Connection | undefined,
  replicated: Connection | undefined,
  now: () => number,
): (prefix: string) => Store {
  if (connection !== undefined) return (prefix) => new RedisStore(connection, prefix, replicated)
  const memory = new Memory({ now })
  return (prefix) => new MemoryStore(memory, prefix)
}

/**
 * A Redis connection and the cache upon it, from options or the `REDIS_*` variables. Connects in the background;
 * `connect()` insists, `close()` (or `await using`) ends it.
 *
 * @example
 * await using redis = createRedis({ url: 'redis://localhost:6379' })
 * const stats = await redis.cache.getOrSet('stats', () => db.stats(), { ttl: '1m', group: 'dashboard' })
 */
export function createRedis(options: RedisOptions = {}): Redis {
  return new Redis(options).start()
}
