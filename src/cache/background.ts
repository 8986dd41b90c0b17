/** Work that nobody waits for, so that closing can. What it throws has been said elsewhere, or concerns nobody any more. */
export class Background {
  readonly #running = new Set<Promise<unknown>>()

  add(work: Promise<unknown>): void {
    const running = work.catch(() => {}).finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Resolves when nothing runs any more, or at the limit: a loader that hangs is no reason never to end. */
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
