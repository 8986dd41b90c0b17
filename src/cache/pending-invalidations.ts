import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { InvalidationMode, Store } from '../store/store.js'
import { publishRetry } from '../telemetry/recorder.js'
import { PREFIX_GROUP } from './key.js'

/** What an invalidation names. Keys of paths and groups are encoded. */
export interface InvalidationTarget {
  /** Each with all its variants. */
  readonly paths?: readonly string[] | undefined
  readonly groups?: readonly string[] | undefined
  /** `soft`: entries become stale and may be served while they are refreshed. Default `hard`. */
  readonly mode?: InvalidationMode | undefined
}

/** Names remembered one by one; beyond that the whole prefix is invalidated instead. */
const QUEUE_MAX = 1000

const RETRY_FIRST_MS = 50

const RETRY_MAX_MS = 1000

/** Names in a log line, and how long each may be. */
const NAMES_LOGGED = 5
const NAME_LOGGED_MAX = 100

type Queue = Map<string, InvalidationMode>

/**
 * Invalidations that the store has not confirmed. They are retried until it does; until then this process serves
 * nothing of the prefix, because it cannot tell which entries are still true.
 */
export class PendingInvalidations {
  readonly #store: Store
  readonly #logger: Logger
  readonly #paths: Queue = new Map()
  readonly #groups: Queue = new Map()
  #timer: NodeJS.Timeout | undefined
  #delayMs = RETRY_FIRST_MS
  #suspended: Error | undefined
  #running = false
  #closed = false

  constructor(store: Store, logger: Logger) {
    this.#store = store
    this.#logger = logger
  }

  /** Why nothing may be served at the moment; undefined while everything is confirmed. */
  get suspended(): Error | undefined {
    return this.#suspended
  }

  add({ paths = [], groups = [], mode = 'hard' }: InvalidationTarget, cause?: unknown): void {
    for (const path of paths) enqueue(this.#paths, path, mode)
    for (const group of groups) enqueue(this.#groups, group, mode)
    if (this.#suspended === undefined && this.#size > 0) {
      this.#suspended = new UnavailableError('error', 'An invalidation is not confirmed yet.', { cause })
      this.#logger.warn(
        `redwell: Redis did not confirm the invalidation of ${this.#names()}; it will be retried; until then this process serves nothing under ${this.#store.prefix}`,
      )
    }
    if (this.#size > QUEUE_MAX) this.#escalate()
    this.#schedule()
  }

  /** Tries at once: the store has come back. */
  retry(): void {
    if (this.#suspended === undefined) return
    this.#delayMs = RETRY_FIRST_MS
    void this.#run()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    if (this.#suspended !== undefined) {
      this.#logger.error(
        `redwell: closed before Redis confirmed the invalidation of ${this.#names()} under ${this.#store.prefix}`,
      )
    }
  }

  get #size(): number {
    return this.#paths.size + this.#groups.size
  }

  #names(): string {
    const keys = listed('key', this.#paths)
    const groups = this.#groups.has(PREFIX_GROUP) ? 'everything' : listed('group', this.#groups)
    return [keys, groups].filter((text) => text !== '').join(' and ')
  }

  #escalate(): void {
    this.#paths.clear()
    this.#groups.clear()
    this.#groups.set(PREFIX_GROUP, 'hard')
  }

  #schedule(): void {
    if (this.#closed || this.#running || this.#timer !== undefined || this.#size === 0) return
    this.#timer = setTimeout(() => void this.#run(), this.#delayMs)
    this.#timer.unref()
    this.#delayMs = Math.min(this.#delayMs * 2, RETRY_MAX_MS)
  }

  async #run(): Promise<void> {
    if (this.#running || this.#closed) return
    this.#running = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    try {
      await this.#flush()
    } catch {
      // Still unavailable; the next attempt is scheduled below.
    }
    this.#running = false
    publishRetry(this.#store.prefix, this.#size)
    if (this.#size > 0) this.#schedule()
    else this.#resume()
  }

  async #flush(): Promise<void> {
    for (const mode of ['hard', 'soft'] as const) {
      await this.#send(this.#groups, mode, (groups) => this.#store.invalidate(groups, mode))
      await this.#send(this.#paths, mode, (paths) => this.#store.evict(paths, mode))
    }
  }

  /** Names leave the queue before they are sent: one that is added again meanwhile belongs to a later commit. */
  async #send(queue: Queue, mode: InvalidationMode, send: (names: string[]) => Promise<unknown>): Promise<void> {
    const names = [...queue].filter(([, own]) => own === mode).map(([name]) => name)
    if (names.length === 0) return
    for (const name of names) queue.delete(name)
    try {
      await send(names)
    } catch (error) {
      for (const name of names) enqueue(queue, name, mode)
      throw error
    }
  }

  #resume(): void {
    this.#suspended = undefined
    this.#delayMs = RETRY_FIRST_MS
    this.#logger.info(`redwell: all invalidations under ${this.#store.prefix} are confirmed`)
  }
}

/** A hard invalidation is never weakened by a soft one. */
function enqueue(queue: Queue, name: string, mode: InvalidationMode): void {
  if (queue.get(name) !== 'hard') queue.set(name, mode)
}

/** `keys /a, /b and 3 more`. */
function listed(noun: string, queue: Queue): string {
  if (queue.size === 0) return ''
  const names = [...queue.keys()].slice(0, NAMES_LOGGED).map((name) => name.slice(0, NAME_LOGGED_MAX))
  const more = queue.size > names.length ? ` and ${queue.size - names.length} more` : ''
  return `${noun}${queue.size === 1 ? '' : 's'} ${names.join(', ')}${more}`
}
