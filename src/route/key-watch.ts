import { LRUCache } from 'lru-cache'
import type { Logger } from '../logger.js'
import { templateOf } from './templates.js'

/** Keys whose routes are remembered. */
const REMEMBERED_MAX = 1000

/** Notices that two routes of one application make the same key: by their functions, or because they have one path. */
export class KeyWatch {
  readonly #logger: Logger
  readonly #routes = new LRUCache<string, string>({ max: REMEMBERED_MAX })
  readonly #functions = new Map<unknown, string>()
  readonly #paths = new Map<string, boolean>()
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

  /** A route whose path is its key. Where the router decides by more than that, another one may have it as well. */
  notePath(route: string): void {
    const isTold = this.#paths.get(route)
    this.#paths.set(route, isTold !== undefined)
    if (isTold === false) this.#logger.warn(`redwell: two declarations of cache are those of ${route}, ${PATH_ADVICE}`)
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

const PATH_ADVICE =
  'so each can be answered with an entry of the other: write `host: true` where the Host decides between them, or else a `prefix` on each, and the same one if they share their entries'
