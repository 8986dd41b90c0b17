import type { RedisConnection } from './redis-commands.js'

/** Names kept in Redis. Beyond that all are forgotten, and servers are met for the first time again. */
const KEPT_MAX = 1000

/** The names are written again this often while entries are filled, so that a server that evicts keeps them. */
const KEEP_MS = 60_000

/**
 * Detects servers that may have lost invalidations. A server that was restarted with its data, or promoted from a
 * replica, may lack the last ones that its predecessor confirmed, and the entries that these removed are back. Each life
 * of a server has a name that older data cannot hold. A process that meets a name which is not listed under the prefix
 * invalidates everything there and then lists it, so one process does it for all.
 */
export class Incarnations {
  readonly #connection: RedisConnection
  readonly #key: string
  readonly #invalidateAll: () => Promise<unknown>
  #known = 0
  #keptAt = 0
  #learning: Promise<void> | undefined

  constructor(connection: RedisConnection, key: string, invalidateAll: () => Promise<unknown>) {
    this.#connection = connection
    this.#key = key
    this.#invalidateAll = invalidateAll
  }

  /** Undefined when every server that this process has met is listed; otherwise what a read has to wait for. */
  get learning(): Promise<void> | undefined {
    if (this.#known === this.#connection.generation) return undefined
    this.#learning ??= this.#learn().finally(() => {
      this.#learning = undefined
    })
    return this.#learning
  }

  /** Before anything is stored: it would be invalidated along with the old entries. */
  async learned(): Promise<void> {
    for (let learning = this.learning; learning !== undefined; learning = this.learning) await learning
  }

  /** Writes the names again from time to time. */
  keep(): void {
    const now = performance.now()
    if (now - this.#keptAt < KEEP_MS || this.#known !== this.#connection.generation || this.#known === 0) return
    this.#keptAt = now
    void this.#write(this.#connection.lives)
  }

  async #learn(): Promise<void> {
    const { generation, lives } = this.#connection
    const known = (await this.#connection.execute(['SMISMEMBER', this.#key, ...lives], this.#key)) as readonly number[]
    if (known.includes(0)) {
      await this.#invalidateAll()
      await this.#write(lives)
    }
    this.#known = generation
    this.#keptAt = performance.now()
  }

  /** Where the server takes no writes now, the next process invalidates once more. */
  async #write(lives: readonly string[]): Promise<void> {
    try {
      const count = await this.#connection.execute(['SCARD', this.#key], this.#key)
      if (Number(count) > KEPT_MAX) await this.#connection.execute(['UNLINK', this.#key], this.#key)
      await this.#connection.execute(['SADD', this.#key, ...lives], this.#key)
    } catch {
      // What was invalidated stays invalid.
    }
  }
}
