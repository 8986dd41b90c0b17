import { isIP } from 'node:net'
import type { Logger } from '../logger.js'

/** Requests that are looked at one by one; then one of so many, because a header costs a hit more than it should. */
const FIRST = 100

const SAMPLE = 128

/** Notices that requests for several hosts share the entries of an application that has not said whether they may. */
export class HostWatch {
  readonly #logger: Logger
  #seen: string | undefined
  /** The field as it was sent last: nearly always the same. */
  #last: string | undefined
  #count = 0
  #warned = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** `route`: method and template of a route without the option `host`. */
  note(route: string, request: { header(name: string): string | undefined }): void {
    if (this.#warned) return
    this.#count += 1
    if (this.#count > FIRST && this.#count % SAMPLE !== 0) return
    const sent = request.header('host')
    if (sent === this.#last) return
    this.#last = sent
    const host = sent?.toLowerCase()
    // Health checks and developers ask by address.
    const name = host?.replace(/:\d*$/, '')
    if (host === undefined || name === undefined || name === '' || name === 'localhost' || isAddress(name)) return
    this.#seen ??= host
    if (this.#seen === host) return
    this.#warned = true
    this.#logger.warn(
      `redwell: ${route} answers requests for ${this.#seen} and ${host} from the same entries. Set \`host: true\` on the route, or in \`defaults\`, if hosts have different responses; otherwise \`host: false\``,
    )
  }
}

function isAddress(name: string): boolean {
  return name.startsWith('[') || isIP(name) !== 0
}
