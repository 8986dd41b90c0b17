import { nearestName } from '../errors.js'
import { encodeGroup } from './key.js'

/** Bounds memory: an application may have a separate group for each entry. */
const REMEMBERED_MAX = 1000

/**
 * The groups that an application names on its entries. An eviction of another one is often a misspelt name: it
 * succeeds, and nothing is evicted.
 */
export class GroupNames {
  readonly #declared = new Set<string>()
  /** The first groups of entries that were stored. Encoded. */
  readonly #stored = new Set<string>()
  /** Evicted, and on no entry so far. Encoded. */
  readonly #unknown = new Set<string>()

  /** Entries will be in this group, or in these. The groups of a function are known when an entry is stored. */
  declare(group: unknown): void {
    for (const name of namesOf(group)) {
      this.#declared.add(name)
      this.#unknown.delete(encodeGroup(name))
    }
  }

  /** A route evicts this group, or these. */
  expect(group: unknown): void {
    for (const name of namesOf(group))
      if (!this.#declared.has(name) && !this.#stored.has(encodeGroup(name))) this.#unknown.add(encodeGroup(name))
  }

  /** An entry of these groups is stored. Encoded. */
  stored(groups: readonly string[]): void {
    for (const group of groups) {
      if (this.#stored.size < REMEMBERED_MAX) this.#stored.add(group)
      this.#unknown.delete(group)
    }
  }

  /** The declared name that an unknown one probably means; undefined once it was reported. */
  meant(name: string): string | undefined {
    if (!this.#unknown.has(encodeGroup(name))) return undefined
    const near = nearestName(name, [...this.#declared])
    if (near !== undefined) this.#unknown.delete(encodeGroup(name))
    return near
  }

  /** Whether no known entry is in this group; true once per group. */
  missed(name: string): boolean {
    return this.#unknown.size > 0 && this.#unknown.delete(encodeGroup(name))
  }
}

function namesOf(group: unknown): readonly string[] {
  return [group].flat().filter((name) => typeof name === 'string')
}
