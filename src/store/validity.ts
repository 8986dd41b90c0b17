import { type Entry, type Stamp, usefulUntil } from './entry.js'

/**
 * The one rule of section "Read" of the protocol: an entry counts only if every one of its groups has a stamp that is
 * not newer than its own. A missing stamp is doubt, and doubt is a miss.
 */
export function isValid(entry: Entry, stamps: readonly (Stamp | undefined)[], now: number): boolean {
  if (now >= usefulUntil(entry)) return false
  return stamps.every((stamp) => stamp !== undefined && stamp.hard <= entry.stamp)
}

/** Softly invalidated: still valid, not fresh any more. */
export function isSoftened(entry: Entry, stamps: readonly (Stamp | undefined)[]): boolean {
  return stamps.some((stamp) => stamp !== undefined && stamp.soft > entry.stamp)
}
