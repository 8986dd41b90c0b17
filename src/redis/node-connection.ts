import { messageOf, UnavailableError } from '../errors.js'
import { publishBreaker } from '../telemetry/recorder.js'
import { type CommandArgument, type CommandChannel, type Receiver, type Reply } from './command.js'
import { type CommandBudget, type Deadlines, Pending } from './deadline.js'
import { codeOf, isForbidden, isReply } from './port.js'
import { type Counting, factsOf, HEALTH_INFO, INFO, type NodeState, ServerClock, type ServerFacts } from './server.js'

/** Pause before a server that is loading its data, or is a replica, is asked again. */
const HANDSHAKE_PAUSE_MS = 100

/** A miss counts for the breaker only where the command had this part of the command timeout: budgets may be nearly spent. */
const COUNTED_PART = 0.5

const REPLICA = 'it is a replica, which rejects writes'

/**
 * - `closed`: commands are sent
 * - `open`: none is sent; one probe at a time finds out whether the server answers again
 * - `half-open`: a probe was answered in time; commands are sent, and the first of them decides
 */
export type BreakerState = 'closed' | 'open' | 'half-open'

/** Failures in a row after which no more commands are sent. One may be chance; three are not. */
const FAILURES_TO_OPEN = 3

/** Pause before the next probe after a failed trial, for a server that answers probes only. Doubles with each. */
const PAUSE_FIRST_MS = 100

const PAUSE_MAX_MS = 1000

/** Circuit breaker of one server: stops sending when it does not answer in time, and probes until it does. */
export class Breaker {
  state: BreakerState = 'closed'
  #failures = 0
  #failedTrials = 0
  #probing = false
  #stopped = false
  #pause: NodeJS.Timeout | undefined

  /** `probe` resolves when the server has answered, with whether that was in time; rejects when no answer will come. */
  constructor(
    private readonly probe: () => Promise<boolean>,
    private readonly onChange: (state: BreakerState, previous: BreakerState) => void,
  ) {}

  /** A command was answered within its deadline. A late answer is no success: the request has gone on without it. */
  onSuccess(): void {
    this.#failures = 0
    if (this.state !== 'half-open') return
    this.#failedTrials = 0
    this.#become('closed')
  }

  /** A command missed its deadline, was lost with its connection, or the server cannot serve now. */
  onTimeout(): void {
    if (this.state === 'open') return
    this.#failures += 1
    if (this.state === 'closed' && this.#failures < FAILURES_TO_OPEN) return
    if (this.state === 'half-open') this.#failedTrials += 1
    this.#become('open')
    this.#scheduleProbe()
  }

  /** A new connection has completed its handshake, which is as good as a probe. */
  onConnected(): void {
    if (this.state === 'open') this.#become('half-open')
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#pause)
  }

  #become(state: BreakerState): void {
    const previous = this.state
    this.state = state
    this.#failures = 0
    clearTimeout(this.#pause)
    this.onChange(state, previous)
  }

  #scheduleProbe(): void {
    if (this.#failedTrials === 0) return void this.#startProbe()
    clearTimeout(this.#pause)
    const pauseMs = Math.min(PAUSE_FIRST_MS * 2 ** (this.#failedTrials - 1), PAUSE_MAX_MS)
    this.#pause = setTimeout(() => void this.#startProbe(), pauseMs).unref()
  }

  async #startProbe(): Promise<void> {
    if (this.state !== 'open' || this.#probing || this.#stopped) return
    this.#probing = true
    const inTime = await this.probe().catch(() => undefined)
    this.#probing = false
    if (this.state !== 'open' || this.#stopped) return
    if (inTime === true) return this.#become('half-open')
    // A late answer took longer than a deadline, so probing again at once cannot become a busy loop.
    if (inTime === false) return this.#startProbe()
    this.#failedTrials += 1
    this.#scheduleProbe()
  }
}

export interface NodeOptions {
  readonly deadlines: Deadlines
  /** Time between two health checks. */
  readonly healthIntervalMs: number
  readonly counters: Counting
  /** This process' clock, in milliseconds since the epoch. */
  readonly now: () => number
  /** Called before the node is ready, each time that a connection was made. Undefined where the server refuses INFO. */
  readonly onHandshake: (facts: ServerFacts | undefined) => void
  readonly onChange: () => void
  /** Called when the offset of the server's clock was measured. */
  readonly onClock: () => void
  readonly onForbidden: (message: string) => void
}

/** One command under way. A class, not closures: one is made for each command of the process. */
class Sent extends Pending {
  constructor(
    readonly receiver: Receiver,
    private readonly limitMs: number,
    /** Whether a miss counts for the breaker. */
    readonly counts: boolean,
    /** 1: part of a large call. */
    readonly bulk: 0 | 1,
    private readonly missed: (sent: Sent) => void,
  ) {
    super()
  }

  override miss(): void {
    this.missed(this)
  }

  late(): void {
    this.receiver.onError(new UnavailableError('deadline', `Redis did not answer within ${this.limitMs} ms.`))
  }
}

class Probe extends Pending {
  inTime = true

  override miss(): void {
    this.inTime = false
  }
}

/** The connection to one server: its deadline, its breaker, its health, and whether the cache may use it at all. */
export class NodeConnection {
  readonly where: string
  state: NodeState = 'unavailable'
  /** Why the server cannot be used, in its own words. */
  reason: string | undefined
  /** The life of the server by the last handshake, `run_id` and replication id; empty where it does not report them. */
  life = ''
  readonly #breaker: Breaker
  readonly #clock = new ServerClock()
  #connected = false
  #handshaken = false
  /** Counts connections, so that a late reply of one is not taken for a reply of the next. */
  #connection = 0
  #timer: NodeJS.Timeout | undefined
  #bulkUnderWay = 0
  #lastMissTick = -1

  constructor(
    private readonly channel: CommandChannel,
    private readonly options: NodeOptions,
  ) {
    this.where = channel.where
    channel.watch?.((renewed) => this.refresh(renewed))
    this.#breaker = new Breaker(
      () => this.#probe(),
      (state, previous) => {
        publishBreaker(channel.where, state, previous)
        if (state === 'open') options.counters.opened += 1
        this.#settle()
      },
    )
  }

  /** Of the server that is connected: the master, where `where` names its sentinels. */
  get address(): string {
    return this.channel.address?.() ?? this.where
  }

  /** What to add to this process' clock to have the server's; undefined until it was measured. */
  get clockOffsetMs(): number | undefined {
    return this.#clock.offsetMs
  }

  /** Sends a command under its deadline. The receiver gets an UnavailableError when the server cannot answer. */
  ask(
    args: readonly CommandArgument[],
    key: string | undefined,
    budget: CommandBudget | undefined,
    receiver: Receiver,
  ): void {
    if (!this.channel.isReady()) this.refresh()
    if (this.state !== 'ready') return receiver.onError(this.#refusal())
    const { deadlines } = this.options
    const limitMs = budget?.limitMs ?? deadlines.limitMs
    const counts = (budget?.remainingMs ?? limitMs) >= COUNTED_PART * deadlines.limitMs
    const sent = new Sent(receiver, limitMs, counts, budget?.bulk === true ? 1 : 0, this.#missed)
    if (!deadlines.begin(sent, budget)) return sent.late()
    this.#bulkUnderWay += sent.bulk
    this.channel.send(args, key).then(
      (reply) => this.#answered(sent, reply),
      (error: unknown) => this.#failed(sent, error),
    )
  }

  /**
   * Sends a command that no request waits for, such as an operator's: outside of deadline, breaker and counters. Pending
   * for as long as the server hangs.
   */
  async inspect(args: readonly CommandArgument[], key?: string): Promise<Reply> {
    try {
      return await this.channel.send(args, key)
    } catch (error) {
      if (isReply(error) && isForbidden(error)) this.options.onForbidden(error.message)
      throw error
    }
  }

  #answered(sent: Sent, reply: Reply): void {
    if (!sent.settle()) return
    this.#bulkUnderWay -= sent.bulk
    this.#breaker.onSuccess()
    sent.receiver.onReply(reply)
  }

  #failed(sent: Sent, error: unknown): void {
    if (!sent.settle()) return
    this.#bulkUnderWay -= sent.bulk
    sent.receiver.onError(this.#onError(error))
  }

  readonly #missed = (sent: Sent): void => {
    this.#bulkUnderWay -= sent.bulk
    this.options.counters.missed += 1
    if (sent.counts) this.#onMiss()
    sent.late()
  }

  /** Compares with the driver's connection. Called after anything that may have changed it; `renewed`: it is a new one. */
  refresh(renewed = false): void {
    const connected = this.channel.isReady()
    if (connected && (renewed || !this.#connected)) return this.#renew()
    if (connected === this.#connected) return
    this.#reset(false)
    this.reason = undefined
    this.#settle()
  }

  stop(): void {
    this.#reset(false)
    if (this.#breaker.state !== 'closed') publishBreaker(this.where, 'closed', this.#breaker.state)
    this.#breaker.stop()
  }

  /** Whether the server may be used is asked anew before it is. */
  #renew(): void {
    this.#reset(true)
    this.options.counters.connected += 1
    this.#settle()
    void this.#shakeHands(this.#connection)
  }

  #reset(connected: boolean): void {
    this.#connected = connected
    this.#handshaken = false
    this.#connection += 1
    clearTimeout(this.#timer)
  }

  /**
   * Commands that were sent in one turn of the event loop are due at one tick: together they count as one miss, so a
   * large call alone never opens the breaker. Nor do commands that were sent behind a bulk call.
   */
  #onMiss(): void {
    const { tick } = this.options.deadlines
    if (tick === this.#lastMissTick || this.#bulkUnderWay > 0) return
    this.#lastMissTick = tick
    this.#breaker.onTimeout()
  }

  /** An error reply is the caller's concern; that the server cannot serve is the breaker's. */
  #onError(error: unknown): Error {
    if (error instanceof UnavailableError || (isReply(error) && !isAway(error))) {
      this.#breaker.onSuccess()
      if (isForbidden(error)) this.options.onForbidden(error.message)
      return error
    }
    this.options.counters.lost += 1
    if (isReply(error)) this.reason = error.message
    if (isReply(error) && codeOf(error) === 'READONLY' && !this.channel.mayBeReplica) this.#renew()
    else this.#breaker.onTimeout()
    const message = `The command did not reach Redis or its reply was lost: ${messageOf(error)}`
    return new UnavailableError('error', message, { cause: error })
  }

  /** Resolves with undefined where the user may not ask: then the server is taken as it is. */
  async #info(command: readonly string[]): Promise<ServerFacts | undefined> {
    const sentAt = this.options.now()
    const startedAt = performance.now()
    try {
      const facts = factsOf(String(await this.channel.send(command, undefined)))
      const endedAt = performance.now()
      this.#clock.measure(facts.timeMs, sentAt, endedAt - startedAt, endedAt)
      this.options.onClock()
      return facts
    } catch (error) {
      if (isReply(error) && !isAway(error)) return undefined
      throw error
    }
  }

  async #shakeHands(connection: number): Promise<void> {
    const facts = await this.#info(INFO).catch((error: unknown) => messageOf(error))
    if (connection !== this.#connection) return
    if (typeof facts === 'string') return this.#refuse(connection, facts)
    if (facts?.isLoading === true) return this.#refuse(connection, 'it is loading its data')
    if (facts?.isReplica === true && !this.channel.mayBeReplica) return this.#refuse(connection, REPLICA)
    this.options.onHandshake(facts)
    this.#handshaken = true
    this.life = facts?.life ?? ''
    this.reason = undefined
    this.#breaker.onConnected()
    this.#settle()
    this.#scheduleHealthCheck(connection)
  }

  #refuse(connection: number, reason: string): void {
    this.reason = reason
    this.#settle()
    this.#timer = setTimeout(() => void this.#shakeHands(connection), HANDSHAKE_PAUSE_MS).unref()
  }

  #scheduleHealthCheck(connection: number): void {
    if (connection !== this.#connection) return
    this.#timer = setTimeout(() => void this.#checkHealth(connection), this.options.healthIntervalMs).unref()
  }

  /** A primary may be demoted, or promoted again, while the connection to it lives. */
  async #checkHealth(connection: number): Promise<void> {
    const facts = this.state === 'ready' ? await this.#info(HEALTH_INFO).catch(() => undefined) : undefined
    if (connection !== this.#connection) return
    const isDemoted = facts?.isReplica === true && !this.channel.mayBeReplica
    const isOther = facts !== undefined && !facts.isReplica && facts.life !== this.life
    if (!isDemoted && !isOther) return this.#scheduleHealthCheck(connection)
    this.reason = isDemoted ? REPLICA : 'it has another replication id'
    this.#renew()
  }

  async #probe(): Promise<boolean> {
    const probe = new Probe()
    this.options.deadlines.begin(probe)
    try {
      await this.channel.send(['PING'], undefined)
    } catch (error) {
      if (!isReply(error) || isAway(error)) throw error
    } finally {
      probe.settle()
    }
    return probe.inTime
  }

  #settle(): void {
    const state = this.#currentState()
    if (state === this.state) return
    this.state = state
    this.options.onChange()
  }

  #currentState(): NodeState {
    // Until its handshake there is nothing to report about a server.
    if (!this.#connected || (!this.#handshaken && this.reason === undefined)) return 'unavailable'
    return this.#handshaken && this.#breaker.state !== 'open' ? 'ready' : 'degraded'
  }

  #refusal(): UnavailableError {
    this.options.counters.refused += 1
    if (!this.#connected) return new UnavailableError('not-ready', `Redis at ${this.where} is not connected.`)
    const why = this.reason === undefined ? 'does not answer in time' : `cannot serve now (${this.reason})`
    return new UnavailableError(this.#handshaken ? 'breaker-open' : 'not-ready', `Redis at ${this.where} ${why}.`)
  }
}

/**
 * Codes of replies by which a server reports that it cannot serve now: it loads its data, it is a replica, a script
 * blocks it, its cluster is incomplete, or it wants another password. Every other error is an answer.
 */
const AWAY = new Set(['LOADING', 'READONLY', 'BUSY', 'MASTERDOWN', 'CLUSTERDOWN', 'NOAUTH'])

function isAway(error: Error): boolean {
  return AWAY.has(codeOf(error))
}
