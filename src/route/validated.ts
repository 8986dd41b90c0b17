import type { Freshened } from '../http/index.js'
import type { Entry } from '../store/entry.js'

/** A stored response that the handler has validated. */
export interface Validated extends Freshened {
  readonly entry: Entry
}

/** Which of the stored responses a 304 is about, with its fields (RFC 9111 section 4.3.4). */
export function firstValidated(
  entries: readonly Entry[],
  freshened: (entry: Entry) => Freshened | 'mismatch',
): Validated | undefined {
  for (const entry of entries) {
    const found = freshened(entry)
    if (found !== 'mismatch') return { ...found, entry }
  }
  return undefined
}
