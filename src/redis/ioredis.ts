import { SettingsError } from '../errors.js'
import { valueAt } from '../value-at.js'
import { type CommandArgument, type CommandChannel, type Reply, slotOf } from './command.js'
import {
  anyOf,
  type ClientEvents,
  type ClientPort,
  type ClusterNode,
  type ClusterPort,
  type MessageConnection,
  type MessageEvents,
  offline,
  within,
} from './port.js'
import type { IoRedis } from './settings.js'

/** The only file that uses ioredis, which is never loaded here: the application passes in a client that it created. */

/** The longest a graceful close waits for replies. */
const CLOSE_LIMIT_MS = 1000

/** How often the connection for messages is asked whether it lives: the driver has no time limit for an idle one. */
const PING_MS = 1000

/** A PING that is not answered by then means that the connection is dead. */
const PING_LIMIT_MS = 3000

/** What is used of a client and its nodes, from version 5 on. */
interface Client extends IoRedis {
  readonly options: Options
  connect(): Promise<void>
  duplicate(options?: object): Client
  call(command: string): Promise<unknown>
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  on(event: string, listener: (...args: never[]) => void): unknown
  off(event: string, listener: (...args: never[]) => void): unknown
}

interface Cluster extends Client {
  readonly isCluster: true
  /** Names of the nodes that have a slot, the primary first. */
  readonly slots: readonly (readonly string[] | undefined)[]
  readonly connectionPool: { getInstanceByKey(name: string): Client | undefined }
  nodes(role: 'master'): Client[]
  duplicate(nodes?: object, options?: object): Cluster
}

interface Options {
  readonly host?: string
  readonly port?: number
  readonly keyPrefix?: string
  readonly stringNumbers?: boolean
  readonly redisOptions?: Options
}

export function isIoRedis(client: object): client is IoRedis {
  return 'callBuffer' in client
}

function isCluster(client: Client): client is Cluster {
  return 'isCluster' in client && client.isCluster === true
}

const MEMBERS = ['callBuffer', 'connect', 'disconnect', 'duplicate', 'quit', 'subscribe', 'unsubscribe'] as const

/** The port of a given client. Throws SettingsError for one whose options would change keys or replies. */
export function ioRedisPort(given: IoRedis): ClientPort {
  const client = given as Client
  const missing = MEMBERS.filter((name) => typeof client[name] !== 'function')
  if (missing.length > 0)
    throw new SettingsError([`client: is not a client of ioredis 5 or 6; it lacks ${missing.join(', ')}`])
  const options = { ...client.options, ...client.options.redisOptions }
  const problems = [
    ...((options.keyPrefix ?? '') === ''
      ? []
      : [
          `client: has keyPrefix '${options.keyPrefix}', which scripts do not see; use a client without it and \`prefix\``,
        ]),
    ...(options.stringNumbers === true
      ? ['client: has stringNumbers, which changes replies; use a client without it']
      : []),
  ]
  if (problems.length > 0) throw new SettingsError(problems)
  return isCluster(client) ? clusterPort(client) : singlePort(client)
}

/** A server, or the master that sentinels know. A script's texts and all other replies come as bytes. */
function senderOf(client: Client): (args: readonly CommandArgument[]) => Promise<Reply> {
  return ([command, ...args]) => client.callBuffer(String(command), ...args) as Promise<Reply>
}

const CHANGES = ['connect', 'close', 'end', 'reconnecting'] as const

/**
 * The commands under way, which the driver keeps when their connection is lost: it sends them once more over the next
 * one, or never settles them where `autoResendUnfulfilledCommands` is off. Requests must not wait for that.
 */
class UnderWay {
  readonly #lose = new Set<(error: Error) => void>()

  watch(reply: Promise<Reply>): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#lose.add(reject)
      const settle =
        <T>(end: (result: T) => void) =>
        (result: T): void => {
          this.#lose.delete(reject)
          end(result)
        }
      reply.then(settle(resolve), settle(reject))
    })
  }

  /** Their connection was lost. */
  readonly lose = (): void => {
    for (const reject of this.#lose) reject(new Error('The connection was lost before the reply came.'))
    this.#lose.clear()
  }
}

function singlePort(client: Client): ClientPort {
  const sendTo = senderOf(client)
  const underWay = new UnderWay()
  const send = (args: readonly CommandArgument[]): Promise<Reply> => underWay.watch(sendTo(args))
  return {
    topology: 'standalone',
    cluster: undefined,
    get isOpen() {
      return isOpen(client)
    },
    channel: (where): CommandChannel => ({
      where,
      mayBeReplica: false,
      isReady: () => client.status === 'ready',
      send,
    }),
    connect: () => connect(client),
    close: () => close(client),
    listen: (events) =>
      listening(client, [
        ['error', (error: Error) => events.failed(error)],
        ['ready', () => events.changed('')],
        ['close', underWay.lose],
        ...CHANGES.map((event) => [event, () => events.changed()] as const),
      ]),
    duplicate: () => singlePort(client.duplicate({ lazyConnect: true })),
    messages: (events) => new Messages(client, true, events),
  }
}

function clusterPort(cluster: Cluster): ClientPort {
  const nodes = new Nodes(cluster)
  return {
    topology: 'cluster',
    cluster: nodes,
    get isOpen() {
      return isOpen(cluster)
    },
    channel: (where) => ({ where, mayBeReplica: true, isReady: () => false, send: () => offline(where) }),
    connect: () => connect(cluster),
    close: () => close(cluster),
    listen: (events) => listeningToCluster(cluster, events),
    duplicate: () => clusterPort(cluster.duplicate(undefined, { lazyConnect: true })),
    messages(events) {
      const ready = cluster.nodes('master').filter(({ status }) => status === 'ready')
      return new Messages(anyOf(ready), false, events)
    },
  }
}

function isOpen({ status }: Client): boolean {
  return status !== 'wait' && status !== 'end'
}

/** It may be connecting already, by its first command. */
async function connect(client: Client): Promise<void> {
  if (!isOpen(client)) await client.connect()
}

async function close(client: Client): Promise<void> {
  if (client.status === 'ready') {
    await within(CLOSE_LIMIT_MS, client.quit(), () => new Error('late')).catch(() => {})
  }
  client.disconnect()
}

type Listener = readonly [event: string, listener: (...args: never[]) => void]

function listening(client: Client, listeners: readonly Listener[]): () => void {
  for (const [event, listener] of listeners) client.on(event, listener)
  return () => {
    for (const [event, listener] of listeners) client.off(event, listener)
  }
}

/** A cluster reports which nodes it has; each node reports the state of its own connection. */
function listeningToCluster(cluster: Cluster, events: ClientEvents): () => void {
  const stops = new Map<Client, () => void>()
  const changed = (): void => events.changed()
  const added = (node: Client): void => {
    const ready = (): void => events.changed(addressOf(node))
    const listeners = CHANGES.map((event) => [event, changed] as const)
    stops.set(node, listening(node, [['ready', ready], ...listeners]))
    events.changed()
  }
  const removed = (node: Client): void => {
    stops.get(node)?.()
    stops.delete(node)
    events.changed()
  }
  const stop = listening(cluster, [
    ['error', (error: Error) => events.failed(error)],
    ['node error', (error: Error) => events.failed(error)],
    ['+node', added],
    ['-node', removed],
    ['ready', changed],
    ['refresh', changed],
    ...CHANGES.map((event) => [event, changed] as const),
  ])
  for (const node of cluster.nodes('master')) added(node)
  return () => {
    stop()
    for (const one of stops.values()) one()
  }
}

function addressOf({ options: { host = '127.0.0.1', port = 6379 } }: Client): string {
  return `${host}:${port}`
}

class Nodes implements ClusterPort {
  readonly redirect: CommandChannel['send']
  readonly #nodes = new WeakMap<Client, ClusterNode>()

  constructor(private readonly cluster: Cluster) {
    const send = senderOf(cluster)
    // The driver chooses the node by the keys of a command, as we do.
    this.redirect = (args) => send(args)
  }

  isReady(): boolean {
    return this.cluster.status === 'ready'
  }

  primaries(): readonly ClusterNode[] {
    return this.cluster.nodes('master').map((client) => this.#nodeOf(client))
  }

  primaryFor(key: string): ClusterNode | undefined {
    const name = this.cluster.slots[slotOf(key)]?.[0]
    const client = name === undefined ? undefined : this.cluster.connectionPool.getInstanceByKey(name)
    return client && this.#nodeOf(client)
  }

  #nodeOf(client: Client): ClusterNode {
    return valueAt(this.#nodes, client, () => nodeOf(client))
  }
}

function nodeOf(client: Client): ClusterNode {
  const address = addressOf(client)
  const sendTo = senderOf(client)
  const isReady = (): boolean => client.status === 'ready'
  return {
    address,
    isReady,
    connect: () => void connect(client).catch(() => {}),
    send: (args) => (isReady() ? sendTo(args) : offline(address)),
  }
}

type OnMessage = (message: Buffer) => void

/** A second connection to the server of a client, for messages. It subscribes anew before it is called ready. */
class Messages implements MessageConnection {
  readonly #client: Client
  readonly #listeners = new Map<string, Set<OnMessage>>()
  readonly #events: MessageEvents
  #pings: NodeJS.Timeout | undefined

  /** `returns`: whether it connects again when it was lost. */
  constructor(of: Client, returns: boolean, events: MessageEvents) {
    this.#events = events
    this.#client = of.duplicate({
      lazyConnect: true,
      autoResubscribe: false,
      enableOfflineQueue: false,
      maxRetriesPerRequest: null,
      enableReadyCheck: false,
      ...(returns ? {} : { retryStrategy: null }),
    })
  }

  get isReady(): boolean {
    return this.#client.status === 'ready'
  }

  async connect(): Promise<void> {
    const client = this.#client
    client.on('error', (error: Error) => this.#events.failed(error))
    client.on('ready', () => void this.#renew())
    client.on('end', () => {
      clearInterval(this.#pings)
      this.#events.ended()
    })
    client.on('messageBuffer', (channel: Buffer, message: Buffer) => {
      for (const listener of this.#listeners.get(String(channel)) ?? []) listener(message)
    })
    try {
      await client.connect()
    } catch (error) {
      // It would keep trying to connect, next to the one that replaces it.
      client.disconnect()
      throw error
    }
    this.#pings = setInterval(() => void this.#ping(), PING_MS).unref()
  }

  async subscribe(channel: string, listener: OnMessage): Promise<unknown> {
    valueAt(this.#listeners, channel, () => new Set<OnMessage>()).add(listener)
    try {
      return await this.#client.subscribe(channel)
    } catch (error) {
      this.#drop(channel, listener)
      throw error
    }
  }

  async unsubscribe(channel: string, listener: OnMessage): Promise<unknown> {
    return this.#drop(channel, listener) ? this.#client.unsubscribe(channel) : undefined
  }

  /** Whether it was the last one of its channel. */
  #drop(channel: string, listener: OnMessage): boolean {
    const listeners = this.#listeners.get(channel)
    if (listeners?.delete(listener) !== true || listeners.size > 0) return false
    return this.#listeners.delete(channel)
  }

  async close(): Promise<void> {
    clearInterval(this.#pings)
    this.#listeners.clear()
    this.#client.disconnect()
  }

  async #renew(): Promise<void> {
    try {
      await Promise.all([...this.#listeners.keys()].map((channel) => this.#client.subscribe(channel)))
      this.#events.ready()
    } catch {
      // Lost once more; the next connection subscribes again.
    }
  }

  async #ping(): Promise<void> {
    if (!this.isReady) return
    const answer = this.#client.call('PING')
    await within(PING_LIMIT_MS, answer, () => new Error('late')).catch(() => {
      if (this.isReady) this.#client.disconnect(true)
    })
  }
}
