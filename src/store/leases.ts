import type { RedisConnection } from './redis-commands.js'

/** Pause between attempts to release a lease while the server is unavailable. */
const RETRY_MS = 50

/** A lease that is not renewed has ended by then. */
const GIVE_UP_MS = 5000

/** Beyond this number a lease is left to expire. */
const ORPHANS_MAX = 1000

/**
 * Leases that may be held although no fill will use them, because the reply to the command that took or ended one was
 * late or lost. Others would wait for them, so they are given back as soon as the server answers again.
 */
export class OrphanedLeases {
  readonly #orphans = new Map<string, { readonly endsAt: number; readonly release: () => Promise<unknown> }>()
  #scheduled = false

  /** Returns the command itself; when it fails, its lease becomes an orphan. */
  watch<T>(command: Promise<T>, token: string, release: () => Promise<unknown>): Promise<T> {
    return command.catch((error: unknown) => {
      if (this.#orphans.size < ORPHANS_MAX)
        this.#orphans.set(token, { endsAt: performance.now() + GIVE_UP_MS, release })
      this.#schedule()
      throw error
    })
  }

  #schedule(): void {
    if (this.#scheduled || this.#orphans.size === 0) return
    this.#scheduled = true
    setTimeout(() => void this.#run(), RETRY_MS).unref()
  }

  async #run(): Promise<void> {
    const now = performance.now()
    await Promise.all(
      [...this.#orphans].map(async ([token, { endsAt, release }]) => {
        const released = await release().then(
          () => true,
          () => false,
        )
        if (released || now > endsAt) this.#orphans.delete(token)
      }),
    )
    this.#scheduled = false
    this.#schedule()
  }
}

/** Callbacks of the waiters for a lease, by key. */
export class Waiters {
  readonly #waiting = new Map<string, Set<() => void>>()

  /** Number of keys that are waited for. */
  get size(): number {
    return this.#waiting.size
  }

  /** Returns the function that stops waiting. */
  on(key: string, callback: () => void): () => void {
    const waiting = this.#waiting.get(key) ?? new Set()
    this.#waiting.set(key, waiting.add(callback))
    return () => {
      if (waiting.delete(callback) && waiting.size === 0 && this.#waiting.get(key) === waiting)
        this.#waiting.delete(key)
    }
  }

  wake(key: string): void {
    for (const callback of [...(this.#waiting.get(key) ?? [])]) callback()
  }

  wakeAll(): void {
    for (const key of [...this.#waiting.keys()]) this.wake(key)
  }
}

/** Wake-ups of one prefix: one subscription a process, opened for the first waiter. */
export class Wakeups {
  readonly waiters = new Waiters()
  #listening: Promise<unknown> | undefined

  constructor(
    private readonly connection: RedisConnection,
    private readonly channel: string,
  ) {}

  async listen(): Promise<void> {
    this.#listening ??= this.connection.subscribe(
      this.channel,
      (message) => this.waiters.wake(message.toString('latin1')),
      // The subscription was lost for a while: messages may be missing, so every waiter looks again.
      () => this.waiters.wakeAll(),
    )
    try {
      await this.#listening
    } catch (error) {
      this.#listening = undefined
      throw error
    }
  }
}
