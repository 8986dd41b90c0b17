/** Header fields as one flat list: name, value, name, value …; order and repetition kept. */
export type HeaderList = readonly string[]

/**
 * - `response`: status, header fields and body bytes of an HTTP response
 * - `value`: an encoded value of the data cache
 * - `variants`: stands at the key of a path whose entries differ by header fields or principal; names those fields
 */
export type EntryKind = 'response' | 'value' | 'variants'

/**
 * A point of a prefix's logical clock, in microseconds. The incarnation is random and made with the clock: points of
 * two incarnations cannot be compared, because the clock was lost between them.
 */
export interface Stamp {
  readonly incarnation: number
  readonly at: number
}

/** The last hard and the last soft invalidation of a group (0: never). A missing one is `undefined`. */
export interface GroupStamp {
  readonly incarnation: number
  readonly hard: number
  readonly soft: number
}

/**
 * What is stored under one key. Immutable: the memory store returns the same object to every reader.
 * Instants are milliseconds since the epoch; Infinity means no end.
 */
export interface Entry {
  readonly kind: EntryKind
  /** 16 bits whose meaning belongs to the layer that wrote the entry. */
  readonly flags: number
  /** HTTP status; 0 for an entry that is not a response. */
  readonly status: number
  readonly storedAt: number
  /** Incarnation of `stamp` and `writeStamp`. */
  readonly incarnation: number
  /** Logical time read before the handler or loader ran. */
  readonly stamp: number
  /** Logical time of the write-through that stored the entry; `stamp` for all others. */
  readonly writeStamp: number
  /** Groups that were invalidated by the entry's own write-through: compared with `writeStamp`. Usually empty. */
  readonly ownGroups: readonly string[]
  readonly freshUntil: number
  /** May be served stale while it is refreshed, until this instant. */
  readonly staleUntil: number
  /** May be served in place of a failure, until this instant. */
  readonly errorUntil: number
  /** Age of the response when it was stored (RFC 9111 section 4.2.3). */
  readonly initialAgeMs: number
  /** True after a soft eviction by key: usable, but not fresh. See `isSoftened`. */
  readonly softened?: boolean | undefined
  /** Encoded group names. The first is always `''`, the group of the whole prefix. */
  readonly groups: readonly string[]
  readonly headers: HeaderList
  readonly body: Buffer
  /** Facts that a reader derived from this object, kept as long as the object; never stored. */
  memo?: unknown
}

/** The last instant at which an entry can still be used. */
export function usefulUntil(entry: Pick<Entry, 'freshUntil' | 'staleUntil' | 'errorUntil'>): number {
  return Math.max(entry.freshUntil, entry.staleUntil, entry.errorUntil)
}

/** The point of the clock that counts for one of the entry's groups. */
function stampFor(entry: Entry, group: string): number {
  return entry.ownGroups.length > 0 && entry.ownGroups.includes(group) ? entry.writeStamp : entry.stamp
}

/**
 * Whether a group allows the entry: its stamp is present, of the same incarnation and not newer than the entry's. An
 * equal stamp is valid. A missing stamp may have been an invalidation, so it allows nothing.
 */
export function allows(entry: Entry, group: string, stamp: GroupStamp | undefined): boolean {
  return stamp !== undefined && stamp.incarnation === entry.incarnation && stamp.hard <= stampFor(entry, group)
}

/** Whether the entry is of use at `now` and all of these groups allow it; `stamps` are in the order of `groups`. */
export function isValid(
  entry: Entry,
  groups: readonly string[],
  stamps: readonly (GroupStamp | undefined)[],
  now: number,
): boolean {
  if (now >= entry.freshUntil && now >= usefulUntil(entry)) return false
  // Loops, not callbacks: this runs at every hit.
  for (let index = 0; index < groups.length; index += 1)
    if (!allows(entry, groups[index] ?? '', stamps[index])) return false
  return true
}

/** Whether the entry was evicted softly, by its key or by one of these groups: valid, but not fresh. */
export function isSoftened(
  entry: Entry,
  groups: readonly string[],
  stamps: readonly (GroupStamp | undefined)[],
): boolean {
  if (entry.softened === true) return true
  for (let index = 0; index < groups.length; index += 1)
    if ((stamps[index]?.soft ?? 0) > stampFor(entry, groups[index] ?? '')) return true
  return false
}
