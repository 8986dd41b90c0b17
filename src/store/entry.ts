/** Header fields as one flat list: name, value, name, value …; order and repetition kept. */
export type HeaderList = readonly string[]

/**
 * - `response`: status, header fields and body bytes of an HTTP response
 * - `value`: an encoded value of the data cache
 * - `pass`: a note that the response of this key may not be stored, so that requests do not queue for it (hit-for-pass)
 * - `variants`: stands at a key whose entries differ by header fields or principal; names those fields
 */
export type EntryKind = 'response' | 'value' | 'pass' | 'variants'

/**
 * What is stored under one key. Immutable: the memory store hands the same object to every reader.
 * Instants are milliseconds since the epoch; Infinity is "no end".
 */
export interface Entry {
  readonly kind: EntryKind
  /** Meaning belongs to the layer that wrote the entry; 16 bits. */
  readonly flags: number
  /** HTTP status; 0 for what is not a response. */
  readonly status: number
  readonly storedAt: number
  /** Logical time of the prefix (see `Stamp`) read before the value was loaded. */
  readonly stamp: number
  readonly freshUntil: number
  /** May be served stale while it is refreshed, up to here. */
  readonly staleUntil: number
  /** May be served in place of a failure, up to here. */
  readonly errorUntil: number
  /** Age the response had when it was stored (RFC 9111 section 4.2.3). */
  readonly initialAgeMs: number
  /** Identity: of a `variants` entry its own, of an entry below one that of its parent. Empty elsewhere. */
  readonly family: string
  /** Encoded group names. The first is always `''`: every entry is in the group of its whole prefix. */
  readonly groups: readonly string[]
  readonly headers: HeaderList
  readonly body: Buffer
  /** Facts derived from this object by its reader, kept as long as the object; never stored. */
  memo?: unknown
}

/**
 * Stamps of one group, points of the prefix's logical clock in microseconds. An entry is valid only when its own
 * stamp is not older than `hard`, and fresh only when it is not older than `soft` (0: never softly invalidated).
 */
export interface Stamp {
  readonly hard: number
  readonly soft: number
}

/** The last instant at which an entry can still be of use. */
export function usefulUntil(entry: Pick<Entry, 'freshUntil' | 'staleUntil' | 'errorUntil'>): number {
  return Math.max(entry.freshUntil, entry.staleUntil, entry.errorUntil)
}

/**
 * The one rule of section "Read" of the protocol: an entry counts only if every one of its groups has a stamp that is
 * not newer than its own. A missing stamp is doubt, and doubt is a miss.
 */
export function isValid(entry: Entry, stamps: readonly (Stamp | undefined)[], now: number): boolean {
  if (now >= entry.freshUntil && now >= usefulUntil(entry)) return false
  // Loops, not callbacks: this runs at every hit.
  for (const stamp of stamps) if (stamp === undefined || stamp.hard > entry.stamp) return false
  return true
}

/** Softly invalidated: still valid, not fresh any more. */
export function isSoftened(entry: Entry, stamps: readonly (Stamp | undefined)[]): boolean {
  for (const stamp of stamps) if (stamp !== undefined && stamp.soft > entry.stamp) return true
  return false
}
