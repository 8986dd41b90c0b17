import type { RedisConnection } from './redis-store.js'

/** Wake-ups of one prefix: one subscription a process, opened when somebody waits for the first time. */
export class Wakeups {
  readonly #line: RedisConnection
  readonly #channel: string
  readonly #waiting = new Map<string, Set<() => void>>()
  #listening: Promise<unknown> | undefined

  constructor(line: RedisConnection, channel: string) {
    this.#line = line
    this.#channel = channel
  }

  async listen(): Promise<void> {
    this.#listening ??= this.#line.subscribe(
      this.#channel,
      (message) => this.#wake(message.toString('latin1')),
      () => this.#wakeAll(),
    )
    try {
      await this.#listening
    } catch (error) {
      this.#listening = undefined
      throw error
    }
  }

  on(key: string, wake: () => void): () => void {
    const waiting = this.#waiting.get(key) ?? new Set()
    this.#waiting.set(key, waiting.add(wake))
    return () => {
      if (waiting.delete(wake) && waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key)
    }
  }

  #wake(key: string): void {
    const waiting = this.#waiting.get(key)
    if (waiting !== undefined) for (const wake of [...waiting]) wake()
  }

  /** The subscription was lost for a while: messages may be missing, so everybody looks again. */
  #wakeAll(): void {
    for (const key of [...this.#waiting.keys()]) this.#wake(key)
  }
}
