/**
 * What is kept about an object that lives for one request. A property, not a WeakMap: entries for each request cost more in
 * collections than all else about it.
 */
export class RequestProperty<T> {
  readonly #name = Symbol('redwell')

  get(owner: object): T | undefined {
    return (owner as Record<symbol, T | undefined>)[this.#name]
  }

  /** Whether this very object has it, and not one that it was derived from. */
  has(owner: object): boolean {
    return Object.hasOwn(owner, this.#name)
  }

  set(owner: object, value: T | undefined): void {
    ;(owner as Record<symbol, T | undefined>)[this.#name] = value
  }
}
