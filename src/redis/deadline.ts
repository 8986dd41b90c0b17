/** Ticks in one time limit: a missed deadline is noticed up to a quarter of the limit late. */
const TICKS_PER_LIMIT = 4

/** The timer fired so many ticks late that the event loop was blocked; then only part of a tick is counted. */
const LATE_TICKS = 2

const LATE_PART = 1 / 4

/** Upper bound of a tick, so that a long limit does not keep the timer alive long after the last reply. */
const TICK_MAX_MS = 100

/**
 * Time that several commands may cost together, such as all commands of a request before its answer. It counts only
 * while at least one of them is under way; commands sent side by side are counted once.
 */
export class CommandBudget {
  #spentMs = 0
  #underWay = 0
  #since = 0

  constructor(
    readonly limitMs: number,
    /** A large call, such as a part of `setMany`: slow by its size, so that commands behind it do not open the breaker. */
    readonly bulk = false,
  ) {}

  /** What is left for the next command. */
  get remainingMs(): number {
    return Math.max(0, this.limitMs - this.#spentMs)
  }

  /** A command is sent at this time of the shared clock. Returns the time that it may take. */
  begin(now: number): number {
    if (this.#underWay === 0) this.#since = now
    this.#underWay += 1
    return this.remainingMs - Math.max(0, now - this.#since)
  }

  /** A command was answered, or missed its deadline. The clock is read for the last one that is under way only. */
  end(clock: { readonly now: number }): void {
    this.#underWay -= 1
    if (this.#underWay === 0) this.#spentMs += Math.max(0, clock.now - this.#since)
  }
}

/** What is due at one tick, in the order in which it was sent: a ring of links with this one at its end. */
class Due {
  next: Due = this
  previous: Due = this
}

/**
 * One command under way. It is a link of the list of its tick itself, so that to begin and to end one costs no entry of
 * a map and no closure.
 */
export abstract class Pending extends Due {
  /** @internal Undefined while it is not under way. */
  deadlines: Deadlines | undefined = undefined
  /** @internal */
  budget: CommandBudget | undefined = undefined

  /** Called when it was not settled in time. */
  abstract miss(): void

  /** Ends the command. False where its deadline had ended it before. */
  settle(): boolean {
    const { deadlines } = this
    if (deadlines === undefined) return false
    this.deadlines = undefined
    this.previous.next = this.next
    this.next.previous = this.previous
    // A command that was moved to old space would keep its neighbours in the list alive, and these theirs.
    this.next = this
    this.previous = this
    deadlines.ended(this.budget)
    return true
  }
}

/**
 * Deadlines of many commands on one shared timer: a timer or an AbortSignal for each would cost two to five times the
 * command. Commands are kept by the tick at which they are due; those that are settled leave at once. No timer runs
 * while nothing is under way.
 *
 * The limit is on the server, not on this process: while the event loop does not turn, no command is written and no
 * reply is read. So the clock here advances by at most one tick each time the timer fires, and by a quarter where it
 * fires late: a command is given four turns of the loop in time, or sixteen late ones, before it counts as missed.
 */
export class Deadlines {
  readonly #tickMs: number
  /** Commands by the tick at which they are due. */
  readonly #due = new Map<number, Due>()
  /** The tick that was asked for last, and what is due then: commands of one turn have the same. */
  #lastTick = NaN
  #lastDue = new Due()
  #count = 0
  #timer: NodeJS.Timeout | undefined
  /** The clock at the last tick, and the real time of that. */
  #clockMs = 0
  #tickedAt = 0
  /** The last tick of the clock whose commands have been expired. */
  #expired = 0
  #expiring = false
  #idle: (() => void)[] = []

  /** `limitMs`: for commands without a budget. `realNow`: a monotonic clock. */
  constructor(
    readonly limitMs: number,
    private readonly realNow: () => number = () => performance.now(),
  ) {
    this.#tickMs = Math.min(Math.max(1, Math.ceil(limitMs / TICKS_PER_LIMIT)), TICK_MAX_MS)
  }

  /** Times a command: it misses once if it is not settled in time. False where its budget is spent: do not send it. */
  begin(pending: Pending, budget?: CommandBudget): boolean {
    if (this.#timer === undefined) {
      this.#tickedAt = this.realNow()
      this.#timer = setInterval(this.#tick, this.#tickMs)
    }
    const { now } = this
    const limitMs = budget === undefined ? this.limitMs : budget.begin(now)
    if (limitMs <= 0) {
      budget?.end(this)
      return false
    }
    const due = this.#dueAt(Math.ceil((now + limitMs) / this.#tickMs))
    pending.deadlines = this
    pending.budget = budget
    pending.next = due
    pending.previous = due.previous
    due.previous.next = pending
    due.previous = pending
    this.#count += 1
    return true
  }

  /** @internal A command of this budget was settled, or missed. */
  ended(budget: CommandBudget | undefined): void {
    this.#count -= 1
    budget?.end(this)
  }

  #dueAt(tick: number): Due {
    if (tick === this.#lastTick) return this.#lastDue
    const due = this.#due.get(tick) ?? new Due()
    this.#due.set(tick, due)
    this.#lastTick = tick
    this.#lastDue = due
    return due
  }

  /** The tick whose commands miss their deadline just now; commands of one turn of the event loop have the same. */
  get tick(): number {
    return this.#expired
  }

  /** Whether a command is under way. */
  get busy(): boolean {
    return this.#count > 0
  }

  /** Resolves when nothing is under way and the timer has stopped. */
  idle(): Promise<void> {
    if (this.#count === 0) this.#rest()
    if (this.#timer === undefined) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Time of the shared clock. */
  get now(): number {
    const elapsedMs = this.realNow() - this.#tickedAt
    const isLate = elapsedMs >= LATE_TICKS * this.#tickMs
    return this.#clockMs + (isLate ? LATE_PART * this.#tickMs : Math.min(elapsedMs, this.#tickMs))
  }

  readonly #tick = (): void => {
    this.#clockMs = this.now
    this.#tickedAt = this.realNow()
    if (this.#count === 0) return this.#rest()
    if (this.#expiring || this.#clockMs < (this.#expired + 1) * this.#tickMs) return
    // An event loop that was blocked runs its timers before it reads its sockets, where the replies may be waiting.
    this.#expiring = true
    setImmediate(this.#expire)
  }

  readonly #expire = (): void => {
    this.#expiring = false
    while ((this.#expired + 1) * this.#tickMs <= this.#clockMs) {
      this.#expired += 1
      const due = this.#due.get(this.#expired)
      this.#due.delete(this.#expired)
      for (let next = due?.next; next instanceof Pending; next = due?.next) if (next.settle()) next.miss()
    }
    if (this.#count === 0) this.#rest()
  }

  /** The clock stands still while there is nothing to time. */
  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#due.clear()
    this.#lastTick = NaN
    this.#expired = Math.floor(this.#clockMs / this.#tickMs)
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}
