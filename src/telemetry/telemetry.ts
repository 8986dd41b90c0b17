import { valueAt } from '../value-at.js'
import type { Origin } from './events.js'
import { LimitRecorder, SessionRecorder } from './outcomes.js'
import { Recorder } from './recorder.js'
import type { CacheStats, NearStats, OriginStats } from './stats.js'

/**
 * Origins of one kind that are counted separately. Further ones are counted as one, because some names are made from
 * requests (a mounted router's path) and must not grow without bound.
 */
const ORIGINS_MAX = 1000

/** OpenTelemetry's word for "none of the known". */
const OTHER = '_OTHER'

/** The name of values without a namespace. */
const DEFAULT_NAMESPACE = 'default'

/** The recorders of one application's cache. */
export class Telemetry {
  readonly #now: () => number
  readonly #recorders = { route: new Map<string, Recorder>(), namespace: new Map<string, Recorder>() }
  readonly limits = new LimitRecorder()
  readonly sessions = new SessionRecorder()
  #since: number

  constructor(
    now: () => number = Date.now,
    private readonly near?: NearStats,
  ) {
    this.#now = now
    this.#since = now()
  }

  route(name: string): Recorder {
    return this.#recorder('route', name)
  }

  namespace(name: string): Recorder {
    return this.#recorder('namespace', name === '' ? DEFAULT_NAMESPACE : name)
  }

  stats(): CacheStats {
    const { route, namespace } = this.#recorders
    return {
      since: this.#since,
      routes: readAll(route),
      namespaces: readAll(namespace),
      near: this.near && asOfNow(this.near),
      rateLimits: this.limits.read(),
      sessions: this.sessions.read(),
    }
  }

  /** The recorders of all routes and namespaces. */
  recorders(): readonly Recorder[] {
    return Object.values(this.#recorders).flatMap((recorders) => [...recorders.values()])
  }

  /** Milliseconds since the epoch: the start, or the last reset. */
  get since(): number {
    return this.#since
  }

  /** Whether an event's origin is one of these: the channels are those of the whole process. */
  owns(origin: Origin): boolean {
    return this.#recorders[origin.kind].get(origin.name)?.origin === origin
  }

  reset(): void {
    this.#since = this.#now()
    this.limits.reset()
    this.sessions.reset()
    for (const recorders of Object.values(this.#recorders)) for (const recorder of recorders.values()) recorder.reset()
  }

  #recorder(kind: Origin['kind'], name: string): Recorder {
    const recorders = this.#recorders[kind]
    const bounded = recorders.has(name) || recorders.size < ORIGINS_MAX ? name : OTHER
    return valueAt(recorders, bounded, () => new Recorder({ kind, name: bounded }, this.#now))
  }
}

/** A near cache has its figures as properties that go on. */
function asOfNow({ trusted, losses, hits, entries, bytes, refused }: NearStats): NearStats {
  return { trusted, losses, hits, entries, bytes, refused }
}

function readAll(recorders: ReadonlyMap<string, Recorder>): Record<string, OriginStats> {
  return Object.fromEntries(Array.from(recorders, ([name, recorder]) => [name, recorder.read()]))
}
