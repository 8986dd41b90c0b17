import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { Breaker } from './breaker.js'
import { closeClient, makeClient, type NodeRedis, type Topology, topologyOf } from './client.js'
import { Deadlines } from './deadline.js'
import { driver } from './driver.js'
import { type Send, senderOf } from './send.js'
import type { ResolvedSettings } from './settings.js'
import { StatusLog } from './status-log.js'
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
/** Between attempts at a cluster or at sentinels, where the driver gives up after one. */
const CONNECT_PAUSE_MS = 250

const LIFE_EVENTS = [
  'connect',
  'ready',
  'end',
  'reconnecting',
  'terminated',
  'disconnect',
  'node-ready',
  'node-disconnect',
  'topology-change',
] as const

type StatusListener = (status: ConnectionStatus, previous: ConnectionStatus) => void

/** The line to Redis: never queues while there is no server, never waits longer than the command's deadline. */
export class Connection {
  readonly topology: Topology
  /** The node-redis client as applications use it, with the driver's own reply types and rules. */
  readonly client: NodeRedis
  readonly #settings: ResolvedSettings
  readonly #where: string
  readonly #log: StatusLog
  readonly #own: boolean
  readonly #send: Send
  readonly #deadlines: Deadlines
  readonly #breaker: Breaker
  readonly #wakeLine: WakeLine
  readonly #listeners = new Set<StatusListener>()
  #status: ConnectionStatus = 'unavailable'
  #started = false
  #everReady = false
  #lastError: Error | undefined
  #closing: Promise<void> | undefined

  constructor(settings: ResolvedSettings, logger: Logger) {
    this.#settings = settings
    this.#where = whereIs(settings)
    this.#log = new StatusLog(logger, this.#where)
    this.#own = settings.client === undefined
    this.client = settings.client ?? makeClient(settings)
    this.topology = topologyOf(this.client)
    this.#send = senderOf(this.client, this.topology)
    this.#deadlines = new Deadlines(settings.commandTimeoutMs)
    this.#breaker = new Breaker(
      () => this.#probe(),
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
          if (!pending.settle()) return
          this.#breaker.answered()
          resolve(reply)
        },
        (error: unknown) => {
          if (!pending.settle()) return
          if (isReply(error)) this.#breaker.answered()
          else this.#breaker.missed()
          reject(isReply(error) ? error : lost(error))
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
    this.#update()
    // A client that was given is connected by whoever closes it.
    if (this.#own && !this.client.isOpen) void this.#connectClient()
  }

  /** Waits until commands are answered. Rejects when that takes longer than the connect time-out allows. */
  async connect(): Promise<void> {
    this.start()
    const settled = (status: ConnectionStatus): boolean => status === 'ready' || status === 'closed'
    if (!settled(this.#status)) await this.#changesTo(settled, this.#settings.connectTimeoutMs + CONNECT_PATIENCE_MS)
    if (this.#status !== 'ready') throw this.#unavailable()
  }

  /** The time of one round trip, in milliseconds. */
  async ping(): Promise<number> {
    const startedAt = performance.now()
    await this.execute(['PING'], undefined)
    return performance.now() - startedAt
  }

  /** Calls back at each change of status; gives the way to stop. */
  onStatus(listener: StatusListener): () => void {
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
    this.#breaker.stop()
    await Promise.all([this.#wakeLine.close(), this.#own ? closeClient(this.client) : undefined])
    await this.#deadlines.idle()
    // The error listener of our own client stays: what it still says must not end the process.
    if (!this.#own) this.#unlisten()
  }

  /** Ends when the status is one of those waited for, or at the limit. */
  async #changesTo(wanted: (status: ConnectionStatus) => boolean, limitMs: number): Promise<void> {
    let finish = (): void => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const timer = setTimeout(finish, limitMs)
    const unlisten = this.onStatus((status) => {
      if (wanted(status)) finish()
    })
    await finished
    clearTimeout(timer)
    unlisten()
  }

  /** The driver tries one server for ever by itself; of a cluster, or of sentinels, it gives up when none answers. */
  async #connectClient(): Promise<void> {
    while (this.#status !== 'closed') {
      try {
        await this.client.connect()
        return this.#update()
      } catch (error) {
        this.#fail(error)
        await new Promise((resolve) => setTimeout(resolve, CONNECT_PAUSE_MS).unref())
      }
    }
  }

  async #probe(): Promise<boolean> {
    const startedAt = performance.now()
    try {
      await this.#send(['PING'], undefined)
    } catch (error) {
      if (!isReply(error)) throw error
    }
    return performance.now() - startedAt <= this.#settings.commandTimeoutMs
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
    if (this.#status === 'unavailable' && !this.#everReady) this.#log.neverConnected(this.#reason())
  }

  readonly #update = (): void => {
    if (this.#status === 'closed') return
    if (!this.client.isReady) return this.#setStatus('unavailable')
    if (this.#status === 'unavailable') this.#breaker.reconnected()
    this.#setStatus(this.#breaker.state === 'open' ? 'degraded' : 'ready')
  }

  #setStatus(status: ConnectionStatus): void {
    const previous = this.#status
    if (status === previous) return
    this.#status = status
    this.#log.changed(status, this.#reason())
    if (status === 'ready') {
      this.#everReady = true
      this.#lastError = undefined
    }
    for (const listener of [...this.#listeners]) listener(status, previous)
  }

  #unavailable(): UnavailableError {
    if (this.#status === 'closed') return new UnavailableError('closed', 'The connection to Redis was closed.')
    if (this.#status === 'degraded')
      return new UnavailableError('breaker-open', `Redis at ${this.#where} does not answer in time.`)
    const message = `Redis at ${this.#where} is not connected (${this.#reason()}).`
    return new UnavailableError('not-ready', message, { cause: this.#lastError })
  }

  #reason(): string {
    const error = this.#lastError
    if (error !== undefined)
      return error.message === '' ? ((error as NodeJS.ErrnoException).code ?? error.name) : error.message
    if (this.#everReady) return 'the connection was closed'
    return this.#own || this.client.isOpen ? 'no connection yet' : 'call connect() of the client you gave'
  }
}

function whereIs({ sentinel, nodes, client }: ResolvedSettings): string {
  if (client !== undefined) return 'the given client'
  const addresses = (sentinel?.nodes ?? nodes).map(
    ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
  )
  return `${sentinel === undefined ? '' : 'sentinel '}${addresses.join(', ')}`
}

/** An answer of the server that says no, such as OOM or READONLY; everything else means that no answer came. */
function isReply(error: unknown): error is Error {
  // By name as well: a client that was given may come from another copy of the driver.
  return error instanceof driver().ErrorReply || (error instanceof Error && REPLY_ERRORS.has(error.constructor.name))
}

const REPLY_ERRORS = new Set(['SimpleError', 'BlobError'])

function lost(error: unknown): UnavailableError {
  const reason = error instanceof Error ? error.message : String(error)
  return new UnavailableError('error', `The command did not reach Redis or its reply was lost: ${reason}`, {
    cause: error,
  })
}
