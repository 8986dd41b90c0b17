/** Keys remembered one by one; over that everything counts as changed. */
const KEYS_MAX = 1000

/** What this process has changed or invalidated, and in which order: whether something remembered is older than that. */
export class Changes {
  #count = 0
  #everything = 0
  readonly #keys = new Map<string, number>()

  /** The point up to which all changes are known to whoever reads now. */
  get now(): number {
    return this.#count
  }

  /** To be called when the change is complete: who began to read before that may have read what was there before. */
  note(keys: readonly string[], everything: boolean): void {
    this.#count += 1
    if (everything || this.#keys.size + keys.length > KEYS_MAX) {
      this.#everything = this.#count
      this.#keys.clear()
    } else for (const key of keys) this.#keys.set(key, this.#count)
  }

  since(point: number, key: string): boolean {
    return this.#everything > point || (this.#keys.get(key) ?? 0) > point
  }
}
