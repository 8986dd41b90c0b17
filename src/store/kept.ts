import { type Entry, usefulUntil } from './entry.js'

/** An entry as the embedded server keeps it. */
export class Kept {
  /** Readers check themselves whether the entry is still of use, so its expiry need not be checked here. */
  readonly endsItself: boolean

  constructor(
    readonly index: Map<string, Kept>,
    readonly key: string,
    /** Undefined once it is not kept any longer, so that a slot that still refers to it holds nothing large. */
    public entry: Entry | undefined,
    readonly expiresAt: number,
    /** Number of entries stored when it was last moved to the front of the order of eviction. */
    public touchedAt: number,
  ) {
    this.endsItself = entry !== undefined && usefulUntil(entry) <= expiresAt
  }
}
