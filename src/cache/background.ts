/** Tasks that may run at once; further ones are skipped, which costs a refresh and no more. */
const TASKS_MAX = 100

/** Runs work that no request waits for: bounded by count, and awaited when the application closes. */
export class Background {
  readonly #max: number
  readonly #running = new Set<Promise<void>>()

  constructor(max = TASKS_MAX) {
    this.#max = max
  }

  get full(): boolean {
    return this.#running.size >= this.#max
  }

  /** Starts the work, whose errors are ignored here. False: too much is running, so it was not started. */
  run(work: () => Promise<unknown>): boolean {
    if (this.full) return false
    this.track(work())
    return true
  }

  /** Counts work that has been started already. */
  track(work: Promise<unknown>): void {
    const done = (): void => void this.#running.delete(running)
    const running: Promise<void> = work.then(done, done)
    this.#running.add(running)
  }

  /** Resolves when nothing runs, or at the limit: a loader that hangs must not keep the application from closing. */
  async settled(limitMs: number): Promise<void> {
    if (this.#running.size === 0) return
    let timer: NodeJS.Timeout | undefined
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, limitMs)
    })
    await Promise.race([this.#idle(), limit])
    clearTimeout(timer)
  }

  async #idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }
}
