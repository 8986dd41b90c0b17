import type { RedisClientType, RedisClusterType } from '@redis/client'
import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { closeClient, type NodeRedis, type Topology } from './client.js'
import type { ResolvedSettings } from './settings.js'

/** A subscription that is not confirmed by then leaves the caller to run its handler itself. */
const SUBSCRIBE_LIMIT_MS = 1000

/** Between attempts at the nodes of a cluster, while none of them takes subscriptions. */
const MOVE_PAUSE_MS = 100

/**
 * After any of these a sentinel's own subscription connection may have moved to another node. Said too often rather
 * than too seldom: a waiter that was woken for nothing looks once more.
 */
const MOVE_EVENTS = ['ready', 'topology-change'] as const

type Listener = (message: Buffer) => void

/** The connection that channel messages arrive on, opened when somebody waits for the first time. */
export class Subscriber {
  readonly #main: NodeRedis
  readonly #topology: Topology
  readonly #settings: ResolvedSettings
  readonly #logger: Logger
  readonly #resets = new Set<() => void>()
  /** Who hears what; a connection to another node of a cluster has to be told. */
  readonly #heard = new Map<Listener, string>()
  #client: Promise<NodeRedis> | undefined
  #opened: NodeRedis | undefined
  #closed = false

  constructor(main: NodeRedis, topology: Topology, settings: ResolvedSettings, logger: Logger) {
    this.#main = main
    this.#topology = topology
    this.#settings = settings
    this.#logger = logger
  }

  async subscribe(channel: string, listener: Listener, onReset: () => void): Promise<() => Promise<void>> {
    if (this.#settings.maxConnections === 1)
      throw new UnavailableError('error', 'maxConnections is 1: there is no second connection for wake-ups.')
    const client = await limited(this.#open())
    const onMessage = (message: string | Buffer): void => listener(message as Buffer)
    const leave = async (): Promise<void> => {
      this.#heard.delete(onMessage)
      const current = this.#opened ?? client
      // A connection that is away has no subscription to end, and nothing would answer before it is back.
      const left = current.unsubscribe(channel, onMessage, true).catch(() => {})
      if (current.isReady) await limited(left).catch(() => {})
    }
    this.#heard.set(onMessage, channel)
    const confirmed = client.subscribe(channel, onMessage, true)
    try {
      await limited(confirmed)
    } catch (error) {
      this.#heard.delete(onMessage)
      // Nobody listens any more when the confirmation comes after all.
      confirmed.then(leave, () => {})
      throw error
    }
    const reset = (): void => onReset()
    this.#resets.add(reset)
    return async () => {
      this.#resets.delete(reset)
      await leave()
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const event of MOVE_EVENTS) this.#main.off(event, this.#reset)
    this.#resets.clear()
    this.#heard.clear()
    if (this.#opened !== undefined) await closeClient(this.#opened)
  }

  #open(): Promise<NodeRedis> {
    this.#client ??= this.#openFor(this.#topology)
    return this.#client
  }

  #openFor(topology: Topology): Promise<NodeRedis> {
    if (topology === 'sentinel') return this.#useMain()
    const main = topology === 'cluster' ? someNode(this.#main as RedisClusterType) : (this.#main as RedisClientType)
    if (main === undefined) return Promise.reject(new UnavailableError('not-ready', 'No node of the cluster is ready.'))
    return this.#openSecond(topology === 'cluster' ? duplicateOnce(main) : main.duplicate())
  }

  /** A sentinel client keeps a connection of its own for subscriptions, and moves it along with the master. */
  async #useMain(): Promise<NodeRedis> {
    for (const event of MOVE_EVENTS) this.#main.on(event, this.#reset)
    return this.#main
  }

  async #openSecond(client: RedisClientType): Promise<NodeRedis> {
    this.#opened = client
    this.#watch(client)
    try {
      await client.connect()
    } catch (error) {
      this.#forget(client)
      throw error
    }
    if (this.#closed) await closeClient(client)
    return client
  }

  /** The driver subscribes anew before it says `ready`. */
  #watch(client: NodeRedis): void {
    let seen = false
    let said = false
    client.on('error', (error: Error) => {
      if (!said && !this.#closed) this.#logger.info(`redwell: the connection for wake-ups was lost (${error.message})`)
      said = true
    })
    client.on('ready', () => {
      if (seen) this.#reset()
      seen = true
      said = false
    })
    client.on('terminated', () => {
      this.#forget(client)
      if (seen && this.#topology === 'cluster') void this.#move()
    })
  }

  /** A client whose strategy gave up; the next subscription opens another. */
  #forget(client: NodeRedis): void {
    if (this.#opened !== client) return
    this.#opened = undefined
    this.#client = undefined
  }

  /** Every node of a cluster passes on every message, so any will do when the one that was listened to is gone. */
  async #move(): Promise<void> {
    while (!this.#closed && this.#heard.size > 0) {
      try {
        const client = await limited(this.#open())
        await limited(Promise.all([...this.#heard].map(([hears, channel]) => client.subscribe(channel, hears, true))))
        return this.#reset()
      } catch {
        await new Promise((resolve) => setTimeout(resolve, MOVE_PAUSE_MS).unref())
      }
    }
  }

  readonly #reset = (): void => {
    for (const reset of [...this.#resets]) reset()
  }
}

/** A connection of its own to the same server, which is not made anew when it is lost. */
function duplicateOnce(client: RedisClientType): RedisClientType {
  return client.duplicate({ socket: { ...client.options.socket, reconnectStrategy: false } })
}

function someNode(cluster: RedisClusterType): RedisClientType | undefined {
  const ready = cluster.masters.filter(({ client }) => client?.isReady === true)
  return ready[Math.floor(Math.random() * ready.length)]?.client
}

/** The driver knows no limit for a subscription. Whatever it throws means the same to whoever waits. */
async function limited<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const error = new UnavailableError(
      'deadline',
      `Redis did not confirm a subscription within ${SUBSCRIBE_LIMIT_MS} ms.`,
    )
    timer = setTimeout(() => reject(error), SUBSCRIBE_LIMIT_MS)
  })
  try {
    return await Promise.race([promise, late])
  } catch (error) {
    if (error instanceof UnavailableError) throw error
    throw new UnavailableError('error', 'The subscription was lost with its connection.', { cause: error })
  } finally {
    clearTimeout(timer)
  }
}
