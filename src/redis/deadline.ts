/** Ticks in one time limit: a missed deadline is noticed at most a quarter of it late. */
const TICKS_PER_LIMIT = 4

/** A long limit is no reason to notice late that nothing is under way any more. */
const TICK_MAX_MS = 100

/** One command under way. */
export interface Pending {
  /** True once: by whoever ends the command first, its reply or its deadline. */
  settle(): boolean
}

/** A link of the list of those under way. The fields are the list's own; `next` is undefined once it is out. */
class Waiting implements Pending {
  previous: Waiting = this
  next: Waiting | undefined = this
  constructor(
    readonly dueAt: number,
    readonly miss: () => void,
  ) {}

  settle(): boolean {
    const { previous, next } = this
    if (next === undefined) return false
    previous.next = next
    next.previous = previous
    this.next = undefined
    return true
  }
}

/**
 * One deadline for many commands on one shared timer: a timer or an AbortSignal for each would cost two to five times
 * the command. All have the same limit, so they are due in the order in which they came. Those that are settled leave
 * the list at once and are garbage while they are young. No timer runs while nothing is under way.
 *
 * The limit is on the server, not on this process: time in which the event loop did not turn is no time in which a
 * command could have been written or its reply read. So the clock here goes on by one tick at each tick of the timer,
 * however late that comes, and every command is given four turns of the loop before it counts as missed.
 */
export class Deadlines {
  readonly #limitMs: number
  readonly #tickMs: number
  /** Before the oldest and after the newest. */
  readonly #end = new Waiting(Infinity, () => {})
  #timer: NodeJS.Timeout | undefined
  /** The clock at the last tick, and when that was. */
  #clockMs = 0
  #tickedAt = 0
  #expiring = false
  #idle: (() => void)[] = []

  constructor(limitMs: number) {
    this.#limitMs = limitMs
    this.#tickMs = Math.min(Math.max(1, limitMs / TICKS_PER_LIMIT), TICK_MAX_MS)
  }

  /** `miss` is called once if the command is not settled in time. */
  add(miss: () => void): Pending {
    if (this.#timer === undefined) this.#begin()
    const waiting = new Waiting(this.#now() + this.#limitMs, miss)
    const newest = this.#end.previous
    waiting.previous = newest
    waiting.next = this.#end
    newest.next = waiting
    this.#end.previous = waiting
    return waiting
  }

  /** Whether something is under way. */
  get busy(): boolean {
    return this.#oldest() !== undefined
  }

  /** Resolves when nothing is under way and the timer is gone: a limit and a tick from now at the latest. */
  idle(): Promise<void> {
    if (this.#oldest() === undefined) this.#rest()
    if (this.#timer === undefined) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  #begin(): void {
    this.#tickedAt = performance.now()
    this.#timer = setInterval(this.#tick, this.#tickMs)
  }

  #now(): number {
    return this.#clockMs + Math.min(performance.now() - this.#tickedAt, this.#tickMs)
  }

  readonly #tick = (): void => {
    this.#clockMs = this.#now()
    this.#tickedAt = performance.now()
    const oldest = this.#oldest()
    if (oldest === undefined) return this.#rest()
    if (oldest.dueAt > this.#clockMs || this.#expiring) return
    // An event loop that was blocked comes here before it reads its sockets, where the replies may be waiting.
    this.#expiring = true
    setImmediate(this.#expire)
  }

  readonly #expire = (): void => {
    this.#expiring = false
    const now = this.#clockMs
    for (let oldest = this.#oldest(); oldest !== undefined && oldest.dueAt <= now; oldest = this.#oldest()) {
      oldest.settle()
      oldest.miss()
    }
    if (this.#oldest() === undefined) this.#rest()
  }

  #oldest(): Waiting | undefined {
    return this.#end.next === this.#end ? undefined : this.#end.next
  }

  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}
