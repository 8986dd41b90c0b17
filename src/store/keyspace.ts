/** The names of one prefix's keys in Redis. Entry keys have no braces, so that a lease can share their slot. */
export class Keyspace {
  readonly clock: string
  readonly wake: string
  readonly lives: string
  readonly entries: string
  readonly groups: string
  readonly #variants: string

  constructor(readonly prefix: string) {
    this.clock = `${prefix}:clock`
    this.wake = `${prefix}:wake`
    this.lives = `${prefix}:lives`
    this.entries = `${prefix}:entry:`
    this.groups = `${prefix}:group:`
    this.#variants = `${prefix}:variants:`
  }

  entry(key: string): string {
    return this.entries + key
  }

  /** The hash tag is the whole entry key: a lease lives in the slot of its entry. */
  lease(key: string): string {
    return `${this.prefix}:lease:{${this.entries}${key}}`
  }

  group(name: string): string {
    return this.groups + name
  }

  variants(list: string): string {
    return this.#variants + list
  }
}
