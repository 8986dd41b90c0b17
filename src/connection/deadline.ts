/** Ticks in one time limit: a missed deadline is noticed at most a quarter of it late. */
const TICKS_PER_LIMIT = 4

/** One command under way. */
export interface Pending {
  /** True once: by whoever ends the command first, its reply or its deadline. */
  settle(): boolean
}

class Waiting implements Pending {
  #open = true
  constructor(
    readonly dueAt: number,
    readonly miss: () => void,
  ) {}

  get open(): boolean {
    return this.#open
  }

  settle(): boolean {
    const was = this.#open
    this.#open = false
    return was
  }
}

/**
 * One deadline for many commands on one shared timer: a timer or an AbortSignal for each would cost two to five times
 * the command. All have the same limit, so they are due in the order in which they came. No timer runs while nothing
 * is under way.
 */
export class Deadlines {
  readonly #limitMs: number
  #queue: Waiting[] = []
  #head = 0
  #timer: NodeJS.Timeout | undefined

  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** `miss` is called once if the command is not settled in time. */
  add(miss: () => void): Pending {
    const waiting = new Waiting(performance.now() + this.#limitMs, miss)
    this.#queue.push(waiting)
    this.#timer ??= setInterval(this.#tick, Math.max(1, this.#limitMs / TICKS_PER_LIMIT))
    return waiting
  }

  readonly #tick = (): void => {
    const now = performance.now()
    while (this.#head < this.#queue.length) {
      const first = this.#queue[this.#head] as Waiting
      if (first.open && first.dueAt > now) break
      this.#head += 1
      if (first.settle()) first.miss()
    }
    this.#compact()
  }

  #compact(): void {
    if (this.#head < this.#queue.length) {
      if (this.#head > 1024) {
        this.#queue = this.#queue.slice(this.#head)
        this.#head = 0
      }
      return
    }
    this.#queue = []
    this.#head = 0
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
