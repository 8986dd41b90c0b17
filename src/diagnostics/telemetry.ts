import type { OriginStats } from './counts.js'
import { Recorder } from './recorder.js'

/**
 * Origins of one kind that are told apart; what comes after them counts as one, so that names that a framework makes
 * from requests (a mounted router's path) cannot grow without bound.
 */
const ORIGINS_MAX = 1000
/** OpenTelemetry's word for "none of the known". */
const OTHER = '_OTHER'
/** Values beside namespaces. */
const DEFAULT_NAMESPACE = 'default'

/** What the cache did since `since`, in numbers. */
export interface CacheStats {
  /** Milliseconds since the epoch: the start, or the last reset. */
  readonly since: number
  /** By method and template: `GET /products/:id`. */
  readonly routes: Readonly<Record<string, OriginStats>>
  /** By name; `default` is the values beside namespaces. */
  readonly namespaces: Readonly<Record<string, OriginStats>>
}

/** The recorders of one application's cache. */
export class Telemetry {
  readonly #now: () => number
  readonly #routes = new Map<string, Recorder>()
  readonly #namespaces = new Map<string, Recorder>()
  #since: number

  constructor(now: () => number = Date.now) {
    this.#now = now
    this.#since = now()
  }

  route(name: string): Recorder {
    return this.#of('route', this.#routes, name)
  }

  namespace(name: string): Recorder {
    return this.#of('namespace', this.#namespaces, name === '' ? DEFAULT_NAMESPACE : name)
  }

  stats(): CacheStats {
    return { since: this.#since, routes: read(this.#routes), namespaces: read(this.#namespaces) }
  }

  reset(): void {
    this.#since = this.#now()
    for (const recorder of [...this.#routes.values(), ...this.#namespaces.values()]) recorder.reset()
  }

  #of(kind: 'route' | 'namespace', known: Map<string, Recorder>, name: string): Recorder {
    const bounded = known.has(name) || known.size < ORIGINS_MAX ? name : OTHER
    const before = known.get(bounded)
    if (before !== undefined) return before
    const made = new Recorder({ kind, name: bounded }, this.#now)
    known.set(bounded, made)
    return made
  }
}

function read(recorders: Map<string, Recorder>): Record<string, OriginStats> {
  return Object.fromEntries([...recorders].map(([name, recorder]) => [name, recorder.read()]))
}
