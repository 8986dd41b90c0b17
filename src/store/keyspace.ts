import { slotOf, SLOTS } from '../redis/command.js'

/** Slots of a cluster that share one copy of the stamp of everything; resharding moves slots by such ranges, mostly. */
const SLOTS_PER_COPY_BITS = 8

const COPIES = SLOTS >> SLOTS_PER_COPY_BITS

/** A hash tag for each range of slots, by brute force: the first numbers that fall into them. */
let tags: readonly string[] | undefined

function copyTags(): readonly string[] {
  if (tags !== undefined) return tags
  const found = new Map<number, string>()
  for (let number = 0; found.size < COPIES; number += 1) {
    const range = slotOf(String(number)) >> SLOTS_PER_COPY_BITS
    if (!found.has(range)) found.set(range, String(number))
  }
  tags = Array.from({ length: COPIES }, (_, range) => found.get(range) as string)
  return tags
}

/** The names of one prefix's keys in Redis. Entry keys have no braces, so that a lease can share their slot. */
export class Keyspace {
  readonly clock: string
  readonly wake: string
  readonly lives: string
  readonly entries: string
  readonly groups: string
  readonly #variants: string
  readonly #spread: boolean

  /** `spread`: on a cluster, where no single node should be asked for every entry. */
  constructor(
    readonly prefix: string,
    spread = false,
  ) {
    this.clock = `${prefix}:clock`
    this.wake = `${prefix}:wake`
    this.lives = `${prefix}:lives`
    this.entries = `${prefix}:entry:`
    this.groups = `${prefix}:group:`
    this.#variants = `${prefix}:variants:`
    this.#spread = spread
  }

  entry(key: string): string {
    return this.entries + key
  }

  /** The hash tag is the whole entry key: a lease lives in the slot of its entry. */
  lease(key: string): string {
    return `${this.prefix}:lease:{${this.entries}${key}}`
  }

  /**
   * Where the stamps of a group stand for an entry. The group of everything has a copy for each range of slots of a
   * cluster: its entries find it on their own node, and one node that is away does not make all others useless.
   */
  group(name: string, key = ''): string {
    if (name !== '' || !this.#spread) return this.groups + name
    return `${this.groups}{${copyTags()[slotOf(this.entry(key)) >> SLOTS_PER_COPY_BITS]}}`
  }

  /** All the places where the stamps of a group stand. */
  copies(name: string): readonly string[] {
    if (name !== '' || !this.#spread) return [this.groups + name]
    return copyTags().map((tag) => `${this.groups}{${tag}}`)
  }

  variants(list: string): string {
    return this.#variants + list
  }
}
