import { LRUCache } from 'lru-cache'
import type { Logger } from '../logger.js'
import { templateOf } from './templates.js'

/** Keys whose routes are remembered. */
const REMEMBERED_MAX = 1000

/** Notices that two routes of one application have key functions that make the same key. */
export class KeyWatch {
  readonly #logger: Logger
  readonly #routes = new LRUCache<string, string>({ max: REMEMBERED_MAX })
  readonly #functions = new Map<unknown, string>()
  #warned = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Why a route cannot have this key function: another one has it. */
  problemOf(key: unknown, route: string): string | undefined {
    const other = this.#functions.get(key)
    if (other === undefined) this.#functions.set(key, route)
    if (other === undefined || templateOf(other) === templateOf(route)) return undefined
    return `key: ${other} and ${route} have the same key function, ${ADVICE}`
  }

  /** A request of the route has this key. */
  note(key: string, route: string): void {
    if (this.#warned) return
    const other = this.#routes.get(key)
    if (other === undefined) this.#routes.set(key, route)
    if (other === undefined || templateOf(other) === templateOf(route)) return
    this.#warned = true
    this.#logger.warn(`redwell: the key functions of ${other} and ${route} have made the same key, ${ADVICE}`)
  }
}

const ADVICE =
  "so one of them can be answered with an entry of the other: begin the key with a name, such as ['products', id], or write the same `prefix` on both if they share their entries"
