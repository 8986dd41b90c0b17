import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import { publishStatus } from '../telemetry/recorder.js'
import { closeClient, makeClient, type NodeRedis, type Topology, topologyOf } from './client.js'
import { CommandBudget, Deadlines } from './deadline.js'
import { type ConnectionCounters, isReply, type NodeConnection, noCounts } from './node-connection.js'
import { ServerWatch } from './server.js'
import type { ResolvedSettings } from './settings.js'
import { Subscriber } from './subscriber.js'
import { type NodeConnections, lanesOf } from './topology.js'

export type CommandArgument = string | Buffer

export type Reply = null | number | string | Buffer | readonly Reply[]

/**
 * - `ready`: commands are answered
 * - `degraded`: connected, but the server does not answer in time, or not yet; on a cluster, one of its primaries is
 *   away. Commands are tried only where they will be answered
 * - `unavailable`: not connected
 * - `closed`: for good
 */
export type ConnectionStatus = 'ready' | 'degraded' | 'unavailable' | 'closed'

/** How long `connect()` insists beside the time one attempt may take. */
const CONNECT_PATIENCE_MS = 1000

/** Between attempts at a cluster or at sentinels; the driver makes one. */
const CONNECT_PAUSE_MS = 250

/** The driver does not say that sentinels have named a master; it is asked, while there is none. */
const LOOK_MS = 50

/** The longest a close waits for what is under way, command after command. */
const DRAIN_LIMIT_MS = 1000

const FAILURE_EVENTS = ['error', 'node-error'] as const

const READY_EVENTS = ['ready', 'node-ready'] as const

const LIFE_EVENTS = [
  'connect',
  'end',
  'reconnecting',
  'terminated',
  'disconnect',
  'node-reconnecting',
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
  readonly #deadlines: Deadlines
  readonly #lanes: NodeConnections
  readonly #watch: ServerWatch
  readonly #wakeLine: Subscriber
  readonly #counters = noCounts()
  readonly #listeners = new Set<StatusListener>()
  #status: ConnectionStatus = 'unavailable'
  #started = false
  #everReady = false
  #lastError: Error | undefined
  #looking: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  /** `invalidations`: a line whose commands count as answered when as many replicas have them as the settings say. */
  constructor(settings: ResolvedSettings, logger: Logger, use: 'everything' | 'invalidations' = 'everything') {
    this.#settings = settings
    this.#where = whereIs(settings)
    this.#log = new StatusLog(logger, this.#where)
    const extra = use === 'invalidations'
    this.#own = settings.client === undefined || extra
    this.client = (extra ? settings.client?.duplicate() : settings.client) ?? makeClient(settings)
    this.topology = topologyOf(this.client)
    const limitMs = extra ? settings.invalidationTimeoutMs : settings.commandTimeoutMs
    this.#deadlines = new Deadlines(limitMs)
    this.#watch = new ServerWatch(settings, this.#where, logger)
    const replicas = extra ? { count: settings.waitForReplicas, limitMs: settings.commandTimeoutMs } : undefined
    this.#lanes = lanesOf(
      this.client,
      this.topology,
      { where: this.#where, replicas },
      {
        deadlines: this.#deadlines,
        limitMs,
        counters: this.#counters,
        onGreeted: (facts) => this.#watch.greeted(facts),
        onChange: () => this.#judge(),
        onForbidden: (message) => this.#watch.forbidden(message),
      },
    )
    this.#wakeLine = new Subscriber(this.client, this.topology, settings, logger)
    this.#listen()
    if (!extra) this.onStatus((status, previous) => publishStatus(this.#where, status, previous))
  }

  get status(): ConnectionStatus {
    return this.#status
  }

  get counters(): ConnectionCounters {
    return { ...this.#counters }
  }

  /** Another number whenever a server was restarted, promoted or met for the first time; see `lives`. */
  get generation(): number {
    return this.#watch.generation
  }

  /** The lives of servers that this process has met, as names; each restart and each promotion begins another. */
  get lives(): readonly string[] {
    return this.#watch.lives
  }

  /** An entry without expiry is stored; the operator is told once where the server cannot evict it. */
  unbounded(): void {
    this.#watch.unbounded()
  }

  /**
   * Sends a command to the node that has `key`; any node where it is undefined. Rejects with UnavailableError when Redis
   * does not answer within `budget` (without one: within the command timeout), at once where that is known.
   */
  execute(args: readonly CommandArgument[], key: string | undefined, budget?: CommandBudget): Promise<Reply> {
    const lane = this.#status === 'closed' ? undefined : this.#lanes.of(key)
    return lane === undefined ? Promise.reject(this.#unavailable()) : lane.execute(args, key, budget)
  }

  /** The time that all commands of one request may take together. */
  commandBudget(): CommandBudget {
    return new CommandBudget(this.#settings.commandTimeoutMs)
  }

  /** The time that all commands of one invalidation may take together. */
  invalidationBudget(): CommandBudget {
    return new CommandBudget(this.#settings.invalidationTimeoutMs)
  }

  /** For one part of a large call, which may be slow by its size. */
  bulkBudget(): CommandBudget {
    return new CommandBudget(this.#settings.invalidationTimeoutMs, { bulk: true })
  }

  /**
   * Messages of a channel, over a second connection that is opened for the first one. Resolves when the server has
   * confirmed; `onReset` is called when the connection was lost and is back, so messages may be missing.
   */
  subscribe(channel: string, listener: (message: Buffer) => void, onReset: () => void): Promise<() => Promise<void>> {
    if (this.#status !== 'ready' && this.#status !== 'degraded') return Promise.reject(this.#unavailable())
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
    if (!settled(this.#status)) await changesTo(this, settled, this.#settings.connectTimeoutMs + CONNECT_PATIENCE_MS)
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
    await this.#drain()
    this.#setStatus('closed')
    clearInterval(this.#looking)
    this.#lanes.stop()
    await Promise.all([this.#wakeLine.close(), this.#own ? closeClient(this.client) : undefined])
    await this.#deadlines.idle()
    // The error listener of our own client stays: what it still says must not end the process.
    if (!this.#own) this.#unlisten()
  }

  /** What takes several commands goes on with the next one in the turn in which the last one is answered, or the one after. */
  async #drain(): Promise<void> {
    const limitAt = performance.now() + DRAIN_LIMIT_MS
    do {
      await this.#deadlines.idle()
      await new Promise((resolve) => setImmediate(resolve))
    } while (this.#deadlines.busy && performance.now() < limitAt)
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

  #listen(): void {
    for (const event of FAILURE_EVENTS) this.client.on(event, this.#fail)
    for (const event of READY_EVENTS) this.client.on(event, this.#renewed)
    for (const event of LIFE_EVENTS) this.client.on(event, this.#update)
  }

  #unlisten(): void {
    for (const event of FAILURE_EVENTS) this.client.off(event, this.#fail)
    for (const event of READY_EVENTS) this.client.off(event, this.#renewed)
    for (const event of LIFE_EVENTS) this.client.off(event, this.#update)
  }

  readonly #fail = (error: unknown): void => {
    this.#lastError = error instanceof Error ? error : new Error(String(error))
    this.#update()
    if (this.#status === 'unavailable' && !this.#everReady) this.#log.neverConnected(this.#reason())
    if (isReply(error)) this.#log.refused(error.message)
  }

  /** A connection is a new one, which may lead to another server than before, or to one that was restarted. */
  readonly #renewed = (node?: { readonly host: string; readonly port: number }): void => {
    this.#refresh(node === undefined ? '' : `${node.host}:${node.port}`)
  }

  readonly #update = (): void => this.#refresh()
  #refresh(renewed?: string): void {
    if (this.#status === 'closed') return
    this.#lanes.refresh(renewed)
    this.#judge()
  }

  #judge(): void {
    if (this.#status === 'closed' || !this.#started) return
    const status = statusOf(this.#lanes.all())
    // The primaries of a cluster are connected one after the other; that is no news as long as none of them fails.
    const beginning = status === 'degraded' && !this.#everReady && !this.#failing()
    this.#setStatus(beginning ? 'unavailable' : status)
    this.#keepLooking()
  }

  #failing(): boolean {
    return this.#lastError !== undefined || this.#lanes.all().some(({ state }) => state === 'degraded')
  }

  #keepLooking(): void {
    const away = this.topology === 'sentinel' && this.#status !== 'ready'
    if (away) this.#looking ??= setInterval(this.#update, LOOK_MS).unref()
    else {
      clearInterval(this.#looking)
      this.#looking = undefined
    }
  }

  #setStatus(status: ConnectionStatus): void {
    const previous = this.#status
    if (status === previous) return
    this.#status = status
    this.#log.changed(status, status === 'degraded' ? whatIsWrong(this.#lanes.all()) : this.#reason())
    if (status === 'ready') {
      this.#everReady = true
      this.#lastError = undefined
    }
    for (const listener of [...this.#listeners]) listener(status, previous)
  }

  #unavailable(): UnavailableError {
    if (this.#status === 'closed') return new UnavailableError('closed', 'The connection to Redis was closed.')
    if (this.#status === 'degraded')
      return new UnavailableError('breaker-open', `Redis at ${this.#where} ${whatIsWrong(this.#lanes.all())}.`)
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

/** Ends when the status is one of those waited for, or at the limit. */
export async function changesTo(
  connection: Pick<Connection, 'onStatus'>,
  wanted: (status: ConnectionStatus) => boolean,
  limitMs: number,
): Promise<void> {
  let finish = (): void => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const timer = setTimeout(finish, limitMs)
  const unlisten = connection.onStatus((status) => {
    if (wanted(status)) finish()
  })
  await finished
  clearTimeout(timer)
  unlisten()
}

/** Says each change of the connection once: what was lost and why, and how long it took to come back. */
export class StatusLog {
  readonly #logger: Logger
  readonly #where: string
  #lostAt: number | undefined
  #refusal: string | undefined

  constructor(logger: Logger, where: string) {
    this.#logger = logger
    this.#where = where
  }

  changed(status: ConnectionStatus, reason: string): void {
    if (status === 'closed') return
    if (status === 'ready') return this.#back()
    this.#lost(status === 'degraded' ? reason : `is unavailable (${reason})`)
  }

  /** The first connection could not be made. Further attempts say nothing. */
  neverConnected(reason: string): void {
    if (this.#lostAt !== undefined) return
    this.#lost(`is unavailable (${reason})`)
    this.#refusal = reason
  }

  /** The server answered, and does not let us in: another cause than the one said when it was lost. Said once. */
  refused(reason: string): void {
    if (this.#lostAt === undefined || this.#refusal === reason) return
    this.#refusal = reason
    this.#logger.warn(`redwell: Redis at ${this.#where} refuses the connection (${reason})`)
  }

  #lost(what: string): void {
    this.#lostAt ??= performance.now()
    this.#logger.warn(`redwell: Redis at ${this.#where} ${what}; requests are served without the cache`)
  }

  #back(): void {
    if (this.#lostAt === undefined) return
    const awayMs = Math.round(performance.now() - this.#lostAt)
    this.#lostAt = undefined
    this.#refusal = undefined
    this.#logger.info(`redwell: Redis at ${this.#where} is back after ${awayMs} ms`)
  }
}

type Reachable = Pick<NodeConnection, 'state' | 'reason' | 'port'>

/** The addresses as they were given, for messages. */
export function whereIs({ sentinel, nodes, client }: ResolvedSettings): string {
  if (client !== undefined) return 'the given client'
  const addresses = (sentinel?.nodes ?? nodes).map(
    ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
  )
  return `${sentinel === undefined ? '' : 'sentinel '}${addresses.join(', ')}`
}

/** What an operator is told of servers that are connected and do not serve. */
export function whatIsWrong(lanes: readonly Reachable[]): string {
  const away = lanes.filter(({ state }) => state !== 'ready')
  if (lanes.length <= 1) return problemOf(away[0])
  const nodes = away.map((lane) => `${lane.port.where} ${problemOf(lane)}`)
  return `has ${lanes.length - away.length} of ${lanes.length} primaries: ${nodes.join('; ')}`
}

function problemOf(lane: Reachable | undefined): string {
  if (lane?.reason !== undefined) return `cannot serve now (${lane.reason})`
  return lane?.state === 'unavailable' ? 'is not connected' : 'does not answer in time'
}

/** What the servers together are to an application. */
export function statusOf(lanes: readonly Pick<NodeConnection, 'state'>[]): ConnectionStatus {
  if (lanes.length > 0 && lanes.every(({ state }) => state === 'ready')) return 'ready'
  return lanes.some(({ state }) => state !== 'unavailable') ? 'degraded' : 'unavailable'
}
