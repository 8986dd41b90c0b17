import type { Write } from './write.js'

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
