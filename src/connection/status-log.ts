import type { Logger } from '../logger.js'
import type { ConnectionStatus } from './connection.js'

/** Says each change of the connection once: what was lost and why, and how long it took to come back. */
export class StatusLog {
  readonly #logger: Logger
  readonly #where: string
  #lostAt: number | undefined

  constructor(logger: Logger, where: string) {
    this.#logger = logger
    this.#where = where
  }

  changed(status: ConnectionStatus, reason: string): void {
    if (status === 'closed') return
    if (status === 'ready') return this.#back()
    this.#lost(status === 'degraded' ? reason : `is unavailable (${reason})`)
  }

  /** The first connection could not be made. Further attempts say nothing. */
  neverConnected(reason: string): void {
    if (this.#lostAt === undefined) this.#lost(`is unavailable (${reason})`)
  }

  #lost(what: string): void {
    this.#lostAt ??= performance.now()
    this.#logger.warn(`redwell: Redis at ${this.#where} ${what}; requests are served without the cache`)
  }

  #back(): void {
    if (this.#lostAt === undefined) return
    const awayMs = Math.round(performance.now() - this.#lostAt)
    this.#lostAt = undefined
    this.#logger.info(`redwell: Redis at ${this.#where} is back after ${awayMs} ms`)
  }
}
