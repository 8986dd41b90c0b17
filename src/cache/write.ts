import type { Entry } from '../store/entry.js'
import type { Invalidated, PendingWrite, Published, Store } from '../store/store.js'
import { RENEW_FOR_MS } from './fill.js'

/** What a write itself invalidated just before it stores. */
export interface OwnInvalidation extends Invalidated {
  readonly groups: readonly string[]
}

export interface AnnounceOptions {
  /** What stands there may be served until the write has succeeded, and after it has failed. Default false. */
  readonly keeps?: boolean | undefined
  /** Groups its entry will carry, encoded: one that is new to the store could not tell whether it was invalidated meanwhile. */
  readonly groups?: readonly string[] | undefined
  /** How long these groups have to live. */
  readonly groupTtlMs?: number | undefined
}

/**
 * One write-through of one key. It was announced before its handler ran, so that it can tell at its end whether it was
 * the only writer, and stores only then.
 */
export class Write {
  readonly key: string
  readonly #store: Store
  readonly #token: string
  readonly #renewal: NodeJS.Timeout
  #stamp: number
  #open = true

  static async begin(
    store: Store,
    leaseMs: number,
    key: string,
    token: string,
    { keeps = false, groups = [], groupTtlMs = 0 }: AnnounceOptions,
  ): Promise<Write> {
    const write = new Write(store, leaseMs, key, token, await store.announce(key, token, leaseMs, keeps))
    try {
      if (groups.length > 0) write.#stamp = await store.found(key, groups, write.stamp, groupTtlMs)
      return write
    } catch (error) {
      await write.abandon().catch(() => {})
      throw error
    }
  }

  private constructor(store: Store, leaseMs: number, key: string, token: string, stamp: number) {
    this.key = key
    this.#stamp = stamp
    this.#store = store
    this.#token = token
    const startedAt = performance.now()
    this.#renewal = setInterval(() => {
      if (performance.now() - startedAt > RENEW_FOR_MS) clearInterval(this.#renewal)
      else store.renew(key, token, leaseMs).catch(() => {})
    }, leaseMs / 3)
    this.#renewal.unref()
  }

  /** The clock before the handler ran. */
  get stamp(): number {
    return this.#stamp
  }

  /**
   * Stores what the handler wrote. `invalidated` is what this write itself invalidated just before: its own
   * invalidation does not fence it, anybody else's since the handler began does.
   */
  async store(entry: Entry, ttlMs: number, invalidated?: OwnInvalidation): Promise<Published> {
    const own = invalidated !== undefined && entry.groups.some((group) => invalidated.groups.includes(group))
    const stamp = own ? await this.#restamp(entry, invalidated) : this.stamp
    return this.#complete(stamp === undefined ? undefined : { entry: { ...entry, stamp }, ttlMs })
  }

  /** Ends without storing: the handler failed, or its response may not be stored. What stands there goes. */
  async cancel(): Promise<void> {
    await this.#complete(undefined)
  }

  /** Ends without having changed anything: what stands there stays. */
  async abandon(): Promise<void> {
    await this.#complete(undefined, true)
  }

  /** The stamp to store under, or undefined where a group was invalidated by somebody else since the handler began. */
  async #restamp(entry: Entry, invalidated: OwnInvalidation): Promise<number | undefined> {
    const own = invalidated.before.every((stamp) => stamp === undefined || stamp.hard <= this.stamp)
    const others = entry.groups.filter((group) => !invalidated.groups.includes(group))
    const { stamps } = await this.#store.read([this.key], others)
    const untouched = stamps.every((stamp) => stamp !== undefined && stamp.hard <= this.stamp)
    return own && untouched ? invalidated.stamp : undefined
  }

  async #complete(write: PendingWrite | undefined, keeps = false): Promise<Published> {
    if (!this.#open) return 'fenced'
    this.#open = false
    clearInterval(this.#renewal)
    return this.#store.complete(this.key, this.#token, write, keeps)
  }
}

/**
 * Taken before a write: while it is open nobody fills the key, and other writers of it are noticed. Ends with the `set`
 * it is given to, or with `cancel()`, which `await using` calls by itself.
 */
export class WriteStamp implements AsyncDisposable {
  /** @internal Undefined: the store was away. */
  readonly write: Write | undefined
  /** @internal */
  readonly key: string

  /** @internal */
  constructor(key: string, write: Write | undefined) {
    this.key = key
    this.write = write
  }

  /** Ends it without a value. Nothing happens where it has ended already. */
  async cancel(): Promise<void> {
    await this.write?.cancel().catch(() => {})
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cancel()
  }
}
