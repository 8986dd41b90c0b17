import { UnavailableError } from '../errors.js'
import type { Logger } from '../logger.js'
import type { Store } from '../store/store.js'
import { publishRetry } from '../telemetry/recorder.js'
import type { InvalidationTarget } from './cache-scope.js'
import { PREFIX_GROUP } from './group.js'

/** Keys and groups remembered one by one; over that the whole prefix is invalidated instead. */
const QUEUE_MAX = 1000

const RETRY_FIRST_MS = 50

const RETRY_MAX_MS = 1000

type Queue = Map<string, 'hard' | 'soft'>

/**
 * Invalidations that the store could not confirm. They are tried again until it does; until then this process holds
 * everything under the prefix for unknown, because it cannot tell what is still true.
 */
export class PendingInvalidations {
  readonly #store: Store
  readonly #logger: Logger
  readonly #now: () => number
  readonly #keys: Queue = new Map()
  readonly #groups: Queue = new Map()
  #timer: NodeJS.Timeout | undefined
  #delayMs = RETRY_FIRST_MS
  #doubt: Error | undefined
  #running = false
  #closed = false

  constructor(store: Store, logger: Logger, now: () => number) {
    this.#store = store
    this.#logger = logger
    this.#now = now
  }

  /** Why nothing may be believed at the moment; undefined while all is confirmed. */
  get doubt(): Error | undefined {
    return this.#doubt
  }

  add(target: InvalidationTarget, cause?: unknown): void {
    const mode = target.mode ?? 'hard'
    for (const key of target.keys ?? []) note(this.#keys, key, mode)
    for (const group of target.groups ?? []) note(this.#groups, group, mode)
    if (this.#keys.size + this.#groups.size > QUEUE_MAX) this.#widen()
    if (this.#doubt === undefined) {
      this.#doubt = new UnavailableError('error', 'An invalidation is not confirmed yet.', { cause })
      this.#logger.warn(
        `redwell: an invalidation under ${this.#store.prefix} could not be confirmed; it is tried again, and nothing is served from the cache until then`,
      )
    }
    this.#schedule()
  }

  retry(): void {
    if (this.#doubt === undefined) return
    this.#delayMs = RETRY_FIRST_MS
    void this.#run()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    if (this.#doubt !== undefined) {
      this.#logger.error(`redwell: closed with an invalidation under ${this.#store.prefix} that was never confirmed`)
    }
  }

  #widen(): void {
    this.#keys.clear()
    this.#groups.clear()
    this.#groups.set(PREFIX_GROUP, 'hard')
  }

  #schedule(): void {
    if (this.#closed || this.#running || this.#timer !== undefined) return
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
      // Still away. The change of state has been logged; the next try is scheduled below.
    }
    this.#running = false
    publishRetry(this.#store.prefix, this.#keys.size + this.#groups.size)
    if (this.#keys.size + this.#groups.size > 0) this.#schedule()
    else this.#settle()
  }

  async #flush(): Promise<void> {
    for (const mode of ['hard', 'soft'] as const) {
      await this.#send(this.#groups, mode, (groups) => this.#store.invalidate(groups, mode))
      await this.#send(this.#keys, mode, (keys) =>
        mode === 'hard' ? this.#store.evict(keys) : this.#store.soften(keys, this.#now()),
      )
    }
  }

  /** Names leave the queue before they are sent: one that is added again meanwhile belongs to a later commit. */
  async #send(queue: Queue, mode: 'hard' | 'soft', send: (names: string[]) => Promise<unknown>): Promise<void> {
    const names = [...queue].filter(([, own]) => own === mode).map(([name]) => name)
    if (names.length === 0) return
    for (const name of names) queue.delete(name)
    try {
      await send(names)
    } catch (error) {
      for (const name of names) note(queue, name, mode)
      throw error
    }
  }

  #settle(): void {
    this.#doubt = undefined
    this.#delayMs = RETRY_FIRST_MS
    this.#logger.info(`redwell: all invalidations under ${this.#store.prefix} are confirmed`)
  }
}

/** A hard invalidation is never weakened by a soft one. */
function note(queue: Queue, name: string, mode: 'hard' | 'soft'): void {
  if (queue.get(name) !== 'hard') queue.set(name, mode)
}
