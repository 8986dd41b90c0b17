import type * as RedisClient from '@redis/client'
import type { RedisClientOptions, RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import { createRequire } from 'node:module'
import type { ResolvedSettings, ResolvedTls } from './settings.js'

/** A node-redis client, of whatever modules and protocol. */
export type NodeRedis = RedisClientType | RedisClusterType | RedisSentinelType

export type Topology = 'standalone' | 'cluster' | 'sentinel'

/** The longest a graceful close waits for replies under way. */
const CLOSE_LIMIT_MS = 1000

/** Commands that may wait for their replies. Over this the server is not keeping up, and the request goes on without. */
const COMMANDS_UNDER_WAY_MAX = 10_000

/** The connection is asked for a sign of life this many times within the socket's time-out. */
const PINGS_PER_TIMEOUT = 3

/** Told to the server by CLIENT SETINFO, beside the driver's own name. */
const CLIENT_TAG = 'redwell'

/** How often the sentinels are asked who the master is, beside what they tell by themselves. */
const SENTINEL_SCAN_MS = 2000

const RECONNECT_FIRST_MS = 25

const RECONNECT_MAX_MS = 250

/** Keeps the processes of one service from coming back in step. */
const RECONNECT_SPREAD_MS = 50

/** Never gives up: a client that stopped trying would need a restart of the application. */
function reconnectDelayMs(retries: number): number {
  return (
    Math.min(RECONNECT_FIRST_MS * 2 ** Math.min(retries, 4), RECONNECT_MAX_MS) + Math.random() * RECONNECT_SPREAD_MS
  )
}

/** The client an application is given, and that the cache sends through. Not connected yet. */
export function makeClient(settings: ResolvedSettings): NodeRedis {
  switch (settings.kind) {
    case 'cluster':
      return makeCluster(settings)
    case 'sentinel':
      return makeSentinel(settings)
    default:
      return makeStandalone(settings)
  }
}

type Options = RedisClientOptions & { RESP: 3 }

function commonOptions(settings: ResolvedSettings): Options {
  return {
    // Typed 3 whatever it is: the driver's types differ by protocol, its runtime does not for what we use.
    RESP: settings.resp as 3,
    disableOfflineQueue: true,
    commandsQueueMaxLength: COMMANDS_UNDER_WAY_MAX,
    pingInterval: Math.max(1, Math.floor(settings.socketTimeoutMs / PINGS_PER_TIMEOUT)),
    maintNotifications: 'disabled',
    clientInfoTag: CLIENT_TAG,
    ...identity(settings),
  }
}

function identity(
  settings: ResolvedSettings,
): Pick<RedisClientOptions, 'username' | 'password' | 'credentialsProvider'> {
  const { credentials, username, password } = settings
  if (credentials !== undefined) {
    return {
      credentialsProvider: {
        type: 'async-credentials-provider',
        credentials: async () => withoutUndefined(await credentials()),
      },
    }
  }
  return withoutUndefined({ username, password: password?.reveal() })
}

function socketOptions(settings: ResolvedSettings): NonNullable<RedisClientOptions['socket']> {
  const timing = {
    connectTimeout: settings.connectTimeoutMs,
    socketTimeout: settings.socketTimeoutMs,
    reconnectStrategy: reconnectDelayMs,
  }
  return settings.tls === undefined ? timing : { ...timing, tls: true, ...tlsOptions(settings.tls) }
}

function tlsOptions(tls: ResolvedTls): object {
  return withoutUndefined({
    cert: tls.cert,
    key: tls.key?.reveal(),
    ca: tls.ca,
    checkServerIdentity: tls.checkHostname ? undefined : () => undefined,
  })
}

function makeStandalone(settings: ResolvedSettings): RedisClientType {
  const [node] = settings.nodes
  return driver().createClient({
    ...commonOptions(settings),
    database: settings.db,
    socket: { ...socketOptions(settings), host: node?.host ?? 'localhost', port: node?.port ?? 6379 } as NonNullable<
      Options['socket']
    >,
  })
}

function makeCluster(settings: ResolvedSettings): RedisClusterType {
  return driver().createCluster({
    RESP: settings.resp as 3,
    rootNodes: settings.nodes.map(({ host, port }) => ({ socket: { host, port } })),
    defaults: { ...commonOptions(settings), socket: socketOptions(settings) },
    topologyRefreshOnReconnectionAttemptStrategy: 1,
    // Otherwise the driver waits for every node before it goes on, and one that is away would hold up all others.
    minimizeConnections: true,
  })
}

function makeSentinel(settings: ResolvedSettings): RedisSentinelType {
  const { nodes = [], masterName = '', username, password } = settings.sentinel ?? {}
  return driver().createSentinel({
    RESP: settings.resp as 3,
    name: masterName,
    // The driver gives up looking for a master after a while; this makes it begin again.
    scanInterval: SENTINEL_SCAN_MS,
    // It tells of a lost connection to the master in no other way.
    passthroughClientErrorEvents: true,
    sentinelRootNodes: nodes.map(({ host, port }) => ({ host, port })),
    nodeClientOptions: { ...commonOptions(settings), database: settings.db, socket: socketOptions(settings) },
    // Credentials of their own, never the master's; the time limits and TLS are those of the whole deployment.
    sentinelClientOptions: {
      ...withoutUndefined({ username, password: password?.reveal() }),
      socket: socketOptions(settings),
    },
  })
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

function withoutUndefined<T extends object>(object: T): Defined<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Defined<T>
}

export function topologyOf(client: NodeRedis): Topology {
  if ('slots' in client) return 'cluster'
  return 'getSentinelNode' in client ? 'sentinel' : 'standalone'
}

/** Graceful while the server answers, and by force when it does not. */
export async function closeClient(client: NodeRedis): Promise<void> {
  if (!client.isOpen) return
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), CLOSE_LIMIT_MS)
  })
  const ready = client.isReady
  const closed = ready
    ? client.close().then(
        () => 'closed' as const,
        () => 'late' as const,
      )
    : 'late'
  if ((await Promise.race([closed, limit])) === 'late') {
    // The driver forgets a socket that is just connecting, and would keep it when it is.
    client.once('connect', () => void destroy(client))
    await destroy(client)
  }
  clearTimeout(timer)
}

async function destroy(client: NodeRedis): Promise<void> {
  try {
    await client.destroy()
  } catch {
    // Closed by itself meanwhile.
  }
}

type Driver = typeof RedisClient

let loaded: Driver | undefined

/**
 * The Redis driver, loaded by the first connection. It takes several times as long to load as all of redwell; an
 * application on the embedded store, a test or a build never needs it.
 */
export function driver(): Driver {
  loaded ??= createRequire(import.meta.url)('@redis/client') as Driver
  return loaded
}

let observed = false

/**
 * Switches on the driver's own OpenTelemetry metrics (`db.client.*`, `redis.client.*`), which it can do once in a
 * process, over the meter provider that is registered at that moment. Channel names stay out of them.
 */
export function observeDriver(warn: (message: string) => void): void {
  if (observed) return
  try {
    driver().OpenTelemetry.init({
      metrics: {
        enabled: true,
        enabledMetricGroups: ['command', 'connection-basic', 'connection-advanced', 'resiliency'],
        hidePubSubChannelNames: true,
      },
    })
    observed = true
  } catch (error) {
    // Without @opentelemetry/api, or where the application has switched it on itself.
    warn(`redwell: the metrics of the Redis driver were not switched on: ${(error as Error).message}`)
  }
}
