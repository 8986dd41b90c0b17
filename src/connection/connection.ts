import { RESP_TYPES, type RedisClientType, type RedisClusterType, type RedisSentinelType } from '@redis/client'
import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { Breaker } from './breaker.js'
import { closeClient, makeClient, type NodeRedis, type Topology, topologyOf } from './client.js'
import { Deadlines } from './deadline.js'
import type { ResolvedSettings } from './settings.js'
import { WakeLine } from './wake-line.js'

export type CommandArgument = string | Buffer
export type Reply = null | number | string | Buffer | readonly Reply[]

/**
 * - `ready`: commands are answered
 * - `degraded`: connected, but the server does not answer in time; commands are not tried
 * - `unavailable`: not connected
 * - `closed`: for good
 */
export type ConnectionStatus = 'ready' | 'degraded' | 'unavailable' | 'closed'

/** How long `connect()` insists beside the time one attempt may take. */
const CONNECT_PATIENCE_MS = 1000

/** No time-out of the driver (it makes a signal per command): the deadline is ours. The cast is for its exact optional type. */
const REPLIES_AS_BYTES = { timeout: undefined, typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } as unknown as {
  typeMapping: { [RESP_TYPES.BLOB_STRING]: typeof Buffer }
}

/** The line to Redis: never queues while there is no server, never waits longer than the command's deadline. */
export class Connection {
  readonly topology: Topology
  /** The node-redis client as applications use it, with the driver's own reply types and rules. */
  readonly client: NodeRedis
  readonly #settings: ResolvedSettings
  readonly #logger: Logger
  readonly #own: boolean
  readonly #deadlines: Deadlines
  readonly #breaker: Breaker
  readonly #wakeLine: WakeLine
  readonly #listeners = new Set<(status: ConnectionStatus, previous: ConnectionStatus) => void>()
  #status: ConnectionStatus = 'unavailable'
  #started = false
  #everReady = false
  #lostAt = 0
  #lastError: Error | undefined
  #closing: Promise<void> | undefined

  constructor(settings: ResolvedSettings, logger: Logger) {
    this.#settings = settings
    this.#logger = logger
    this.#own = settings.client === undefined
    this.client = settings.client ?? makeClient(settings)
    this.topology = topologyOf(this.client)
    this.#deadlines = new Deadlines(settings.commandTimeoutMs)
    this.#breaker = new Breaker(
      () => this.#send(['PING'], undefined),
      () => this.#update(),
    )
    this.#wakeLine = new WakeLine(this.client, this.topology, settings, logger)
    this.#listen()
  }

  get status(): ConnectionStatus {
    return this.#status
  }

  /** Sends a command under the deadline. Rejects with UnavailableError when Redis cannot answer, at once where that is known. */
  execute(args: readonly CommandArgument[], key: string | undefined): Promise<Reply> {
    if (this.#status !== 'ready') return Promise.reject(this.#unavailable())
    return new Promise((resolve, reject) => {
      const pending = this.#deadlines.add(() => {
        this.#breaker.missed()
        reject(new UnavailableError('deadline', `Redis did not answer within ${this.#settings.commandTimeoutMs} ms.`))
      })
      this.#send(args, key).then(
        (reply) => {
          this.#breaker.answered()
          if (pending.settle()) resolve(reply)
        },
        (error: unknown) => {
          if (isReply(error)) this.#breaker.answered()
          if (pending.settle()) reject(isReply(error) ? error : lost(error))
        },
      )
    })
  }

  /**
   * Messages of a channel, over a second connection that is opened for the first one. Resolves when the server has
   * confirmed; `onReset` is called when the connection was lost and is back, so messages may be missing.
   */
  subscribe(channel: string, listener: (message: Buffer) => void, onReset: () => void): Promise<() => Promise<void>> {
    if (this.#status !== 'ready') return Promise.reject(this.#unavailable())
    return this.#wakeLine.subscribe(channel, listener, onReset)
  }

  /** Begins to connect. Never waits and never throws: the application starts without Redis, too. */
  start(): void {
    if (this.#started || this.#status === 'closed') return
    this.#started = true
    if (this.client.isOpen) return this.#update()
    void this.#connectClient()
  }

  /** Waits until commands are answered. Rejects when that takes longer than the connect time-out allows. */
  async connect(): Promise<void> {
    this.start()
    if (this.#status === 'ready') return
    const limitMs = this.#settings.connectTimeoutMs + CONNECT_PATIENCE_MS
    let stop = (): void => {}
    const ready = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), limitMs)
      const unlisten = this.onStatus((status) => {
        if (status === 'ready' || status === 'closed') resolve(status === 'ready')
      })
      stop = () => {
        clearTimeout(timer)
        unlisten()
      }
    })
    const connected = await ready
    stop()
    if (!connected) throw this.#unavailable()
  }

  /** The time of one round trip, in milliseconds. */
  async ping(): Promise<number> {
    const startedAt = performance.now()
    await this.execute(['PING'], undefined)
    return performance.now() - startedAt
  }

  /** Calls back at each change of status; gives the way to stop. */
  onStatus(listener: (status: ConnectionStatus, previous: ConnectionStatus) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Finishes what is under way and leaves no socket and no timer. A client that was given stays open. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#setStatus('closed')
    await this.#wakeLine.close()
    if (!this.#own) return this.#unlisten()
    await closeClient(this.client)
  }

  async #connectClient(): Promise<void> {
    while (this.#status !== 'closed') {
      try {
        await this.client.connect()
        this.#update()
        return
      } catch (error) {
        this.#fail(error)
        if (this.client.isOpen && this.topology === 'standalone') return
        await new Promise((resolve) => setTimeout(resolve, CONNECT_PATIENCE_MS / 4).unref())
      }
    }
  }

  #send(args: readonly CommandArgument[], key: string | undefined): Promise<Reply> {
    switch (this.topology) {
      case 'cluster':
        return (this.client as RedisClusterType).sendCommand(key, false, args as CommandArgument[], REPLIES_AS_BYTES)
      case 'sentinel':
        return (this.client as RedisSentinelType).sendCommand(false, args as CommandArgument[], REPLIES_AS_BYTES)
      default:
        return (this.client as RedisClientType).sendCommand(args, REPLIES_AS_BYTES)
    }
  }

  #listen(): void {
    this.client.on('error', this.#fail)
    for (const event of LIFE_EVENTS) this.client.on(event, this.#update)
  }

  #unlisten(): void {
    this.client.off('error', this.#fail)
    for (const event of LIFE_EVENTS) this.client.off(event, this.#update)
  }

  readonly #fail = (error: unknown): void => {
    this.#lastError = error instanceof Error ? error : new Error(String(error))
    this.#update()
    if (this.#status === 'unavailable' && !this.#everReady && this.#lostAt === 0) {
      this.#lostAt = performance.now()
      this.#logger.warn(`redwell: Redis at ${this.#where()} is unavailable (${this.#reason()}); requests are served without the cache`)
    }
  }

  readonly #update = (): void => {
    if (this.#status === 'closed') return
    if (!this.client.isReady) return this.#setStatus('unavailable')
    if (this.#status === 'unavailable' && this.#breaker.open) this.#breaker.probe()
    this.#setStatus(this.#breaker.open ? 'degraded' : 'ready')
  }

  #setStatus(status: ConnectionStatus): void {
    const previous = this.#status
    if (status === previous) return
    this.#status = status
    this.#report(status, previous)
    for (const listener of [...this.#listeners]) listener(status, previous)
  }

  #report(status: ConnectionStatus, previous: ConnectionStatus): void {
    if (status === 'closed') return
    if (status === 'ready') {
      if (this.#lostAt > 0) this.#logger.info(`redwell: Redis at ${this.#where()} is back after ${Math.round(performance.now() - this.#lostAt)} ms`)
      this.#everReady = true
      this.#lostAt = 0
      return
    }
    if (previous === 'ready') this.#lostAt = performance.now()
    const what = status === 'degraded' ? 'does not answer in time' : `is unavailable (${this.#reason()})`
    this.#logger.warn(`redwell: Redis at ${this.#where()} ${what}; requests are served without the cache`)
  }

  #unavailable(): UnavailableError {
    if (this.#status === 'closed') return new UnavailableError('closed', 'The connection to Redis was closed.')
    if (this.#status === 'degraded') return new UnavailableError('breaker-open', `Redis at ${this.#where()} does not answer in time.`)
    const message = `Redis at ${this.#where()} is not connected (${this.#reason()}).`
    return new UnavailableError('not-ready', message, { cause: this.#lastError })
  }

  #where(): string {
    const { sentinel, nodes, client } = this.#settings
    if (client !== undefined) return 'the given client'
    const addresses = (sentinel?.nodes ?? nodes).map(({ host, port }) => `${host}:${port}`).join(', ')
    return sentinel === undefined ? addresses : `sentinel ${addresses}`
  }

  #reason(): string {
    const error = this.#lastError
    if (error === undefined) return 'no connection yet'
    return error.message === '' ? ((error as NodeJS.ErrnoException).code ?? error.name) : error.message
  }
}

const LIFE_EVENTS = ['connect', 'ready', 'end', 'reconnecting', 'node-ready', 'node-disconnect', 'topology-change'] as const

/** An answer of the server that says no, such as OOM or READONLY; everything else means that no answer came. */
function isReply(error: unknown): error is Error {
  return error instanceof Error && (error.name === 'SimpleError' || error.constructor.name === 'SimpleError' || error.constructor.name === 'BlobError')
}

function lost(error: unknown): UnavailableError {
  const reason = error instanceof Error ? error.message : String(error)
  return new UnavailableError('error', `The command did not reach Redis or its reply was lost: ${reason}`, { cause: error })
}
