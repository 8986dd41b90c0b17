import { type Entry, type Judged, type Stamp, stampedWith } from '../store/entry.js'
import type { EntryRef } from './lookup.js'

/** An entry before the store has given it its stamps. */
export type EntryDraft = Omit<Entry, keyof Judged>

/** The entry as it is stored under one stamp. */
export function stamped(draft: EntryDraft, { incarnation, at }: Stamp): Entry {
  return stampedWith(draft, { incarnation, stamp: at, writeStamp: at, ownGroups: NONE })
}

const NONE: readonly string[] = []

/** What is to be stored, and how long the store keeps it. */
export interface StoredEntry {
  readonly entry: EntryDraft
  readonly ttlMs: number
}

/** A write-through whose handler may run. It holds nothing in the store, so a failed one is just dropped. */
export interface PendingWrite extends Pick<EntryRef, 'key' | 'path'> {
  /** The clock before the handler ran: what is written is refused where anything of it was invalidated since. */
  readonly stamp: Stamp
}

/**
 * The moment before a write, for `set` with `ifUnchangedSince`: the value is stored only if its key and groups were
 * not written or invalidated since.
 */
export class WriteStamp {
  /** @internal Undefined: the store was away. */
  readonly write: PendingWrite | undefined
  /** @internal */
  readonly key: string

  /** @internal */
  constructor(key: string, write: PendingWrite | undefined) {
    this.key = key
    this.write = write
  }
}
