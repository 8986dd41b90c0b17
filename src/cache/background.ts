/** Work that nobody waits for, so that closing can. What it throws has been said elsewhere, or concerns nobody any more. */
export class Background {
  readonly #running = new Set<Promise<unknown>>()

  add(work: Promise<unknown>): void {
    const running = work.catch(() => {}).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }
}
