import type { Entry } from '../store/entry.js'

/** The place of one entry. */
export interface EntryRef {
  readonly key: string
  /** The key of the path that the entry is a variant of; the same as `key` for a plain entry or a value. */
  readonly path: string
  /** Encoded groups that the entry must carry: the prefix's first. A variant carries its path's group. */
  readonly groups: readonly string[]
  /** Kept by the store: where it found the entry last. */
  slot?: unknown
}

export type EntryLookup =
  /** All groups allow it, and it is still of use. `softened`: invalidated softly, so not fresh. */
  | { readonly state: 'valid'; readonly entry: Entry; readonly softened: boolean }
  | Absent
  /** The store could not answer. */
  | { readonly state: 'outage'; readonly error: unknown }

export interface Absent {
  readonly state: 'absent'
  /** The unusable entry at the key; the lease is granted only while it is there. `any`: the caller did not look. */
  readonly seen: Entry | 'any' | undefined
  readonly absentGroups: readonly string[]
}

/** For a fill that replaces whatever is there. */
export function unseen(groups: readonly string[]): Absent {
  return { state: 'absent', seen: 'any', absentGroups: groups }
}

/** For a fill that replaces an entry its reader may not use. */
export function replacing(entry: Entry): Absent {
  return { state: 'absent', seen: entry, absentGroups: [] }
}
