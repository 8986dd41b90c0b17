/** Between attempts to give a lease back while the server is away. */
const RETRY_MS = 50
/** Over it a lease is left to its own end. */
const ORPHANS_MAX = 1000

/**
 * Leases that may have been taken though nobody was told: the reply was late or lost, or what had to follow it failed.
 * Others would wait for their end, so they are given back as soon as the server answers again.
 */
export class Orphans {
  readonly #waiting = new Map<string, { readonly endsAt: number; readonly giveBack: () => Promise<unknown> }>()
  #timer: NodeJS.Timeout | undefined

  add(token: string, leaseMs: number, giveBack: () => Promise<unknown>): void {
    if (this.#waiting.size >= ORPHANS_MAX) return
    this.#waiting.set(token, { endsAt: performance.now() + leaseMs, giveBack })
    this.#schedule()
  }

  #schedule(): void {
    if (this.#waiting.size === 0) return
    this.#timer ??= setTimeout(() => void this.#run(), RETRY_MS).unref()
  }

  async #run(): Promise<void> {
    await Promise.all(
      [...this.#waiting].map(async ([token, { endsAt, giveBack }]) => {
        const given = await giveBack().then(
          () => true,
          () => false,
        )
        if (given || performance.now() > endsAt) this.#waiting.delete(token)
      }),
    )
    this.#timer = undefined
    this.#schedule()
  }
}
