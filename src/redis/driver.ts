import type * as RedisClient from '@redis/client'
import type { RedisClientOptions, RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import { createRequire } from 'node:module'
import { messageOf, SettingsError } from '../errors.js'
import { type CommandArgument, type CommandChannel, type Reply, slotOf } from './command.js'
import { within } from './port.js'
import { type NodeRedis, type ResolvedSentinel, type ResolvedSettings, withoutUndefined } from './settings.js'

/** The only file that uses @redis/client: how it is loaded, how clients are created, and which members we access. */
type Driver = typeof RedisClient

let loaded: Driver | undefined

/**
 * The Redis driver, loaded by the first connection. It takes several times as long to load as all of redwell; an
 * application on the embedded store, a test or a build never needs it.
 */
function driver(): Driver {
  loaded ??= createRequire(import.meta.url)('@redis/client') as Driver
  return loaded
}

let observed = false

/**
 * Switches on the driver's own OpenTelemetry metrics (`db.client.*`, `redis.client.*`) for the meter provider that is
 * registered now. The driver can do so once in a process. Channel names are left out.
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
    warn(`redwell: the metrics of the Redis driver could not be enabled: ${messageOf(error)}`)
  }
}

/** The longest a graceful close waits for replies. */
const CLOSE_LIMIT_MS = 1000

/** Commands that may wait for their replies. More than this means that the server does not keep up. */
const COMMANDS_QUEUE_MAX = 10_000

/** PINGs within one socket time-out, so that an idle connection is not taken for a dead one. */
export const PINGS_PER_TIMEOUT = 3

/** Sent to the server by CLIENT SETINFO, together with the driver's name. */
const CLIENT_TAG = 'redwell'

/** How often the sentinels are asked for the master, in addition to their own messages. */
const SENTINEL_SCAN_MS = 2000

const RECONNECT_FIRST_MS = 25
const RECONNECT_MAX_MS = 250
/** Jitter, so that the processes of one service do not reconnect in step. */
const RECONNECT_JITTER_MS = 50

/** Never gives up: a client that stopped trying would need a restart of the application. */
function reconnectDelayMs(retries: number): number {
  return (
    Math.min(RECONNECT_FIRST_MS * 2 ** Math.min(retries, 4), RECONNECT_MAX_MS) + Math.random() * RECONNECT_JITTER_MS
  )
}

/** The client that the application uses and that the cache sends through. Not connected yet. */
export function makeClient(settings: ResolvedSettings): NodeRedis {
  if (settings.kind === 'cluster') return makeCluster(settings)
  if (settings.sentinel !== undefined) return makeSentinel(settings, settings.sentinel)
  const { host, port } = settings.nodes[0] ?? { host: 'localhost', port: 6379 }
  return driver().createClient({
    ...commonOptions(settings),
    database: settings.db,
    socket: { ...socketOptions(settings), host, port } as NonNullable<Options['socket']>,
  })
}

type Options = RedisClientOptions & { RESP: 3 }

function commonOptions(settings: ResolvedSettings): Options {
  const { credentials, username, password } = settings
  const authentication: Pick<RedisClientOptions, 'username' | 'password' | 'credentialsProvider'> =
    credentials === undefined
      ? withoutUndefined({ username, password: password?.reveal() })
      : {
          credentialsProvider: {
            type: 'async-credentials-provider',
            credentials: async () => withoutUndefined(await credentials()),
          },
        }
  return {
    // Always typed as 3: the driver's types differ by protocol, but not the parts of its runtime that we use.
    RESP: settings.resp as 3,
    disableOfflineQueue: true,
    commandsQueueMaxLength: COMMANDS_QUEUE_MAX,
    pingInterval: Math.max(1, Math.floor(settings.socketTimeoutMs / PINGS_PER_TIMEOUT)),
    maintNotifications: 'disabled',
    clientInfoTag: CLIENT_TAG,
    ...authentication,
  }
}

function socketOptions(settings: ResolvedSettings): NonNullable<RedisClientOptions['socket']> {
  const timing = {
    connectTimeout: settings.connectTimeoutMs,
    socketTimeout: settings.socketTimeoutMs,
    reconnectStrategy: reconnectDelayMs,
  }
  if (settings.tls === undefined) return timing
  const { cert, key, ca, checkHostname } = settings.tls
  const checkServerIdentity = checkHostname ? undefined : () => undefined
  return { ...timing, tls: true, ...withoutUndefined({ cert, key: key?.reveal(), ca, checkServerIdentity }) } as object
}

function makeCluster(settings: ResolvedSettings): RedisClusterType {
  return driver().createCluster({
    RESP: settings.resp as 3,
    rootNodes: settings.nodes.map(({ host, port }) => ({ socket: { host, port } })),
    defaults: { ...commonOptions(settings), socket: socketOptions(settings) },
    topologyRefreshOnReconnectionAttemptStrategy: 1,
    // Otherwise the driver waits for every node, and one that is unreachable would hold up all others.
    minimizeConnections: true,
  })
}

function makeSentinel(settings: ResolvedSettings, sentinel: ResolvedSentinel): RedisSentinelType {
  const { nodes, masterName, username, password } = sentinel
  return driver().createSentinel({
    RESP: settings.resp as 3,
    name: masterName,
    // The driver stops looking for a master after a while; this makes it start again.
    scanInterval: SENTINEL_SCAN_MS,
    // Its only report of a lost connection to the master.
    passthroughClientErrorEvents: true,
    sentinelRootNodes: nodes.map(({ host, port }) => ({ host, port })),
    nodeClientOptions: { ...commonOptions(settings), database: settings.db, socket: socketOptions(settings) },
    // Credentials of their own, never the master's; time limits and TLS are those of the whole deployment.
    sentinelClientOptions: {
      ...withoutUndefined({ username, password: password?.reveal() }),
      socket: socketOptions(settings),
    },
  })
}

/** Connects. Rejects for a cluster whose slots are not assigned yet, because the driver would not look again. */
export async function connectClient(client: NodeRedis): Promise<void> {
  await client.connect()
  if (!isCluster(client) || client.masters.length > 0) return
  client.destroy()
  throw new Error('the cluster has no primaries yet')
}

/** Closes gracefully while the server answers, and by force when it does not. */
export async function closeClient(client: NodeRedis): Promise<void> {
  if (!client.isOpen) return
  if (client.isReady) {
    try {
      await within(CLOSE_LIMIT_MS, client.close(), () => new Error('late'))
      return
    } catch {
      // By force, then.
    }
  }
  // The driver forgets a socket that is connecting at this moment, and would keep it once it is connected.
  client.once('connect', () => destroy(client))
  destroy(client)
}

function destroy(client: NodeRedis): void {
  // Rejects or throws where the client has closed by itself meanwhile.
  new Promise((resolve) => resolve(client.destroy())).catch(() => {})
}

/** The versions that `checkClient` and test/redis/driver.test.ts were written for; the same range as in package.json. */
export const DRIVER_RANGE = '~6.3.1'

export function isCluster(client: NodeRedis): client is RedisClusterType {
  return 'slots' in client
}

export function isSentinel(client: NodeRedis): client is RedisSentinelType {
  return 'getSentinelNode' in client
}

const MEMBERS = {
  standalone: { withCommandOptions: 'function', sendCommand: 'function', duplicate: 'function', isReady: 'boolean' },
  cluster: { slots: 'object', masters: 'object', nodeClient: 'function', withCommandOptions: 'function' },
  sentinel: { _execute: 'function', withCommandOptions: 'function', subscribe: 'function', isReady: 'boolean' },
} as const

/** Refuses a given client that lacks what is used here: one of another package, or of another version. */
export function checkClient(client: NodeRedis): void {
  const kind = isCluster(client) ? 'cluster' : isSentinel(client) ? 'sentinel' : 'standalone'
  const missing = Object.entries(MEMBERS[kind]).filter(([name, type]) => typeof Reflect.get(client, name) !== type)
  if (missing.length === 0) return
  const names = missing.map(([name]) => name).join(', ')
  throw new SettingsError([`client: is not a client of @redis/client ${DRIVER_RANGE}; it lacks ${names}`])
}

/** `$`, the driver's `RESP_TYPES.BLOB_STRING`. */
const BLOB_STRING = 36

/** No time-out of the driver, which makes an AbortSignal for each command: the deadlines are ours. */
const NO_TIMEOUT: object = { timeout: undefined }

const REPLIES_AS_BYTES: { typeMapping: { [BLOB_STRING]: typeof Buffer } } = {
  ...NO_TIMEOUT,
  typeMapping: { [BLOB_STRING]: Buffer },
}

type Send = (args: readonly CommandArgument[]) => Promise<Reply>

/**
 * Our way to send over the application's client and its connection, with replies as bytes. A view of the client is
 * made once: options given with each command are merged by the driver each time, which doubles the CPU time of a GET.
 */
export function sender(client: Pick<RedisClientType, 'withCommandOptions'>): Send {
  const view = client.withCommandOptions(REPLIES_AS_BYTES)
  return (args) => view.sendCommand<Reply>(args)
}

/** Sends over a whole cluster, following redirections, from which the driver learns the new topology. */
export function clusterSender(cluster: RedisClusterType): CommandChannel['send'] {
  const view = cluster.withCommandOptions(REPLIES_AS_BYTES)
  return (args, key) => view.sendCommand<Reply>(key, false, [...args])
}

export type ClusterNode = RedisClusterType['masters'][number]

/** The primaries that the driver knows. */
export function primariesOf(cluster: RedisClusterType): readonly ClusterNode[] {
  return cluster.masters
}

/** The primary that has the slot of a key. */
export function primaryFor(cluster: RedisClusterType, key: string): ClusterNode | undefined {
  return cluster.slots[slotOf(key)]?.master
}

/** Connects a node. The driver would do so with the first command for it, which would have to wait. */
export function connectNode(cluster: RedisClusterType, node: ClusterNode): void {
  if (node.client !== undefined || node.connectPromise !== undefined || !cluster.isOpen) return
  cluster.nodeClient(node).catch(() => {})
}

export type MasterClient = Pick<RedisClientType, 'withCommandOptions' | 'isOpen' | 'isReady' | 'on' | 'options'>

/** The sentinels' own client of the master. Rejects while they know no master. */
export async function masterOf(sentinel: RedisSentinelType): Promise<MasterClient> {
  // oxlint-disable-next-line no-underscore-dangle -- declared by the driver, and its only way to the client itself
  return sentinel._execute(false, async (client) => client as unknown as MasterClient)
}

/** A second connection to the same server that ends when it is lost. */
export function duplicateOnce(client: RedisClientType): RedisClientType {
  return client.duplicate({ socket: { ...client.options.socket, reconnectStrategy: false } })
}

/** A second connection to the same server that receives the names of changed keys. It does not reconnect. */
export function trackingClient(client: RedisClientType): RedisClientType {
  return client.duplicate({
    RESP: 3,
    emitInvalidate: true,
    socket: { ...client.options.socket, reconnectStrategy: false },
  } as object)
}
