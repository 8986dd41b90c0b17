import type { Lifetimes } from '../http/index.js'

/**
 * Whether a hit refreshes a fresh entry ahead of its end: never before the last part of the lifetime, then ever more
 * likely, so that a busy key is refreshed before it expires and processes do not do so in step.
 */
export function isDueEarly({ storedAt, freshUntil }: Lifetimes, now: number, part: number): boolean {
  if (part === 0 || freshUntil === Infinity) return false
  const windowMs = (freshUntil - storedAt) * part
  const leftMs = freshUntil - now
  return leftMs < windowMs && Math.random() > leftMs / windowMs
}
