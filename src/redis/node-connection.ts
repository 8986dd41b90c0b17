import { UnavailableError } from '../errors.js'
import { publishBreaker } from '../telemetry/recorder.js'
import { Breaker } from './breaker.js'
import { driver } from './client.js'
import type { CommandBudget, Deadlines } from './deadline.js'
import { factsOf, type ServerFacts } from './server.js'
import type { Send } from './topology.js'

/** Between questions to a server that is there and not yet of use: it reads its data, or it is a replica. */
const GREET_PAUSE_MS = 100

/** One server as the driver reaches it. */
export interface Port {
  /** Names the server in messages. */
  readonly where: string
  /** Whether the driver would write a command now. */
  isReady(): boolean
  readonly send: Send
  /** A node of a cluster answers for another primary's keys by a redirection; a lone replica would answer with old data. */
  readonly mayBeReplica: boolean
  /** Calls back when the connection was lost, or (`renewed`) is a new one, where the driver's client does not say so. */
  watch?(changed: (renewed: boolean) => void): void
}

/**
 * - `ready`: commands are sent
 * - `degraded`: connected, but the server does not answer in time, or not yet
 * - `unavailable`: not connected
 */
export type LaneState = 'ready' | 'degraded' | 'unavailable'

export interface LaneOptions {
  readonly deadlines: Deadlines
  readonly limitMs: number
  readonly counters: Counting
  /** Told before the lane is ready, each time that a connection was made. Undefined where the server does not tell. */
  readonly onGreeted: (facts: ServerFacts | undefined) => void
  readonly onChange: () => void
  readonly onForbidden: (message: string) => void
}

/** The line to one server: its deadline, its breaker, and whether it is of use at all. */
export class NodeConnection {
  readonly port: Port
  readonly #options: LaneOptions
  readonly #breaker: Breaker
  #state: LaneState = 'unavailable'
  #connected = false
  #greeted = false
  /** Counts connections, so that what one of them still says is not taken for the next one's. */
  #connection = 0
  #reason: string | undefined
  #pause: NodeJS.Timeout | undefined

  constructor(port: Port, options: LaneOptions) {
    this.port = port
    this.#options = options
    port.watch?.((renewed) => (renewed ? this.renewed() : this.refresh()))
    this.#breaker = new Breaker(
      () => this.#probe(),
      (state, previous) => {
        publishBreaker(port.where, state, previous)
        if (state === 'open') options.counters.opened += 1
        this.#settle()
      },
    )
  }

  get state(): LaneState {
    return this.#state
  }

  /** Why the server is not of use, where it said so itself. */
  get reason(): string | undefined {
    return this.#reason
  }

  /** Sends a command under the deadline. Rejects with UnavailableError when the server cannot answer. */
  execute(
    args: Parameters<Send>[0],
    key: string | undefined,
    budget?: CommandBudget,
  ): Promise<Awaited<ReturnType<Send>>> {
    if (!this.port.isReady()) this.refresh()
    if (this.#state !== 'ready') return Promise.reject(this.#refusal())
    return new Promise((resolve, reject) => {
      const late = (): void => reject(outOfTime(budget?.limitMs ?? this.#options.limitMs))
      const pending = this.#options.deadlines.add(() => {
        this.#options.counters.missed += 1
        this.#breaker.missed()
        late()
      }, budget)
      if (pending === undefined) return late()
      this.port.send(args, key).then(
        (reply) => {
          if (!pending.settle()) return
          this.#breaker.answered()
          resolve(reply)
        },
        (error: unknown) => {
          if (pending.settle()) reject(this.#judge(error))
        },
      )
    })
  }

  /** Looks whether the connection is there. Called after anything that may have changed it. */
  refresh(): void {
    const connected = this.port.isReady()
    if (connected === this.#connected) return
    if (connected) return this.renewed()
    this.#connected = false
    this.#greeted = false
    this.#reason = undefined
    this.#connection += 1
    clearTimeout(this.#pause)
    this.#settle()
  }

  /** The connection is a new one: whether this server may be used is asked anew. */
  renewed(): void {
    this.#connected = true
    this.#greeted = false
    this.#connection += 1
    this.#options.counters.connected += 1
    clearTimeout(this.#pause)
    this.#settle()
    this.#greet(this.#connection)
  }

  stop(): void {
    this.#connection += 1
    clearTimeout(this.#pause)
    if (this.#breaker.state !== 'closed') publishBreaker(this.port.where, 'closed', this.#breaker.state)
    this.#breaker.stop()
  }

  /** An answer that says no is the caller's business; that the server does not serve is the breaker's. */
  #judge(error: unknown): Error {
    if (error instanceof UnavailableError) {
      this.#breaker.answered()
      return error
    }
    if (isReply(error) && !saysAway(error)) {
      this.#breaker.answered()
      if (codeOf(error) === 'NOPERM') this.#options.onForbidden(error.message)
      return error
    }
    this.#options.counters.lost += 1
    if (isReply(error)) this.#reason = error.message
    if (isReply(error) && codeOf(error) === 'READONLY' && !this.port.mayBeReplica) this.renewed()
    else this.#breaker.missed()
    return lost(error)
  }

  #greet(connection: number): void {
    this.port.send(['INFO'], undefined).then(
      (reply) => this.#introduced(connection, factsOf(String(reply))),
      // Not allowed to ask, or nothing to be told: then the server is taken as it is.
      (error: unknown) => {
        if (isReply(error) && !saysAway(error)) this.#introduced(connection, undefined)
        else this.#greetLater(connection, error instanceof Error ? error.message : String(error))
      },
    )
  }

  #introduced(connection: number, facts: ServerFacts | undefined): void {
    if (connection !== this.#connection) return
    if (facts?.isLoading === true) return this.#greetLater(connection, 'it is loading its data')
    if (facts?.isReplica === true && !this.port.mayBeReplica)
      return this.#greetLater(connection, 'it is a replica, which takes no writes')
    this.#options.onGreeted(facts)
    this.#greeted = true
    this.#reason = undefined
    // A handshake that was answered is as good as a probe.
    this.#breaker.reconnected()
    this.#settle()
  }

  #greetLater(connection: number, reason: string): void {
    if (connection !== this.#connection) return
    this.#reason = reason
    this.#settle()
    this.#pause = setTimeout(() => this.#greet(connection), GREET_PAUSE_MS).unref()
  }

  async #probe(): Promise<boolean> {
    let inTime = true
    const pending = this.#options.deadlines.add(() => (inTime = false))
    try {
      await this.port.send(['PING'], undefined)
    } catch (error) {
      if (!isReply(error) || saysAway(error)) throw error
    } finally {
      pending?.settle()
    }
    return inTime
  }

  #settle(): void {
    const state = this.#judgeState()
    if (state === this.#state) return
    this.#state = state
    this.#options.onChange()
  }

  #judgeState(): LaneState {
    // Until the server has told what it is there is nothing to say of it.
    if (!this.#connected || (!this.#greeted && this.#reason === undefined)) return 'unavailable'
    return this.#greeted && this.#breaker.state !== 'open' ? 'ready' : 'degraded'
  }

  #refusal(): UnavailableError {
    this.#options.counters.refused += 1
    const { where } = this.port
    if (!this.#connected) return new UnavailableError('not-ready', `Redis at ${where} is not connected.`)
    const why = this.#reason === undefined ? 'does not answer in time' : `cannot serve now (${this.#reason})`
    const reason = this.#greeted ? 'breaker-open' : 'not-ready'
    return new UnavailableError(reason, `Redis at ${where} ${why}.`)
  }
}

function outOfTime(limitMs: number): UnavailableError {
  return new UnavailableError('deadline', `Redis did not answer within ${limitMs} ms.`)
}

function lost(error: unknown): UnavailableError {
  const reason = error instanceof Error ? error.message : String(error)
  return new UnavailableError('error', `The command did not reach Redis or its reply was lost: ${reason}`, {
    cause: error,
  })
}

/** What befell the commands of the cache since the connection was made. */
export interface ConnectionCounters {
  /** Not tried, because it was known that they would not be answered. */
  readonly refused: number
  /** Sent, and not answered within their deadline. */
  readonly missed: number
  /** Sent, and lost with their connection, or answered by a server that does not serve for now. */
  readonly lost: number
  /** How often commands to a server were given up until it answers again. */
  readonly opened: number
  /** Connections to a server that were made, the first ones included. */
  readonly connected: number
}

export type Counting = { -readonly [Name in keyof ConnectionCounters]: ConnectionCounters[Name] }

export function noCounts(): Counting {
  return { refused: 0, missed: 0, lost: 0, opened: 0, connected: 0 }
}

/**
 * First words of replies by which a server says that it cannot serve for now: it reads its data, it is a replica, a
 * script blocks it, its cluster is incomplete, or it wants another password. Every other error is an answer.
 */
const AWAY = new Set(['LOADING', 'READONLY', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'NOAUTH'])

/** Their names, because a client that was given may come from another copy of the driver. */
const REPLY_ERRORS = new Set(['SimpleError', 'BlobError'])

/** An answer of the server that says no, such as OOM; everything else means that no answer came. */
export function isReply(error: unknown): error is Error {
  return error instanceof driver().ErrorReply || (error instanceof Error && REPLY_ERRORS.has(error.constructor.name))
}

/** The code of an error reply, which is its first word. */
export function codeOf(error: Error): string {
  const end = error.message.indexOf(' ')
  return end === -1 ? error.message : error.message.slice(0, end)
}

/** Whether an error reply means that this server does not serve at the moment. */
export function saysAway(error: Error): boolean {
  return AWAY.has(codeOf(error))
}
