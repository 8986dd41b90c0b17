import type { RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import { setTimeout as pause } from 'node:timers/promises'
import { UnavailableError } from '../errors.js'
import type { NodeRedis, Topology } from './client.js'
import type { CommandArgument, Reply } from './connection.js'
import { codeOf, isReply, NodeConnection, type LaneOptions, type Port } from './node-connection.js'
import { slotOf } from './slot.js'

/** The servers behind a client: one, or every primary of a cluster. */
export interface NodeConnections {
  /** Who has this key; of a cluster any that is ready where no key is named. Undefined where nobody is known. */
  of(key: string | undefined): NodeConnection | undefined
  /** Those there are now. */
  all(): readonly NodeConnection[]
  /** Looks at the driver's connections anew. `renewed` names a server that has just been connected. */
  refresh(renewed?: string): void
  stop(): void
}

export interface Place {
  readonly where: string
  /** Commands count as answered once replicas have them. */
  readonly replicas: Replicas | undefined
}

export function lanesOf(client: NodeRedis, topology: Topology, place: Place, options: LaneOptions): NodeConnections {
  const { where, replicas } = place
  const sure = (port: Port): Port => (replicas === undefined ? port : replicated(port, replicas))
  switch (topology) {
    case 'cluster': {
      const cluster = client as RedisClusterType
      return new ClusterLanes(cluster, (node) => sure(clusterPort(cluster, node, replicas === undefined)), options)
    }
    case 'sentinel':
      return new OneLane(sure(sentinelPort(client as RedisSentinelType, where)), options)
    default:
      return new OneLane(sure(standalonePort(client as RedisClientType, where)), options)
  }
}

class OneLane implements NodeConnections {
  readonly #lane: NodeConnection
  readonly #all: readonly NodeConnection[]

  constructor(port: Port, options: LaneOptions) {
    this.#lane = new NodeConnection(port, options)
    this.#all = [this.#lane]
  }

  of(): NodeConnection {
    return this.#lane
  }

  all(): readonly NodeConnection[] {
    return this.#all
  }

  refresh(renewed?: string): void {
    if (renewed !== undefined && this.#lane.port.isReady()) this.#lane.renewed()
    else this.#lane.refresh()
  }

  stop(): void {
    this.#lane.stop()
  }
}

/** A lane for each primary, so that one that hangs costs nothing to keys that live elsewhere. */
class ClusterLanes implements NodeConnections {
  readonly #cluster: RedisClusterType
  readonly #portOf: (node: ClusterNode) => Port
  readonly #options: LaneOptions
  readonly #lanes = new Map<ClusterNode, NodeConnection>()
  #next = 0

  constructor(cluster: RedisClusterType, portOf: (node: ClusterNode) => Port, options: LaneOptions) {
    this.#cluster = cluster
    this.#portOf = portOf
    this.#options = options
  }

  of(key: string | undefined): NodeConnection | undefined {
    if (key === undefined) return this.#any()
    const node = this.#cluster.slots[slotOf(key)]?.master
    return node === undefined ? undefined : this.#laneOf(node)
  }

  all(): readonly NodeConnection[] {
    return this.#cluster.isReady ? this.#cluster.masters.map((node) => this.#laneOf(node)) : []
  }

  refresh(renewed?: string): void {
    const nodes = new Set<ClusterNode>(this.#cluster.masters)
    for (const [node, lane] of this.#lanes) {
      if (nodes.has(node)) continue
      lane.stop()
      this.#lanes.delete(node)
    }
    for (const node of nodes) this.#look(node, renewed)
  }

  stop(): void {
    for (const lane of this.#lanes.values()) lane.stop()
  }

  #look(node: ClusterNode, renewed: string | undefined): void {
    const lane = this.#laneOf(node)
    this.#open(node)
    if (node.address === renewed && lane.port.isReady()) lane.renewed()
    else lane.refresh()
  }

  #any(): NodeConnection | undefined {
    const lanes = this.all()
    this.#next += 1
    const ready = lanes.filter(({ state }) => state === 'ready')
    return ready[this.#next % ready.length] ?? lanes[0]
  }

  #laneOf(node: ClusterNode): NodeConnection {
    const known = this.#lanes.get(node)
    if (known !== undefined) return known
    const lane = new NodeConnection(this.#portOf(node), this.#options)
    this.#lanes.set(node, lane)
    this.#open(node)
    return lane
  }

  /** The driver connects a node when it is first asked something; a command would have to wait for that. */
  #open(node: ClusterNode): void {
    if (node.client === undefined && node.connectPromise === undefined && this.#cluster.isOpen)
      this.#cluster.nodeClient(node).catch(() => {})
  }
}

export function standalonePort(client: RedisClientType, where: string): Port {
  const view = client.withCommandOptions(REPLIES_AS_BYTES)
  return {
    where,
    mayBeReplica: false,
    isReady: () => client.isReady,
    send: (args) => view.sendCommand(args),
  }
}

/**
 * The master, asked over the driver's own connection to it: through the sentinels' client a command waits whenever the
 * sentinels are asked who the master is, for as long as none of them answers, though the master is well.
 */
export function sentinelPort(sentinel: RedisSentinelType, where: string): Port {
  let master: RedisClientType | undefined
  let view: Pick<RedisClientType, 'sendCommand'> | undefined
  let changed: (renewed: boolean) => void = () => {}
  let looking = false
  const use = (client: RedisClientType): void => {
    if (client === master) return
    master = client
    view = client.withCommandOptions(REPLIES_AS_BYTES) as unknown as Pick<RedisClientType, 'sendCommand'>
    client.on('error', () => changed(false))
    client.on('ready', () => changed(true))
    changed(false)
  }
  const look = async (): Promise<void> => {
    looking = true
    try {
      // oxlint-disable-next-line no-underscore-dangle -- declared by the driver, and its only way to the client itself
      await sentinel._execute(false, async (client) => use(client as unknown as RedisClientType))
    } catch {
      // There is none at the moment; the next look asks again.
    }
    looking = false
  }
  return {
    where,
    mayBeReplica: false,
    isReady() {
      // The driver closes its connection to a master that is one no more.
      if (master?.isOpen !== true && !looking && sentinel.isOpen) void look()
      return master?.isReady === true
    },
    send: (args) => (view === undefined ? offline(where) : view.sendCommand(args)),
    watch(listener) {
      changed = listener
    },
  }
}

export type ClusterNode = RedisClusterType['masters'][number]

/** While a slot moves, a script whose keys are on both sides is refused; it is tried again after each of these. */
const TRY_AGAIN_MS = [2, 5, 15]

/**
 * One primary of a cluster, asked directly: the driver's own way makes a plan for each command, and waits where the
 * node is away. A redirection is left to the driver, which then learns the new topology; `follow: false` makes it an
 * error all the same, for who has to know which node answered.
 */
export function clusterPort(cluster: RedisClusterType, node: ClusterNode, follow = true): Port {
  const whole = cluster.withCommandOptions(REPLIES_AS_BYTES)
  const view = viewer()
  const send = async (args: readonly CommandArgument[], key: string | undefined): Promise<Reply> => {
    const client = node.client
    const again = (): Promise<Reply> => whole.sendCommand(key, false, args as CommandArgument[])
    if (client?.isReady !== true) return offline(node.address)
    try {
      return (await view(client as RedisClientType).sendCommand(args)) as Reply
    } catch (error) {
      const code = isReply(error) ? codeOf(error) : undefined
      if (code === 'TRYAGAIN') return tryAgain(again, error)
      if (code !== 'MOVED' && code !== 'ASK') throw error
      const elsewhere = await again().catch((refused: unknown) => tryAgain(again, refused))
      if (follow) return elsewhere
      throw error
    }
  }
  return {
    where: node.address,
    mayBeReplica: true,
    isReady: () => node.client?.isReady === true,
    send,
  }
}

/** The view of a node's client, made anew when the driver replaces the client. */
function viewer(): (client: RedisClientType) => Pick<RedisClientType, 'sendCommand'> {
  let seen: RedisClientType | undefined
  let view: Pick<RedisClientType, 'sendCommand'> | undefined
  return (client) => {
    if (client !== seen || view === undefined) {
      seen = client
      view = client.withCommandOptions(REPLIES_AS_BYTES) as unknown as Pick<RedisClientType, 'sendCommand'>
    }
    return view
  }
}

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

/** `key` says which node of a cluster answers; without one any does. */
export type Send = (args: readonly CommandArgument[], key: string | undefined) => Promise<Reply>

/** `$`, the driver's `RESP_TYPES.BLOB_STRING`. */
const BLOB_STRING = 36

/**
 * Options of our own way to send over the application's client and its connection. No time-out of the driver (it makes
 * a signal per command): the deadline is ours. A view of the client is made once with them, because options given with
 * each command are merged by the driver each time, which doubles the CPU time of a GET. The cast is for its exact
 * optional type.
 */
export const REPLIES_AS_BYTES = { timeout: undefined, typeMapping: { [BLOB_STRING]: Buffer } } as unknown as {
  typeMapping: { [BLOB_STRING]: typeof Buffer }
}

/** The driver may hold a command back while it looks for a server; ours are sent now or not at all. */
export function offline(where: string): Promise<never> {
  return Promise.reject(new Error(`Redis at ${where} is not connected.`))
}

export interface Replicas {
  readonly count: number
  /** How long the server itself waits for them. */
  readonly limitMs: number
}

/** Questions about the server itself: there is nothing in them for replicas. */
const UNREPLICATED = new Set(['INFO', 'PING'])

/**
 * A port whose commands are answered when enough replicas have them. WAIT covers what was written before it on its own
 * connection, and holds up everything behind it; so this is for a connection of its own.
 */
export function replicated(port: Port, { count, limitMs }: Replicas): Port {
  const wait = ['WAIT', String(count), String(Math.ceil(limitMs))]
  return {
    ...port,
    async send(args, key) {
      if (UNREPLICATED.has(String(args[0]))) return port.send(args, key)
      const [reply, acknowledged] = await Promise.all([port.send(args, key), port.send(wait, key)])
      if (Number(acknowledged) >= count) return reply
      throw new UnavailableError('error', `Only ${Number(acknowledged)} of ${count} replicas have the invalidation.`)
    },
  }
}
