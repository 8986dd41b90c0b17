import type { Entry } from '../store/entry.js'

/** Where an entry is looked for. */
export interface EntryRef {
  readonly key: string
  /**
   * The key of the path, where the entry is one of several variants. A `variants` entry stands there whose identity
   * the variant must carry, so that evicting the path ends all of its variants at once.
   */
  readonly base?: string | undefined
  /** Encoded groups the entry must carry; the prefix's first. */
  readonly groups: readonly string[]
  /** The store's own: see `Spot`. */
  slot?: unknown
}

export type EntryLookup =
  /** Every group allows it and it is still of use. `softened`: invalidated softly, so not fresh. */
  | { readonly state: 'valid'; readonly entry: Entry; readonly softened: boolean }
  | Absent
  /** The store could not answer. */
  | { readonly state: 'outage'; readonly error: unknown }

export interface Absent {
  readonly state: 'absent'
  /** What stands at the key though it is not valid; a claim names it. `any`: the caller did not look. */
  readonly seen: Entry | 'any' | undefined
  /** The path's `variants` entry, where the place has a base. */
  readonly marker: Entry | undefined
  readonly absentGroups: readonly string[]
}

/** A claim of somebody who wants a new value whatever stands there. */
export function unseen(groups: readonly string[]): Absent {
  return { state: 'absent', seen: 'any', marker: undefined, absentGroups: groups }
}

/** A claim of somebody who saw an entry and may not use it. */
export function replacing(entry: Entry): Absent {
  return { state: 'absent', seen: entry, marker: undefined, absentGroups: [] }
}
