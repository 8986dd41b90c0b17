import type { RedisConnection } from './redis-store.js'

/** Names of lives kept in Redis; over it they are forgotten, and servers in an old one are met for the first time again. */
const KEPT_MAX = 1000

/** The names are written again this often while entries are filled, so that a server that evicts keeps them. */
const KEEP_MS = 60_000

/**
 * A server that was restarted with its data, or promoted from a replica, may have lost the last invalidations that its
 * predecessor confirmed; entries they removed are back. Each life of a server has a name that no older data can hold.
 * So whoever meets a server in a life whose name is not written down under the prefix invalidates everything there, and
 * then writes it down: one process does it, the others find the name.
 */
export class Incarnations {
  readonly #line: RedisConnection
  readonly #key: string
  readonly #invalidateAll: () => Promise<unknown>
  #known = 0
  #keptAt = 0
  #learning: Promise<void> | undefined

  constructor(line: RedisConnection, key: string, invalidateAll: () => Promise<unknown>) {
    this.#line = line
    this.#key = key
    this.#invalidateAll = invalidateAll
  }

  /** Undefined when every server that this process has met is known; otherwise what to wait for before a read. */
  get learning(): Promise<void> | undefined {
    if (this.#known === this.#line.generation) return undefined
    this.#learning ??= this.#learn().finally(() => {
      this.#learning = undefined
    })
    return this.#learning
  }

  /** What is stored before would be invalidated along with what is old. */
  async learned(): Promise<void> {
    for (let learning = this.learning; learning !== undefined; learning = this.learning) await learning
  }

  /** Writes the names again, now and then. */
  keep(): void {
    const now = performance.now()
    if (now - this.#keptAt < KEEP_MS || this.#known !== this.#line.generation || this.#known === 0) return
    this.#keptAt = now
    void this.#write(this.#line.lives)
  }

  async #learn(): Promise<void> {
    const { generation, lives } = this.#line
    const known = (await this.#line.execute(['SMISMEMBER', this.#key, ...lives], this.#key)) as readonly number[]
    if (known.includes(0)) {
      await this.#invalidateAll()
      await this.#write(lives)
    }
    this.#known = generation
    this.#keptAt = performance.now()
  }

  /** A server that takes no writes now leaves it to the next process, which then invalidates once more. */
  async #write(lives: readonly string[]): Promise<void> {
    try {
      const count = await this.#line.execute(['SCARD', this.#key], this.#key)
      if (Number(count) > KEPT_MAX) await this.#line.execute(['UNLINK', this.#key], this.#key)
      await this.#line.execute(['SADD', this.#key, ...lives], this.#key)
    } catch {
      // What was invalidated stays so.
    }
  }
}
