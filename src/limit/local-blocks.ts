/** Identities that are blocked here at once; the oldest are forgotten beyond it. */
const BLOCKS_MAX = 10_000

/** Blocks that Redis did not take: they hold in this process until their time is over, whatever Redis says. */
export class LocalBlocks {
  /** Ends in monotonic milliseconds, by key. */
  readonly #ends = new Map<string, number>()

  get size(): number {
    return this.#ends.size
  }

  add(key: string, forMs: number): void {
    this.#ends.delete(key)
    this.#ends.set(key, performance.now() + forMs)
    const [oldest] = this.#ends.size > BLOCKS_MAX ? this.#ends.keys() : []
    if (oldest !== undefined) this.#ends.delete(oldest)
  }

  delete(key: string): void {
    this.#ends.delete(key)
  }

  /** Milliseconds until the end; 0: not blocked. */
  leftMs(key: string): number {
    const end = this.#ends.get(key)
    if (end === undefined) return 0
    const left = end - performance.now()
    if (left > 0) return left
    this.#ends.delete(key)
    return 0
  }
}
