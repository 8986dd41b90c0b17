import type { RedisClientType } from '@redis/client'
import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { closeClient, type NodeRedis, type Topology } from './client.js'
import type { ResolvedSettings } from './settings.js'

/** A subscription that is not confirmed by then leaves the caller to run its handler itself. */
const SUBSCRIBE_LIMIT_MS = 1000

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

  async subscribe(channel: string, listener: (message: Buffer) => void, onReset: () => void): Promise<() => Promise<void>> {
    if (this.#settings.maxConnections === 1) throw new UnavailableError('error', 'maxConnections is 1: there is no second connection for wake-ups.')
    const client = await this.#limited(this.#open())
    const onMessage = (message: string | Buffer): void => listener(message as Buffer)
    await this.#limited(client.subscribe(channel, onMessage, true))
    this.#resets.add(onReset)
    return async () => {
      this.#resets.delete(onReset)
      await client.unsubscribe(channel, onMessage, true)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#opened !== undefined) await closeClient(this.#opened)
  }

  /** Cluster and sentinel clients keep a connection of their own for subscriptions. */
  #open(): Promise<NodeRedis> {
    if (this.#topology !== 'standalone') return Promise.resolve(this.#main)
    this.#client ??= this.#connect(this.#main as RedisClientType).catch((error: unknown) => {
      this.#client = undefined
      throw error
    })
    return this.#client
  }

  async #connect(main: RedisClientType): Promise<NodeRedis> {
    const client = main.duplicate()
    this.#opened = client
    let seen = false
    client.on('error', (error: Error) => this.#logger.info(`redwell: the connection for wake-ups failed: ${error.message}`))
    client.on('ready', () => {
      if (seen) for (const reset of [...this.#resets]) reset()
      seen = true
    })
    await client.connect()
    if (this.#closed) await closeClient(client)
    return client
  }

  async #limited<T>(promise: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new UnavailableError('deadline', `Redis did not confirm a subscription within ${SUBSCRIBE_LIMIT_MS} ms.`)),
        SUBSCRIBE_LIMIT_MS,
      )
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }
}
