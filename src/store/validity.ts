import { type Entry, type Stamp, usefulUntil } from './entry.js'

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
