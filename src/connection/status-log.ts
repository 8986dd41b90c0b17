import type { Logger } from '../logger.js'
import type { ConnectionStatus } from './connection.js'

/** Says each change of the connection once: what was lost and why, and how long it took to come back. */
export class StatusLog {
  readonly #logger: Logger
  readonly #where: string
  #lostAt: number | undefined
  #refusal: string | undefined

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
    if (this.#lostAt !== undefined) return
    this.#lost(`is unavailable (${reason})`)
    this.#refusal = reason
  }

  /** The server answered, and does not let us in: another cause than the one said when it was lost. Said once. */
  refused(reason: string): void {
    if (this.#lostAt === undefined || this.#refusal === reason) return
    this.#refusal = reason
    this.#logger.warn(`redwell: Redis at ${this.#where} refuses the connection (${reason})`)
  }

  #lost(what: string): void {
    this.#lostAt ??= performance.now()
    this.#logger.warn(`redwell: Redis at ${this.#where} ${what}; requests are served without the cache`)
  }

  #back(): void {
    if (this.#lostAt === undefined) return
    const awayMs = Math.round(performance.now() - this.#lostAt)
    this.#lostAt = undefined
    this.#refusal = undefined
    this.#logger.info(`redwell: Redis at ${this.#where} is back after ${awayMs} ms`)
  }
}
