import type { Logger } from '../logger.js'
import type { ServerFacts } from './server-facts.js'
import { unboundedWarning, warningsAbout } from './server-warnings.js'
import type { ResolvedSettings } from './settings.js'

/** Lives remembered. Over it the oldest is forgotten; a service does not outlive this many restarts of its servers. */
const LIVES_MAX = 256

/** What the servers said of themselves: which lives they are in, and what an operator should hear about them. */
export class ServerWatch {
  readonly #settings: ResolvedSettings
  readonly #where: string
  readonly #logger: Logger
  readonly #lives = new Set<string>()
  readonly #said = new Set<string>()
  #facts: ServerFacts | undefined
  #unbounded = false
  #generation = 0

  constructor(settings: ResolvedSettings, where: string, logger: Logger) {
    this.#settings = settings
    this.#where = where
    this.#logger = logger
  }

  get generation(): number {
    return this.#generation
  }

  get lives(): readonly string[] {
    return [...this.#lives]
  }

  greeted(facts: ServerFacts | undefined): void {
    if (facts === undefined) return
    this.#facts = facts
    for (const warning of warningsAbout(facts)) this.#warn(warning)
    if (this.#unbounded) this.#warn(unboundedWarning(facts))
    if (this.#settings.trustRestarts || this.#lives.has(facts.life)) return
    const [oldest] = this.#lives
    if (this.#lives.size >= LIVES_MAX && oldest !== undefined) this.#lives.delete(oldest)
    this.#lives.add(facts.life)
    this.#generation += 1
  }

  /** The user of the connection may not do what the cache needs: said once for each command. */
  forbidden(message: string): void {
    this.#warn(`${message}. The page on operations lists what the cache's user needs`)
  }

  unbounded(): void {
    if (this.#unbounded || !this.#settings.warnUnboundedCache) return
    this.#unbounded = true
    if (this.#facts !== undefined) this.#warn(unboundedWarning(this.#facts))
  }

  #warn(warning: string | undefined): void {
    if (warning === undefined || this.#said.has(warning)) return
    this.#said.add(warning)
    this.#logger.warn(`redwell: Redis at ${this.#where}: ${warning}`)
  }
}
