import type { RedisClusterType, RedisSentinelType } from '@redis/client'
import { setTimeout as pause } from 'node:timers/promises'
import { UnavailableError } from '../errors.js'
import type { CommandArgument, CommandChannel, Reply } from './command.js'
import {
  type ClusterNode,
  clusterSender,
  codeOf,
  connectNode,
  isCluster,
  isReply,
  isSentinel,
  type MasterClient,
  masterOf,
  primariesOf,
  primaryFor,
  sender,
} from './driver.js'
import { NodeConnection, type NodeOptions } from './node-connection.js'
import type { NodeRedis } from './settings.js'

export type Topology = 'standalone' | 'cluster' | 'sentinel'

export function topologyOf(client: NodeRedis): Topology {
  return isCluster(client) ? 'cluster' : isSentinel(client) ? 'sentinel' : 'standalone'
}

/** The servers behind a client: one, or every primary of a cluster. */
export interface NodeConnections {
  /** The node that has this key; without a key, one that is ready. Undefined where no node is known. */
  of(key: string | undefined): NodeConnection | undefined
  all(): readonly NodeConnection[]
  /** Compares with the driver's connections. `renewed` names a server that has just been connected. */
  refresh(renewed?: string): void
  stop(): void
}

interface TopologyOptions extends NodeOptions {
  /** Names the server or the sentinels in messages. */
  readonly where: string
  /** Replicas that must acknowledge each command, and how long the server itself waits for them. */
  readonly replicas: { readonly count: number; readonly limitMs: number } | undefined
}

export function connectNodes(client: NodeRedis, options: TopologyOptions): NodeConnections {
  const { where, replicas } = options
  const open = (channel: CommandChannel): NodeConnection =>
    new NodeConnection(replicas === undefined ? channel : replicatedChannel(channel, replicas), options)
  if (isCluster(client)) {
    // Which node answered matters to WAIT, so a redirection that was followed is reported all the same.
    return new ClusterNodes(client, (node) => open(clusterChannel(client, node, replicas === undefined)))
  }
  if (isSentinel(client)) return singleNode(open(sentinelChannel(client, where)))
  return singleNode(open({ where, mayBeReplica: false, isReady: () => client.isReady, send: sender(client) }))
}

function singleNode(node: NodeConnection): NodeConnections {
  return {
    of: () => node,
    all: () => [node],
    refresh: (renewed) => node.refresh(renewed !== undefined),
    stop: () => node.stop(),
  }
}

/** A connection for each primary, so that one that hangs costs nothing to keys that live elsewhere. */
class ClusterNodes implements NodeConnections {
  readonly #connections = new Map<ClusterNode, NodeConnection>()
  #next = 0

  constructor(
    private readonly cluster: RedisClusterType,
    private readonly open: (node: ClusterNode) => NodeConnection,
  ) {}

  of(key: string | undefined): NodeConnection | undefined {
    const node = key === undefined ? undefined : primaryFor(this.cluster, key)
    // For a slot that the driver does not know, any node answers with a redirection, from which the driver learns it.
    return node === undefined ? this.#any() : this.#connectionOf(node)
  }

  all(): readonly NodeConnection[] {
    return this.cluster.isReady ? primariesOf(this.cluster).map((node) => this.#connectionOf(node)) : []
  }

  refresh(renewed?: string): void {
    const nodes = new Set(primariesOf(this.cluster))
    for (const [node, connection] of this.#connections) {
      if (nodes.has(node)) continue
      connection.stop()
      this.#connections.delete(node)
    }
    for (const node of nodes) {
      connectNode(this.cluster, node)
      this.#connectionOf(node).refresh(node.address === renewed)
    }
  }

  stop(): void {
    for (const connection of this.#connections.values()) connection.stop()
  }

  /** Takes turns, so that keyless commands are spread over the primaries. */
  #any(): NodeConnection | undefined {
    const connections = this.all()
    this.#next += 1
    const ready = connections.filter(({ state }) => state === 'ready')
    return ready[this.#next % ready.length] ?? connections[0]
  }

  #connectionOf(node: ClusterNode): NodeConnection {
    const known = this.#connections.get(node)
    if (known !== undefined) return known
    const connection = this.open(node)
    this.#connections.set(node, connection)
    connectNode(this.cluster, node)
    return connection
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

/**
 * One primary of a cluster, asked directly: the driver's own way makes a plan for each command, and waits where the
 * node is away. Redirections are left to the driver, which then learns the new topology. `follow: false` reports them
 * as errors all the same.
 */
function clusterChannel(cluster: RedisClusterType, node: ClusterNode, follow: boolean): CommandChannel {
  const redirect = clusterSender(cluster)
  let client: ClusterNode['client']
  let send: CommandChannel['send'] = () => offline(node.address)
  return {
    where: node.address,
    mayBeReplica: true,
    isReady: () => node.client?.isReady === true,
    async send(args, key) {
      if (node.client?.isReady !== true) return offline(node.address)
      if (node.client !== client) {
        client = node.client
        send = sender(client)
      }
      const again = (): Promise<Reply> => redirect(args, key)
      try {
        return await send(args, key)
      } catch (error) {
        const code = isReply(error) ? codeOf(error) : undefined
        if (code === 'TRYAGAIN') return tryAgain(again, error)
        if (code !== 'MOVED' && code !== 'ASK') throw error
        const reply = await again().catch((refused: unknown) => tryAgain(again, refused))
        if (follow) return reply
        throw error
      }
    },
  }
}

/** While a slot moves, a script whose keys are on both sides is refused; it is tried again after each of these. */
const TRY_AGAIN_MS = [2, 5, 15]

async function tryAgain(send: () => Promise<Reply>, first: unknown): Promise<Reply> {
  let refused = first
  for (const delayMs of TRY_AGAIN_MS) {
    if (!isReply(refused) || codeOf(refused) !== 'TRYAGAIN') break
    await pause(delayMs)
    try {
      return await send()
    } catch (error) {
      refused = error
    }
  }
  throw refused
}

/** The driver may hold a command back while it looks for a server; ours are sent now or not at all. */
function offline(where: string): Promise<never> {
  return Promise.reject(new Error(`Redis at ${where} is not connected.`))
}

/** Questions about the server itself, which replicas need not have. */
const UNREPLICATED = new Set<CommandArgument | undefined>(['INFO', 'PING'])

/**
 * A channel whose commands are answered when enough replicas have them. WAIT covers what was written before it on its
 * own connection, and holds up everything behind it; so this is for a connection of its own.
 */
function replicatedChannel(
  channel: CommandChannel,
  { count, limitMs }: NonNullable<TopologyOptions['replicas']>,
): CommandChannel {
  const wait = ['WAIT', String(count), String(Math.ceil(limitMs))]
  return {
    ...channel,
    async send(args, key) {
      if (UNREPLICATED.has(args[0])) return channel.send(args, key)
      const [reply, acknowledged] = await Promise.all([channel.send(args, key), channel.send(wait, key)])
      if (Number(acknowledged) >= count) return reply
      throw new UnavailableError('error', `Only ${Number(acknowledged)} of ${count} replicas have the invalidation.`)
    },
  }
}
