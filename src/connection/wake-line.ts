import type { RedisClientType } from '@redis/client'
import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { closeClient, type NodeRedis, type Topology } from './client.js'
import type { ResolvedSettings } from './settings.js'

/** A subscription that is not confirmed by then leaves the caller to run its handler itself. */
const SUBSCRIBE_LIMIT_MS = 1000

/**
 * After any of these a cluster's or a sentinel's own subscription connection may have moved to another node. Said too
 * often rather than too seldom: a waiter that was woken for nothing looks once more.
 */
const MOVE_EVENTS = ['ready', 'node-ready', 'node-disconnect', 'topology-change'] as const

/** The connection that channel messages arrive on, opened when somebody waits for the first time. */
export class WakeLine {
  readonly #main: NodeRedis
  readonly #topology: Topology
  readonly #settings: ResolvedSettings
  readonly #logger: Logger
  readonly #resets = new Set<() => void>()
  #client: Promise<NodeRedis> | undefined
  #opened: NodeRedis | undefined
  #closed = false

  constructor(main: NodeRedis, topology: Topology, settings: ResolvedSettings, logger: Logger) {
    this.#main = main
    this.#topology = topology
    this.#settings = settings
    this.#logger = logger
  }

  async subscribe(
    channel: string,
    listener: (message: Buffer) => void,
    onReset: () => void,
  ): Promise<() => Promise<void>> {
    if (this.#settings.maxConnections === 1)
      throw new UnavailableError('error', 'maxConnections is 1: there is no second connection for wake-ups.')
    const client = await limited(this.#open())
    const onMessage = (message: string | Buffer): void => listener(message as Buffer)
    const leave = async (): Promise<void> => {
      // A connection that is away has no subscription to end, and nothing would answer before it is back.
      const left = client.unsubscribe(channel, onMessage, true).catch(() => {})
      if (client.isReady) await limited(left).catch(() => {})
    }
    const confirmed = client.subscribe(channel, onMessage, true)
    try {
      await limited(confirmed)
    } catch (error) {
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
    if (this.#opened !== undefined) await closeClient(this.#opened)
  }

  /** Cluster and sentinel clients keep a connection of their own for subscriptions. */
  #open(): Promise<NodeRedis> {
    this.#client ??= this.#topology === 'standalone' ? this.#openSecond(this.#main as RedisClientType) : this.#useMain()
    return this.#client
  }

  async #useMain(): Promise<NodeRedis> {
    for (const event of MOVE_EVENTS) this.#main.on(event, this.#reset)
    return this.#main
  }

  async #openSecond(main: RedisClientType): Promise<NodeRedis> {
    const client = main.duplicate()
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
    client.on('terminated', () => this.#forget(client))
  }

  /** A client whose own strategy gave up; the next subscription opens another. */
  #forget(client: NodeRedis): void {
    if (this.#opened !== client) return
    this.#opened = undefined
    this.#client = undefined
  }

  readonly #reset = (): void => {
    for (const reset of [...this.#resets]) reset()
  }
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
