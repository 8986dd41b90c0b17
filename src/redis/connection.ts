import { setTimeout as pause } from 'node:timers/promises'
import { asError, SettingsError, UnavailableError } from '../errors.js'
import { type Logger, silentLogger } from '../logger.js'
import { publishStatus } from '../telemetry/recorder.js'
import { type CommandArgument, promised, type Receiver, type Reply } from './command.js'
import { CommandBudget, Deadlines } from './deadline.js'
import { checkClient, makeClient, PINGS_PER_TIMEOUT } from './driver.js'
import { ioRedisPort, isIoRedis } from './ioredis.js'
import { nodeRedisPort } from './node-redis.js'
import { type ClientPort, isReply, type Topology } from './port.js'
import {
  addressesOf,
  type ConnectionCounters,
  type ConnectionStatus,
  connectProblem,
  noCounts,
  problemsOf,
  StatusLog,
  statusOf,
  ServerWatch,
} from './server.js'
import type { IoRedis, NodeRedis, ResolvedSettings } from './settings.js'
import type { NodeConnection } from './node-connection.js'
import { Subscriber } from './subscriber.js'
import { Tracking, type TrackingListener } from './tracking.js'
import { connectNodes, type NodeConnections } from './topology.js'

/** How long `connect()` waits in addition to the time of one attempt. */
const CONNECT_GRACE_MS = 1000

/** The longest that the start of an application waits for its first connection. */
const ATTEMPT_MAX_MS = 1000

/** Pause between attempts to connect to a cluster or to sentinels, of which the driver makes one. */
const CONNECT_PAUSE_MS = 250

/** The driver has no event for a master that the sentinels have found; while there is none it is asked this often. */
const MASTER_POLL_MS = 50

/** The longest a close waits for commands under way and those that follow from their replies. */
const DRAIN_LIMIT_MS = 1000

type StatusListener = (status: ConnectionStatus, previous: ConnectionStatus) => void

export interface ConnectionOptions {
  /** This process' clock. Default `Date.now`. */
  readonly now?: () => number
  /** The connection whose invalidations this one confirms: its commands are answered once enough replicas have them. */
  readonly main?: Connection
}

/** The connection to Redis: never queues while there is no server, never waits longer than a command's budget. */
export class Connection {
  readonly topology: Topology
  /** The client as applications use it, with its driver's own reply types; the given client, if there is one. */
  readonly client: NodeRedis | IoRedis
  readonly #port: ClientPort
  /**
   * What to add to this process' clock to have that of Redis; 0 until it was measured. On a cluster the clock of the
   * primary whose address sorts first, so that all processes choose the same.
   */
  clockOffsetMs = 0
  readonly #where: string
  readonly #log: StatusLog
  readonly #own: boolean
  readonly #replicated: boolean
  readonly #deadlines: Deadlines
  readonly #nodes: NodeConnections
  readonly #unlisten: () => void
  readonly #watch: ServerWatch
  readonly #subscriber: Subscriber
  readonly #tracking: Tracking[] = []
  readonly #counters = noCounts()
  readonly #listeners = new Set<StatusListener>()
  #status: ConnectionStatus = 'unavailable'
  #started = false
  #everReady = false
  #lastError: Error | undefined
  /** Aborted when an attempt to connect has failed. */
  readonly #failed = new AbortController()
  #poll: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  constructor(
    private readonly settings: ResolvedSettings,
    private readonly logger: Logger,
    options: ConnectionOptions = {},
  ) {
    const { main, now = Date.now } = options
    this.#where = addressesOf(settings)
    this.#log = new StatusLog(logger, this.#where)
    this.#replicated = main !== undefined
    this.#own = settings.client === undefined || this.#replicated
    this.client = settings.client ?? makeClient(settings)
    const port = portOf(this.client, settings)
    this.#port = this.#replicated && settings.client !== undefined ? port.duplicate() : port
    this.topology = this.#port.topology
    // Shared, because one budget may cover commands of both connections.
    this.#deadlines = main === undefined ? new Deadlines(settings.commandTimeoutMs) : main.#deadlines
    this.#watch = new ServerWatch(settings, this.#where, logger)
    this.#nodes = connectNodes(this.#port, {
      where: this.#where,
      replicas: this.#replicated ? { count: settings.waitForReplicas, limitMs: settings.commandTimeoutMs } : undefined,
      deadlines: this.#deadlines,
      healthIntervalMs: settings.socketTimeoutMs / PINGS_PER_TIMEOUT,
      counters: this.#counters,
      now,
      onHandshake: (facts) => this.#watch.onHandshake(facts),
      onChange: () => this.#updateStatus(),
      onClock: () => this.#updateClock(),
      onForbidden: (message) => this.#watch.onForbidden(message),
    })
    this.#subscriber = new Subscriber(this.#port, settings, logger)
    this.#unlisten = this.#port.listen({ failed: this.#fail, changed: (renewed) => this.#refresh(renewed) })
    if (!this.#replicated) this.onStatus((status, previous) => publishStatus(this.#where, status, previous))
  }

  get status(): ConnectionStatus {
    return this.#status
  }

  /** Whether some primaries of a cluster answer and others do not. */
  get isPartial(): boolean {
    return this.#status === 'degraded' && this.#nodes.all().some(({ state }) => state === 'ready')
  }

  get counters(): ConnectionCounters {
    return { ...this.#counters }
  }

  /** Changes whenever a server was restarted, promoted or met for the first time; see `lives`. */
  get generation(): number {
    return this.#watch.generation
  }

  /** Names of the lives of servers that this process has met; each restart and each promotion starts another. */
  get lives(): readonly string[] {
    return this.#watch.lives
  }

  /** The life of the server that has a key, regardless of `trustRestarts`; empty where it is not known. */
  serverOf(key: string): string {
    return this.#nodes.of(key)?.life ?? ''
  }

  /** The servers behind the connection: one, or every primary of a cluster. For operators. */
  get servers(): readonly NodeConnection[] {
    return this.#nodes.all()
  }

  /** Sends a command that no request waits for to the node that has `key`: see `NodeConnection.inspect`. */
  inspect(args: readonly CommandArgument[], key: string | undefined): Promise<Reply> {
    const node = this.#status === 'closed' ? undefined : this.#nodes.of(key)
    return node?.state === 'ready' ? node.inspect(args, key) : Promise.reject(this.#unavailable())
  }

  /** A connection of its own for invalidations, where the settings ask for replicas to acknowledge them. */
  replicated(): Connection | undefined {
    // Silent, because the main one logs about the same servers.
    return this.settings.waitForReplicas === 0 ? undefined : new Connection(this.settings, silentLogger, { main: this })
  }

  /** An entry without expiry is stored; logged once where the server cannot evict it. */
  unbounded(): void {
    this.#watch.onUnbounded()
  }

  /**
   * Sends a command to the node that has `key`; any node where it is undefined. The receiver gets an UnavailableError
   * when Redis does not answer within `budget` (without one: within the command timeout), at once where that is known.
   */
  ask(
    args: readonly CommandArgument[],
    key: string | undefined,
    budget: CommandBudget | undefined,
    receiver: Receiver,
  ): void {
    const node = this.#status === 'closed' ? undefined : this.#nodes.of(key)
    if (node === undefined) return receiver.onError(this.#unavailable())
    node.ask(args, key, this.#replicated ? (budget ?? this.invalidationBudget()) : budget, receiver)
  }

  /** The same as a promise. */
  execute(args: readonly CommandArgument[], key: string | undefined, budget?: CommandBudget): Promise<Reply> {
    return promised((receiver) => this.ask(args, key, budget, receiver))
  }

  /** The time that all commands of one request may take together. */
  commandBudget(): CommandBudget {
    return new CommandBudget(this.settings.commandTimeoutMs)
  }

  /** The time that all commands of one invalidation may take together. */
  invalidationBudget(): CommandBudget {
    return new CommandBudget(this.settings.invalidationTimeoutMs)
  }

  /** For one part of a large call, which may be slow by its size. */
  bulkBudget(): CommandBudget {
    return new CommandBudget(this.settings.invalidationTimeoutMs, true)
  }

  /**
   * Messages of a channel, over a second connection that is opened for the first subscription. Resolves when the server
   * has confirmed; `onReset` is called when the connection was lost and is back, so messages may be missing.
   */
  subscribe(channel: string, listener: (message: Buffer) => void, onReset: () => void): Promise<() => Promise<void>> {
    if (this.#status !== 'ready' && this.#status !== 'degraded') return Promise.reject(this.#unavailable())
    return this.#subscriber.subscribe(channel, listener, onReset)
  }

  /**
   * Calls the listener with changes of the keys below a prefix, over a separate connection to each server. They stop
   * with this connection.
   */
  track(prefix: string, listener: TrackingListener): Tracking {
    // `portOf` refuses a near cache on any other.
    const tracking = new Tracking(this.client as NodeRedis, prefix, listener, this.logger)
    this.#tracking.push(tracking)
    return tracking
  }

  /** Starts to connect. Neither waits nor throws: the application starts without Redis, too. */
  start(): void {
    if (this.#started || this.#status === 'closed') return
    this.#started = true
    this.#refresh()
    // A given client is connected by its owner.
    if (this.#own && !this.#port.isOpen) void this.#connectClient()
  }

  /** Waits until commands are answered. Rejects when that takes longer than the connect time-out allows. */
  async connect(): Promise<void> {
    this.start()
    if (this.#status !== 'ready') await this.#readyOrClosed(this.settings.connectTimeoutMs + CONNECT_GRACE_MS)
    if (this.#status !== 'ready') throw this.#unavailable()
  }

  /** Waits until commands are answered or the first attempt to connect has failed, for a second at most. Never rejects. */
  async attempted(): Promise<void> {
    const isUnderWay = this.#status === 'unavailable' && this.#lastError === undefined
    if (isUnderWay && (this.#own || this.#port.isOpen)) await this.#readyOrClosed(ATTEMPT_MAX_MS, [this.#failed.signal])
  }

  /** The time of one round trip, in milliseconds. */
  async ping(): Promise<number> {
    const startedAt = performance.now()
    await this.execute(['PING'], undefined)
    return performance.now() - startedAt
  }

  /** Calls the listener at each change of status. Returns the function that removes it. */
  onStatus(listener: StatusListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Finishes pending commands and closes all sockets and timers. A given client stays open. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#drain()
    this.#setStatus('closed')
    clearInterval(this.#poll)
    this.#nodes.stop()
    await Promise.all([...this.#tracking, this.#subscriber].map((one) => one.close()))
    if (this.#own) await this.#port.close()
    await this.#deadlines.idle()
    // Our own client keeps its error listener: an error that it emits later must not end the process.
    if (!this.#own) this.#unlisten()
  }

  /** A caller sends its next command in the turn in which the last one was answered, or in the one after it. */
  async #drain(): Promise<void> {
    const limitAt = performance.now() + DRAIN_LIMIT_MS
    do {
      await this.#deadlines.idle()
      await new Promise((resolve) => setImmediate(resolve))
    } while (this.#deadlines.busy && performance.now() < limitAt)
  }

  /** The driver retries a single server indefinitely, but gives up on a cluster or sentinels when none answers. */
  async #connectClient(): Promise<void> {
    while (this.#status !== 'closed') {
      try {
        await this.#port.connect()
        return this.#refresh()
      } catch (error) {
        this.#fail(error)
        await pause(CONNECT_PAUSE_MS, undefined, { ref: false })
      }
    }
  }

  async #readyOrClosed(limitMs: number, ends: readonly AbortSignal[] = []): Promise<void> {
    const settled = new AbortController()
    const unlisten = this.onStatus((status) => {
      if (status === 'ready' || status === 'closed') settled.abort()
    })
    await pause(limitMs, undefined, { signal: AbortSignal.any([settled.signal, ...ends]) }).catch(() => {})
    unlisten()
  }

  readonly #fail = (error: unknown): void => {
    this.#lastError = asError(error)
    this.#failed.abort()
    this.#refresh()
    if (this.#status === 'unavailable' && !this.#everReady) this.#log.neverConnected(this.#reason())
    if (isReply(error)) this.#log.refused(error.message)
  }

  readonly #update = (): void => this.#refresh()

  /** `renewed`: a new connection may lead to another server than before, or to one that was restarted. */
  #refresh(renewed?: string): void {
    if (this.#status === 'closed') return
    this.#nodes.refresh(renewed)
    this.#updateStatus()
  }

  #updateClock(): void {
    const measured = this.#nodes.all().filter(({ clockOffsetMs }) => clockOffsetMs !== undefined)
    const [first] = measured.toSorted((one, other) => (one.where < other.where ? -1 : 1))
    this.clockOffsetMs = Math.round(first?.clockOffsetMs ?? 0)
  }

  #updateStatus(): void {
    if (this.#status === 'closed' || !this.#started) return
    const nodes = this.#nodes.all()
    const status = statusOf(nodes)
    // The primaries of a cluster are connected one after the other; that is no news as long as none of them fails.
    const failing = this.#lastError !== undefined || nodes.some(({ state }) => state === 'degraded')
    const starting = status === 'degraded' && !this.#everReady && !failing
    this.#setStatus(starting ? 'unavailable' : status)
    this.#pollForMaster()
  }

  #pollForMaster(): void {
    if (this.topology === 'sentinel' && this.#status !== 'ready') {
      this.#poll ??= setInterval(this.#update, MASTER_POLL_MS).unref()
    } else {
      clearInterval(this.#poll)
      this.#poll = undefined
    }
  }

  #setStatus(status: ConnectionStatus): void {
    const previous = this.#status
    if (status === previous) return
    this.#status = status
    this.#log.changed(status, status === 'degraded' ? problemsOf(this.#nodes.all()) : this.#reason(), this.isPartial)
    if (status === 'ready') {
      this.#everReady = true
      this.#lastError = undefined
    }
    for (const listener of [...this.#listeners]) listener(status, previous)
  }

  #unavailable(): UnavailableError {
    if (this.#status === 'closed') return new UnavailableError('closed', 'The connection to Redis was closed.')
    if (this.#status === 'degraded')
      return new UnavailableError('breaker-open', `Redis at ${this.#where} ${problemsOf(this.#nodes.all())}.`)
    const message = `Redis at ${this.#where} is not connected (${this.#reason()}).`
    return new UnavailableError('not-ready', message, { cause: this.#lastError })
  }

  #reason(): string {
    if (this.#lastError !== undefined) return connectProblem(this.#lastError, this.settings, this.#everReady)
    if (this.#everReady) return 'the connection was closed'
    return this.#own || this.#port.isOpen ? 'no connection yet' : 'call connect() on the client that you passed'
  }
}

function portOf(client: NodeRedis | IoRedis, { client: given, nearBytes }: ResolvedSettings): ClientPort {
  if (isIoRedis(client)) {
    if (nearBytes !== undefined)
      throw new SettingsError([
        'near: needs the driver of redwell or a client of node-redis; leave it out with ioredis',
      ])
    return ioRedisPort(client)
  }
  if (given !== undefined) checkClient(client)
  return nodeRedisPort(client)
}
