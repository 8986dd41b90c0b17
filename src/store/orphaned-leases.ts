/** Between attempts to give a lease back while the server is away. */
const RETRY_MS = 50

/** A lease that nobody renews is at its own end by then. */
const GIVE_UP_MS = 5000

/** Over it a lease is left to its own end. */
const ORPHANS_MAX = 1000

/**
 * Leases that may be held though nobody will use them: the reply that granted one, or the command that ended it, was
 * late or lost. Others would wait for their end, so they are given back as soon as the server answers again.
 */
export class OrphanedLeases {
  readonly #waiting = new Map<string, { readonly endsAt: number; readonly giveBack: () => Promise<unknown> }>()
  #scheduled = false

  /** The command itself; when it fails, its lease is an orphan. */
  watch<T>(command: Promise<T>, token: string, giveBack: () => Promise<unknown>): Promise<T> {
    return command.catch((error: unknown) => {
      this.#add(token, giveBack)
      throw error
    })
  }

  #add(token: string, giveBack: () => Promise<unknown>): void {
    if (this.#waiting.size >= ORPHANS_MAX) return
    this.#waiting.set(token, { endsAt: performance.now() + GIVE_UP_MS, giveBack })
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.size === 0) return
    this.#scheduled = true
    setTimeout(() => void this.#run(), RETRY_MS).unref()
  }

  async #run(): Promise<void> {
    const now = performance.now()
    await Promise.all(
      [...this.#waiting].map(async ([token, { endsAt, giveBack }]) => {
        const given = await giveBack().then(
          () => true,
          () => false,
        )
        if (given || now > endsAt) this.#waiting.delete(token)
      }),
    )
    this.#scheduled = false
    this.#schedule()
  }
}
