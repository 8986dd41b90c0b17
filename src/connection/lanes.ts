import type { RedisClientType, RedisClusterType, RedisSentinelType } from '@redis/client'
import type { NodeRedis, Topology } from './client.js'
import { type ClusterNode, clusterPort } from './cluster-port.js'
import { Lane, type LaneOptions, type Port } from './lane.js'
import { sentinelPort, standalonePort } from './ports.js'
import { type Replicas, replicated } from './replicated.js'
import { slotOf } from './slot.js'

/** The servers behind a client: one, or every primary of a cluster. */
export interface Lanes {
  /** Who has this key; of a cluster any that is ready where no key is named. Undefined where nobody is known. */
  of(key: string | undefined): Lane | undefined
  /** Those there are now. */
  all(): readonly Lane[]
  /** Looks at the driver's connections anew. `renewed` names a server that has just been connected. */
  refresh(renewed?: string): void
  stop(): void
}

export interface Place {
  readonly where: string
  /** Commands count as answered once replicas have them. */
  readonly replicas: Replicas | undefined
}

export function lanesOf(client: NodeRedis, topology: Topology, place: Place, options: LaneOptions): Lanes {
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

class OneLane implements Lanes {
  readonly #lane: Lane
  readonly #all: readonly Lane[]

  constructor(port: Port, options: LaneOptions) {
    this.#lane = new Lane(port, options)
    this.#all = [this.#lane]
  }

  of(): Lane {
    return this.#lane
  }

  all(): readonly Lane[] {
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
class ClusterLanes implements Lanes {
  readonly #cluster: RedisClusterType
  readonly #portOf: (node: ClusterNode) => Port
  readonly #options: LaneOptions
  readonly #lanes = new Map<ClusterNode, Lane>()
  #next = 0

  constructor(cluster: RedisClusterType, portOf: (node: ClusterNode) => Port, options: LaneOptions) {
    this.#cluster = cluster
    this.#portOf = portOf
    this.#options = options
  }

  of(key: string | undefined): Lane | undefined {
    if (key === undefined) return this.#any()
    const node = this.#cluster.slots[slotOf(key)]?.master
    return node === undefined ? undefined : this.#laneOf(node)
  }

  all(): readonly Lane[] {
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

  #any(): Lane | undefined {
    const lanes = this.all()
    this.#next += 1
    const ready = lanes.filter(({ state }) => state === 'ready')
    return ready[this.#next % ready.length] ?? lanes[0]
  }

  #laneOf(node: ClusterNode): Lane {
    const known = this.#lanes.get(node)
    if (known !== undefined) return known
    const lane = new Lane(this.#portOf(node), this.#options)
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
