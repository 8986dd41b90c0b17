import { setTimeout as pause } from 'node:timers/promises'
import { UnavailableError } from '../errors.js'
import type { CommandArgument, CommandChannel, Reply } from './command.js'
import { NodeConnection, type NodeOptions } from './node-connection.js'
import { type ClientPort, type ClusterNode, type ClusterPort, codeOf, isReply } from './port.js'

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

export function connectNodes({ cluster, channel }: ClientPort, options: TopologyOptions): NodeConnections {
  const { where, replicas } = options
  const open = (to: CommandChannel): NodeConnection =>
    new NodeConnection(replicas === undefined ? to : replicatedChannel(to, replicas), options)
  if (cluster === undefined) return singleNode(open(channel(where)))
  // Which node answered matters to WAIT, so a redirection that was followed is reported all the same.
  return new ClusterNodes(cluster, (node) => open(clusterChannel(cluster, node, replicas === undefined)))
}

function singleNode(node: NodeConnection): NodeConnections {
  return {
    of: () => node,
    all: () => [node],
    refresh: (renewed) => node.refresh(renewed !== undefined),
    stop: () => node.stop(),
  }
}

/** A connection for each primary, so that one that hangs does not affect keys of the others. */
class ClusterNodes implements NodeConnections {
  readonly #connections = new Map<ClusterNode, NodeConnection>()
  #next = 0

  constructor(
    private readonly cluster: ClusterPort,
    private readonly open: (node: ClusterNode) => NodeConnection,
  ) {}

  of(key: string | undefined): NodeConnection | undefined {
    const node = key === undefined ? undefined : this.cluster.primaryFor(key)
    // For a slot that the driver does not know, any node answers with a redirection, from which the driver learns it.
    return node === undefined ? this.#any() : this.#connectionOf(node)
  }

  all(): readonly NodeConnection[] {
    return this.cluster.isReady() ? this.cluster.primaries().map((node) => this.#connectionOf(node)) : []
  }

  refresh(renewed?: string): void {
    const nodes = new Set(this.cluster.primaries())
    for (const [node, connection] of this.#connections) {
      if (nodes.has(node)) continue
      connection.stop()
      this.#connections.delete(node)
    }
    for (const node of nodes) {
      node.connect()
      this.#connectionOf(node).refresh(node.address === renewed)
    }
  }

  stop(): void {
    for (const connection of this.#connections.values()) connection.stop()
  }

  /** Round robin, so that commands without a key are spread over the primaries. */
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
    node.connect()
    return connection
  }
}

/**
 * One primary of a cluster, asked directly: the driver's own way makes a plan for each command, and waits where the
 * node is away. Redirections are left to the driver, which then learns the new topology. `follow: false` reports them
 * as errors all the same.
 */
function clusterChannel(cluster: ClusterPort, node: ClusterNode, follow: boolean): CommandChannel {
  return {
    where: node.address,
    mayBeReplica: true,
    isReady: () => node.isReady(),
    async send(args, key) {
      const again = (): Promise<Reply> => cluster.redirect(args, key)
      try {
        return await node.send(args)
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
