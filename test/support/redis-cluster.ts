import { execFile } from 'node:child_process'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import { type RedisServer, startRedis } from './redis-server.js'

const run = promisify(execFile)

/** How soon a cluster's nodes take one of them for dead. Short, so that a test need not wait for an operator's choice. */
const NODE_TIMEOUT_MS = 1000

const PRIMARIES = 3

interface ClusterOptions {
  /** Of each primary. Default 1. */
  readonly replicas?: number
  /** Arguments of every node. */
  readonly args?: readonly string[]
}

/** Three primaries, with a replica each by default, made by `redis-cli --cluster create` as an operator makes one. */
export class RedisCluster {
  readonly nodes: readonly RedisServer[]

  private constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes
  }

  static async start({ replicas = 1, args = [] }: ClusterOptions = {}): Promise<RedisCluster> {
    const count = PRIMARIES * (1 + replicas)
    const nodes = await Promise.all(Array.from({ length: count }, () => startClusterNode(args)))
    const cluster = new RedisCluster(nodes)
    try {
      const addresses = nodes.map(addressOf)
      await cluster.cli('--cluster', 'create', ...addresses, '--cluster-replicas', String(replicas), '--cluster-yes')
      for (const node of nodes) await settled(node, PRIMARIES * replicas)
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  get url(): string {
    return `redis://${this.nodes.map(addressOf).join(',')}`
  }

  cli(...args: string[]): Promise<string> {
    return redisCli(...args)
  }

  /** Who is a primary now, in the order of their slots. */
  async primaries(): Promise<readonly RedisServer[]> {
    const asked = this.nodes.find(({ answers }) => answers) as RedisServer
    const lines = (await this.ask(asked, 'CLUSTER', 'NODES'))
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
    const primaries = lines.filter(
      (fields) => /master/.test(fields[2] ?? '') && !/fail/.test(fields[2] ?? '') && fields[8] !== undefined,
    )
    const inOrder = primaries.toSorted((a, b) => Number.parseInt(a[8] ?? '', 10) - Number.parseInt(b[8] ?? '', 10))
    return inOrder.map((fields) => this.#byPort(Number(/:(\d+)@/.exec(fields[1] ?? '')?.[1])))
  }

  /** Resolves when all nodes have the same picture of their cluster. */
  async agreed(): Promise<void> {
    const [{ port }] = this.nodes as [RedisServer]
    const agree = () => this.cli('--cluster', 'check', `127.0.0.1:${port}`).then((said) => !said.includes('[ERR]'))
    while (!(await agree().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }

  /** The node id by which a cluster knows a server. */
  async idOf(server: RedisServer): Promise<string> {
    return (await this.ask(server, 'CLUSTER', 'MYID')).trim()
  }

  ask(server: RedisServer, ...command: string[]): Promise<string> {
    return redisCli('-p', String(server.port), ...command)
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()))
  }

  #byPort(port: number): RedisServer {
    const node = this.nodes.find((one) => one.port === port)
    if (node === undefined) throw new Error(`no node on port ${port}`)
    return node
  }
}

export async function redisCli(...args: string[]): Promise<string> {
  const { stdout } = await run('redis-cli', args)
  return stdout
}

/** Nodes speak to one another on the port this much above their own. */
const BUS_OFFSET = 10_000
/** Both ports are below those that the system gives to connections, so that none of these takes one in between. */
const PORTS = { from: 20_000, count: 2700 }

/** A port whose bus port is free as well. */
export async function freeClusterPort(): Promise<number> {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * PORTS.count)
    if ((await isFree(port)) && (await isFree(port + BUS_OFFSET))) return port
  }
}

function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** A node that belongs to no cluster yet. */
async function startClusterNode(args: readonly string[]): Promise<RedisServer> {
  return startRedis({ port: await freeClusterPort(), args: [...CLUSTER_NODE, ...args] })
}

const CLUSTER_NODE = [
  '--cluster-enabled',
  'yes',
  '--cluster-node-timeout',
  String(NODE_TIMEOUT_MS),
  '--cluster-replica-validity-factor',
  '0',
  '--repl-diskless-sync-delay',
  '0',
]

function addressOf(server: RedisServer): string {
  return `127.0.0.1:${server.port}`
}

const POLL_MS = 50

async function settled(node: RedisServer, replicaCount: number): Promise<void> {
  for (;;) {
    const [info, nodes, replication] = await Promise.all([
      redisCli('-p', String(node.port), 'CLUSTER', 'INFO'),
      redisCli('-p', String(node.port), 'CLUSTER', 'NODES'),
      redisCli('-p', String(node.port), 'INFO', 'replication'),
    ])
    const replicas = (nodes.match(/slave/g)?.length ?? 0) === replicaCount
    const linked = !replication.includes('role:slave') || replication.includes('master_link_status:up')
    if (info.includes('cluster_state:ok') && replicas && linked) return
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
