import { LRUCache } from 'lru-cache'
import type { Entry, Stamp } from './entry.js'

/** Default budget of the embedded store: 64 MiB of entries. */
const DEFAULT_MEMORY_BYTES = 64 * 1024 * 1024

/** What an entry costs beside its texts and body: objects, map slots. */
const ENTRY_OVERHEAD_BYTES = 400

/** Stamps kept; a group beyond it is a lost group, so its entries are misses. */
export const GROUPS_MAX = 100_000

/** Paths whose variants are counted; a forgotten one begins to count anew. */
const VARIANT_LISTS_MAX = 10_000

export interface MemoryOptions {
  /** Budget for entries, in bytes; the least recently used go first. Default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** An entry as the embedded server keeps it. */
export interface Kept {
  readonly index: Map<string, Kept>
  readonly key: string
  /** Undefined once it is not kept any more, so that a slot that still knows it holds nothing large. */
  entry: Entry | undefined
  readonly expiresAt: number
  /** Readers see for themselves that the entry is of no use any more, so its end need not be looked at here. */
  readonly endsItself: boolean
  /** How many entries had been stored when it was last moved to the front of the order of eviction. */
  touchedAt: number
}

export type Lease = { readonly until: number } & (
  | { readonly kind: 'fill' | 'writer'; readonly token: string }
  | { readonly kind: 'contested'; readonly writers: number }
)

/** The embedded server: what all prefixes of one application share. */
export class Memory {
  readonly now: () => number
  readonly entries: LRUCache<string, Kept>
  /** The same entries by prefix and key: looking there takes no name to be put together. */
  readonly #indexes = new Map<string, Map<string, Kept>>()
  readonly groups = new Map<string, Stamp>()
  readonly leases = new Map<string, Lease>()
  /** Entries stored so far. */
  stores = 0
  /** After how many further ones a hot entry is moved to the front of the order of eviction. */
  touchAfter = 0
  /** One logical clock for all prefixes: nothing here can be lost. */
  clock: number
  readonly waiting = new Map<string, Set<() => void>>()
  /** Variants by path, with the ends of their lives. */
  readonly variants = new LRUCache<string, ReadonlyMap<string, number>>({ max: VARIANT_LISTS_MAX })

  constructor(options: MemoryOptions = {}) {
    this.now = options.now ?? Date.now
    this.clock = this.now() * 1000
    this.entries = new LRUCache({
      maxSize: options.maxBytes ?? DEFAULT_MEMORY_BYTES,
      sizeCalculation: sizeOf,
      dispose: (kept) => {
        if (kept.index.get(kept.key) === kept) kept.index.delete(kept.key)
        kept.entry = undefined
      },
    })
  }

  index(prefix: string): Map<string, Kept> {
    const known = this.#indexes.get(prefix)
    if (known !== undefined) return known
    const index = new Map<string, Kept>()
    this.#indexes.set(prefix, index)
    return index
  }
}

function sizeOf({ entry }: Kept, key: string): number {
  if (entry === undefined) return ENTRY_OVERHEAD_BYTES
  const texts = entry.headers.reduce((sum, text) => sum + text.length, key.length)
  return ENTRY_OVERHEAD_BYTES + texts + entry.body.length
}
