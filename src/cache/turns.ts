import type { MaybePromise } from '../maybe-promise.js'
import { valueAt } from '../value-at.js'
import { withLimit } from './single-flight.js'

export interface TurnOptions {
  /** Turns of one key at a time. */
  readonly max: number
  /** The longest wait for one; after it the caller gets its turn over the limit. */
  readonly waitMs: number
  /** A turn that was not ended after this time ends by itself, because its handler hangs. */
  readonly holdMs: number
  readonly signal?: AbortSignal | undefined
}

/** The right to run a handler in parallel with other runs of its key. Must be ended when the handler has. */
export class Turn {
  /** Whether the caller had to wait for it: an entry may have been stored meanwhile. */
  readonly waited: boolean
  #endsAt = Infinity
  #timer: NodeJS.Timeout | undefined
  #leave: (() => void) | undefined

  constructor(waited: boolean, holdMs: number, leave: () => void) {
    this.waited = waited
    this.#leave = leave
    this.endWithin(holdMs)
  }

  /** It ends by itself after this time, or earlier. */
  endWithin(ms: number): void {
    const endsAt = performance.now() + ms
    if (this.#leave === undefined || endsAt >= this.#endsAt) return
    this.#endsAt = endsAt
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.end(), ms)
    this.#timer.unref()
  }

  /** The first call counts. */
  end(): void {
    clearTimeout(this.#timer)
    const leave = this.#leave
    this.#leave = undefined
    leave?.()
  }
}

interface Waiter {
  readonly max: number
  wake(): void
}

/** The turns of one key; there is one while a turn is under way. */
interface Queue {
  running: number
  /** In the order in which they came. */
  readonly waiting: Set<Waiter>
}

/** Bounds the parallel handler runs of one key in this process. */
export class Turns {
  readonly #queues = new Map<string, Queue>()

  /** Keys with a turn under way. */
  get size(): number {
    return this.#queues.size
  }

  /** A turn, where one is free. */
  takeFree(key: string, { max, holdMs }: Pick<TurnOptions, 'max' | 'holdMs'>): Turn | undefined {
    const queue = this.#queue(key)
    if (queue.running >= max) return undefined
    queue.running += 1
    return new Turn(false, holdMs, () => this.#leave(key, queue))
  }

  /** A turn, in the order of the calls. */
  take(key: string, options: TurnOptions): MaybePromise<Turn> {
    return this.takeFree(key, options) ?? this.#await(key, options)
  }

  async #await(key: string, { max, waitMs, holdMs, signal }: TurnOptions): Promise<Turn> {
    const queue = this.#queue(key)
    let wake = (): void => {}
    const woken = new Promise<void>((resolve) => {
      wake = resolve
    })
    const waiter = { max, wake }
    queue.waiting.add(waiter)
    await withLimit(woken, waitMs, signal)
    // A turn that ends is passed on to the next caller; one that hits its limit is not.
    if (queue.waiting.delete(waiter)) queue.running += 1
    return new Turn(true, holdMs, () => this.#leave(key, queue))
  }

  #queue(key: string): Queue {
    return valueAt(this.#queues, key, () => ({ running: 0, waiting: new Set() }))
  }

  #leave(key: string, queue: Queue): void {
    queue.running -= 1
    const [next] = queue.waiting
    if (next !== undefined && queue.running < next.max) {
      queue.waiting.delete(next)
      queue.running += 1
      next.wake()
    }
    if (queue.running === 0) this.#queues.delete(key)
  }
}
