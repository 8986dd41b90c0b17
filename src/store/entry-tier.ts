import { LRUCache } from 'lru-cache'
import { type Entry, stampedWith, usefulUntil } from './entry.js'
import type { KeySlot } from './store.js'

/**
 * A hot entry is moved to the front after one in 16 of the entries was replaced, and not at each hit: moving it costs
 * more than the rest of a hit, and the order matters only when something is stored.
 */
const TOUCH_SHIFT = 4

/** What an entry costs next to its texts and body: objects, list and map slots, a body outside of the pool (measured). */
const ENTRY_OVERHEAD_BYTES = 950

/** What the stamp of a group costs next to its name: its numbers and a map slot (measured). */
const STAMP_OVERHEAD_BYTES = 180

/** Bytes that the stamp of a group takes. */
export function bytesOfStamp(name: string): number {
  return STAMP_OVERHEAD_BYTES + name.length
}

/** Bytes that a kept entry takes. */
export function bytesOfKept(key: string, entry: Entry): number {
  let bytes = ENTRY_OVERHEAD_BYTES + key.length + entry.body.length
  for (const text of entry.headers) bytes += text.length
  return bytes
}

/** What a reader prepares for the answers with an entry, such as its list of fields: for each, and for each field (measured). */
const PREPARED_BYTES = 400
const PREPARED_FIELD_BYTES = 110

/** Fields that an answer has in addition to those of its entry. */
const ADDED_FIELDS = 2

/** Bytes of what was prepared for the answers with an entry. */
function bytesPrepared({ headers }: Entry): number {
  return PREPARED_BYTES + (headers.length / 2 + ADDED_FIELDS) * PREPARED_FIELD_BYTES
}

/** An entry in this process's memory. */
export class Kept {
  /** Readers check themselves whether the entry is still of use, so its expiry need not be checked here. */
  readonly endsItself: boolean
  /** Lookups that found it. */
  uses = 0
  /** Bytes of what readers have prepared, once it is counted. */
  prepared = 0

  constructor(
    readonly tier: EntryTier,
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

/** The bytes that the entries of several prefixes share; the least recently used go first. */
export class EntryBudget {
  readonly maxBytes: number
  readonly order: LRUCache<string, Kept>
  /** Entries stored so far. */
  stores = 0
  /** Number of further ones after which a hot entry is moved to the front of the order of eviction. */
  touchAfter = 0
  /** Bytes of what stands beside the entries. */
  #beside = 0

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
    this.order = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: ({ entry }, name) => (entry === undefined ? 1 : bytesOfKept(name, entry)),
      dispose: (kept) => {
        kept.tier.forget(kept)
        kept.entry = undefined
        this.#beside -= kept.prepared
        kept.prepared = 0
      },
    })
  }

  /** Bytes that the entries take, and what stands beside them. */
  get bytes(): number {
    return this.order.calculatedSize + this.#beside
  }

  /** Counts what a reader prepared. */
  prepare(kept: Kept, entry: Entry): void {
    kept.prepared = bytesPrepared(entry)
    this.count(kept.prepared)
  }

  /** Counts bytes that are taken beside the entries, or no longer. */
  count(bytes: number): void {
    this.#beside += bytes
    this.trim()
  }

  /** The order of eviction knows the entries alone. */
  trim(): void {
    while (this.bytes > this.maxBytes && this.order.size > 0) this.order.pop()
  }

  /** The entry that has to go first. */
  get last(): Kept | undefined {
    for (const kept of this.order.rvalues()) return kept
    return undefined
  }
}

/** The entries of one prefix. A lookup by key builds no name, and one by slot asks no map. */
export class EntryTier {
  readonly #index = new Map<string, Kept>()

  constructor(
    private readonly budget: EntryBudget,
    private readonly prefix: string,
    private readonly now: () => number,
  ) {}

  get size(): number {
    return this.#index.size
  }

  values(): IterableIterator<Kept> {
    return this.#index.values()
  }

  at(key: string): Kept | undefined {
    return this.#index.get(key)
  }

  /** The entry that a reader may have, which counts as a use of it. */
  find(ref: KeySlot): Entry | undefined {
    let kept = ref.slot instanceof Kept ? ref.slot : undefined
    if (kept?.entry === undefined) {
      kept = this.#index.get(ref.key)
      ref.slot = kept
    }
    if (kept === undefined || (!kept.endsItself && kept.expiresAt <= this.now())) return undefined
    kept.uses += 1
    const { budget } = this
    const { entry } = kept
    if (kept.prepared === 0 && entry?.memo !== undefined) budget.prepare(kept, entry)
    if (budget.stores - kept.touchedAt > budget.touchAfter) {
      kept.touchedAt = budget.stores
      budget.order.get(this.prefix + kept.key)
    }
    return entry
  }

  /**
   * Keeps an entry until this instant, with a copy of its body: the caller may reuse its buffer, and a small slice would
   * keep a whole slab alive. An entry that exceeds the whole budget is not kept, and what stood there before is gone.
   */
  keep(key: string, entry: Entry, expiresAt: number): void {
    const { budget } = this
    const name = this.prefix + key
    const kept = new Kept(this, key, stampedWith(entry, entry, ownBytes(entry.body)), expiresAt, budget.stores)
    budget.order.set(name, kept)
    budget.trim()
    budget.stores += 1
    budget.touchAfter = budget.order.size >> TOUCH_SHIFT
    if (budget.order.has(name)) this.#index.set(key, kept)
    else this.#index.delete(key)
  }

  drop(key: string): boolean {
    return this.budget.order.delete(this.prefix + key)
  }

  clear(): void {
    for (const key of [...this.#index.keys()]) this.drop(key)
  }

  /** An entry has left the budget. */
  forget(kept: Kept): void {
    if (this.#index.get(kept.key) === kept) this.#index.delete(kept.key)
  }
}

/** A copy that is no part of Node's pool. */
function ownBytes(body: Buffer): Buffer {
  const own = Buffer.allocUnsafeSlow(body.length)
  body.copy(own)
  return own
}
