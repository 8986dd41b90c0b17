import { slotOf, SLOTS } from '../redis/command.js'

/** First character of the group of a path in `Entry.groups`. Encoded group names do not have it. */
const PATH_MARK = '='

/** The implicit group of everything that is told apart below one path. */
export function pathGroup(path: string): string {
  return PATH_MARK + path
}

/** Slots of a cluster that share one copy of the stamp of everything. Resharding mostly moves such ranges. */
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

/** Names of one prefix's keys in Redis. Entry keys have no braces, so that a lease can share their slot. */
export class Keyspace {
  readonly clock: string
  readonly wake: string
  readonly lives: string
  readonly entries: string
  readonly groups: string
  readonly #variants: string
  readonly #spread: boolean

  /** `spread`: true on a cluster, where no single node should be read for every entry. */
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

  /** The hash tag is the whole entry key, so a lease shares the slot of its entry. */
  lease(key: string): string {
    return `${this.prefix}:lease:{${this.entries}${key}}`
  }

  /**
   * Keys of the stamps of groups as an entry reads them. The group of a path shares the slot of the path's entry and
   * lease. The group of everything has a copy for each range of slots of a cluster: entries find it on their own node
   * (variants on that of their path, whose group they read as well), and one node that is away does not make the
   * entries of the others useless.
   */
  groupsOf(groups: readonly string[], key: string): string[] {
    return groups.map((name) => (name === '' && this.#spread ? this.#copyFor(groups, key) : this.#group(name)))
  }

  #group(name: string): string {
    const isPath = name.startsWith(PATH_MARK)
    return this.groups + (isPath ? `{${this.entries}${name.slice(PATH_MARK.length)}}` : name)
  }

  #copyFor(groups: readonly string[], key: string): string {
    const path = groups.find((name) => name.startsWith(PATH_MARK))?.slice(PATH_MARK.length)
    return `${this.groups}{${copyTags()[slotOf(this.entry(path ?? key)) >> SLOTS_PER_COPY_BITS]}}`
  }

  /** All keys of a group's stamp. */
  copies(name: string): readonly string[] {
    if (name !== '' || !this.#spread) return [this.#group(name)]
    return copyTags().map((tag) => `${this.groups}{${tag}}`)
  }

  /** The group of a path, in the slot of its entry. */
  pathGroup(path: string): string {
    return this.#group(pathGroup(path))
  }

  /** A list of the variants of a path, in the slot of the path's entry. */
  variants(path: string, list: string): string {
    return `${this.#variants}{${this.entries}${path}}:${list}`
  }
}
