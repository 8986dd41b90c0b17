import type { RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import { valueAt } from '../value-at.js'
import type { CommandArgument, CommandChannel, Reply } from './command.js'
import {
  closeClient,
  clusterSender,
  connectClient,
  connectNode,
  duplicateOnce,
  isCluster,
  isSentinel,
  type MasterClient,
  masterOf,
  primariesOf,
  primaryFor,
  sender,
} from './driver.js'
import {
  anyOf,
  type ClientPort,
  type ClusterNode,
  type ClusterPort,
  type MessageConnection,
  type MessageEvents,
  offline,
} from './port.js'
import type { NodeRedis } from './settings.js'

const LIFE_EVENTS = [
  'connect',
  'end',
  'reconnecting',
  'terminated',
  'disconnect',
  'node-reconnecting',
  'node-disconnect',
  'topology-change',
] as const

/**
 * After any of these events a sentinel client's subscription connection may have moved to another node. A superfluous
 * reset is harmless: a waiter that was woken for nothing looks up once more.
 */
const MOVE_EVENTS = ['ready', 'topology-change'] as const

/** The port of a client of node-redis. */
export function nodeRedisPort(client: NodeRedis): ClientPort {
  return {
    topology: isCluster(client) ? 'cluster' : isSentinel(client) ? 'sentinel' : 'standalone',
    cluster: isCluster(client) ? new Nodes(client) : undefined,
    get isOpen() {
      return client.isOpen
    },
    channel(where) {
      if (isSentinel(client)) return sentinelChannel(client, where)
      if (isCluster(client)) return { where, mayBeReplica: true, isReady: () => false, send: () => offline(where) }
      return { where, mayBeReplica: false, isReady: () => client.isReady, send: sender(client) }
    },
    connect: () => connectClient(client),
    close: () => closeClient(client),
    listen({ failed, changed }) {
      // Events carry arguments of their own.
      const update = (): void => changed()
      const ready = (node?: { readonly host: string; readonly port: number }): void =>
        changed(node === undefined ? '' : `${node.host}:${node.port}`)
      const listen = (method: 'on' | 'off'): void => {
        for (const event of ['error', 'node-error'] as const) client[method](event, failed)
        for (const event of ['ready', 'node-ready'] as const) client[method](event, ready)
        for (const event of LIFE_EVENTS) client[method](event, update)
      }
      listen('on')
      return () => listen('off')
    },
    duplicate: () => nodeRedisPort(client.duplicate()),
    messages: (events) => (isSentinel(client) ? messagesOfSentinel(client, events) : ownMessages(client, events)),
  }
}

/**
 * The master, over the driver's own connection to it: through the sentinels' client a command waits whenever the
 * sentinels are asked for the master, for as long as none of them answers, though the master is well.
 */
function sentinelChannel(sentinel: RedisSentinelType, where: string): CommandChannel {
  let master: MasterClient | undefined
  let send: CommandChannel['send'] = () => offline(where)
  let changed: (renewed: boolean) => void = () => {}
  let looking = false
  const use = (client: MasterClient): void => {
    if (client === master) return
    master = client
    send = sender(client)
    client.on('error', () => changed(false))
    client.on('ready', () => changed(true))
    changed(false)
  }
  const look = async (): Promise<void> => {
    looking = true
    // Where there is none at the moment, the next look asks again.
    await masterOf(sentinel).then(use, () => {})
    looking = false
  }
  return {
    where,
    address: () => addressOf(master?.options?.socket),
    mayBeReplica: false,
    isReady() {
      // The driver closes its connection to a master that was demoted.
      if (master?.isOpen !== true && !looking && sentinel.isOpen) void look()
      return master?.isReady === true
    },
    send: (args, key) => send(args, key),
    watch(listener) {
      changed = listener
    },
  }
}

function addressOf(socket: object | undefined): string | undefined {
  const { host, port } = (socket ?? {}) as { readonly host?: string; readonly port?: number }
  return host === undefined ? undefined : `${host.includes(':') ? `[${host}]` : host}:${port}`
}

class Nodes implements ClusterPort {
  readonly redirect: CommandChannel['send']
  readonly #nodes = new WeakMap<DriverNode, ClusterNode>()

  constructor(private readonly cluster: RedisClusterType) {
    this.redirect = clusterSender(cluster)
  }

  isReady(): boolean {
    return this.cluster.isReady
  }

  primaries(): readonly ClusterNode[] {
    return primariesOf(this.cluster).map((node) => this.#nodeOf(node))
  }

  primaryFor(key: string): ClusterNode | undefined {
    const node = primaryFor(this.cluster, key)
    return node && this.#nodeOf(node)
  }

  #nodeOf(node: DriverNode): ClusterNode {
    return valueAt(this.#nodes, node, () => nodeOf(this.cluster, node))
  }
}

type DriverNode = ReturnType<typeof primariesOf>[number]

function nodeOf(cluster: RedisClusterType, node: DriverNode): ClusterNode {
  const { address } = node
  let client: DriverNode['client']
  let send: (args: readonly CommandArgument[]) => Promise<Reply> = () => offline(address)
  return {
    address,
    isReady: () => node.client?.isReady === true,
    connect: () => connectNode(cluster, node),
    send(args) {
      if (node.client?.isReady !== true) return offline(address)
      if (node.client !== client) {
        client = node.client
        send = sender(client)
      }
      return send(args)
    },
  }
}

/** A sentinel client keeps a connection for subscriptions, and moves it along with the master. */
function messagesOfSentinel(client: RedisSentinelType, { ready }: MessageEvents): MessageConnection {
  const moved = (): void => ready()
  const connect = async (): Promise<void> => {
    for (const event of MOVE_EVENTS) client.on(event, moved)
    ready()
  }
  const close = async (): Promise<void> => {
    for (const event of MOVE_EVENTS) client.off(event, moved)
  }
  return messagesOf(client, connect, close)
}

function ownMessages(
  of: RedisClientType | RedisClusterType,
  { failed, ready, ended }: MessageEvents,
): MessageConnection {
  const client = isCluster(of) ? duplicateOnce(readyNode(of)) : of.duplicate()
  client.on('error', failed)
  // The driver subscribes anew before it emits this.
  client.on('ready', ready)
  client.on('terminated', ended)
  const connect = (): Promise<unknown> => client.connect()
  return messagesOf(client, connect, () => closeClient(client))
}

type Messaging = Pick<RedisClientType, 'isReady' | 'subscribe' | 'unsubscribe'>

/** Messages as bytes. */
function messagesOf(
  client: RedisClientType | RedisSentinelType,
  connect: MessageConnection['connect'],
  close: MessageConnection['close'],
): MessageConnection {
  const messaging = client as Messaging
  return {
    get isReady() {
      return messaging.isReady
    },
    connect,
    subscribe: (channel, listener) => messaging.subscribe(channel, listener, true),
    unsubscribe: (channel, listener) => messaging.unsubscribe(channel, listener, true),
    close,
  }
}

function readyNode(cluster: RedisClusterType): RedisClientType {
  return anyOf(primariesOf(cluster).flatMap(({ client }) => (client?.isReady === true ? [client] : [])))
}
