import { LRUCache } from 'lru-cache'
import { type Entry, isValid, type Stamp, usefulUntil } from './entry.js'
import { Keyspace } from './keyspace.js'
import type {
  Claim,
  Claimed,
  Found,
  Invalidated,
  LocalReader,
  MatchKind,
  MatchStep,
  PendingWrite,
  Publication,
  Published,
  Spot,
  Store,
  SweepStep,
} from './store.js'

/**
 * A hot entry is moved to the front after so many (one in 16) of the entries were replaced, and not at each hit: moving
 * costs more than all else of a hit, and the order matters only to those who store.
 */
const TOUCH_SHIFT = 4

/** Entries of one prefix in this process. The same protocol as in Redis, so that what is tested here holds there. */
export class MemoryStore implements Store {
  readonly prefix: string
  readonly #memory: Memory
  readonly #keys: Keyspace
  readonly #index: Map<string, Kept>
  readonly local: LocalReader

  constructor(memory: Memory, prefix: string) {
    this.prefix = prefix
    this.#memory = memory
    this.#index = memory.index(prefix)
    this.local = { entry: this.#entryAt, stamp: this.#stamp }
    this.#keys = new Keyspace(prefix)
  }

  read(keys: readonly string[], groups: readonly string[]): Found {
    return { entries: keys.map(this.#entry), stamps: groups.map(this.#stamp) }
  }

  async claim(key: string, claim: Claim): Promise<Claimed> {
    const lease = this.#lease(key)
    if (lease !== undefined) return { state: 'held', remainingMs: Math.max(lease.until - this.#memory.now(), 1) }
    if (claim.seen !== 'any' && this.#entry(key) !== claim.seen) return { state: 'changed' }
    this.#setLease(key, { kind: 'fill', token: claim.token, until: this.#memory.now() + claim.leaseMs })
    const stamp = this.#memory.clock
    this.#createGroups(claim.absentGroups, stamp)
    return { state: 'granted', stamp }
  }

  async publish(key: string, { token, entry, ttlMs }: Publication): Promise<Published> {
    const lease = this.#lease(key)
    if (lease?.kind !== 'fill' || lease.token !== token) return 'fenced'
    this.#createGroups(entry.groups, this.#memory.clock)
    const allowed = entry.groups.every((group) => (this.#stamp(group)?.hard ?? Infinity) <= entry.stamp)
    if (allowed) this.#put(key, entry, ttlMs)
    this.#endLease(key)
    return allowed ? 'stored' : 'fenced'
  }

  async renew(key: string, token: string, leaseMs: number): Promise<boolean> {
    const lease = this.#lease(key)
    if (lease === undefined || (lease.kind !== 'contested' && lease.token !== token)) return false
    this.#setLease(key, { ...lease, until: this.#memory.now() + leaseMs })
    return true
  }

  async release(key: string, token: string): Promise<void> {
    const lease = this.#lease(key)
    if (lease?.kind === 'fill' && lease.token === token) this.#endLease(key)
  }

  async announce(key: string, token: string, leaseMs: number, keeps = false): Promise<number> {
    const lease = this.#lease(key)
    const until = this.#memory.now() + leaseMs
    const writers = lease?.kind === 'contested' ? lease.writers + 1 : 2
    const alone = lease === undefined || lease.kind === 'fill'
    this.#setLease(key, alone ? { kind: 'writer', token, until } : { kind: 'contested', writers, until })
    if (!keeps) this.#drop(key)
    return this.#memory.clock
  }

  found(_key: string, groups: readonly string[], clock: number): number {
    this.#createGroups(groups, this.#memory.clock)
    return Math.max(clock, this.#memory.clock)
  }

  async complete(key: string, token: string, write: PendingWrite | undefined, keeps = false): Promise<Published> {
    const lease = this.#lease(key)
    if (keeps && (lease === undefined || lease.kind === 'fill')) return 'fenced'
    if (!keeps) this.#drop(key)
    const own = lease?.kind === 'writer' && lease.token === token
    if (own && write !== undefined) {
      this.#createGroups(write.entry.groups, this.#memory.clock)
      this.#put(key, write.entry, write.ttlMs)
    }
    const others = lease?.kind === 'contested' ? lease.writers - 1 : lease?.kind === 'writer' && !own ? 1 : 0
    if (others > 0 && lease !== undefined)
      this.#setLease(key, { kind: 'contested', writers: others, until: lease.until })
    else this.#endLease(key)
    return own && write !== undefined ? 'stored' : 'fenced'
  }

  async set(key: string, entry: Entry, ttlMs: number): Promise<number | undefined> {
    if (this.#contest(key)) {
      this.#drop(key)
      return undefined
    }
    const stamp = this.#memory.clock
    this.#createGroups(entry.groups, stamp)
    this.#put(key, { ...entry, stamp }, ttlMs)
    this.#endLease(key)
    return stamp
  }

  async evict(keys: readonly string[]): Promise<number> {
    return keys.filter((key) => {
      if (!this.#contest(key)) this.#endLease(key)
      return this.#drop(key)
    }).length
  }

  async prolong(key: string, ttlMs: number): Promise<void> {
    const kept = this.#index.get(key)
    const expiresAt = this.#memory.now() + ttlMs
    if (kept?.entry !== undefined && kept.expiresAt < expiresAt) this.#keep(key, kept.entry, expiresAt)
  }

  async enrol(list: string, key: string, expiresAt: number, max: number, now: number): Promise<readonly string[]> {
    const others = this.#enrolled(list, now).filter(([known]) => known !== key)
    const gone = others.slice(0, Math.max(others.length + 1 - max, 0)).map(([known]) => known)
    const kept = others.slice(gone.length)
    this.#memory.variants.set(this.#keys.variants(list), new Map([...kept, [key, expiresAt]]))
    return gone
  }

  async enrolled(list: string, now: number): Promise<readonly string[]> {
    return this.#enrolled(list, now).map(([key]) => key)
  }

  /** Those that end first come first. */
  #enrolled(list: string, now: number): (readonly [key: string, expiresAt: number])[] {
    const known = this.#memory.variants.get(this.#keys.variants(list)) ?? []
    return [...known].filter(([, expiresAt]) => expiresAt > now).sort(([, one], [, other]) => one - other)
  }

  async soften(keys: readonly string[], now: number): Promise<number> {
    return keys.filter((key) => {
      if (this.#lease(key)?.kind === 'fill') this.#endLease(key)
      const kept = this.#index.get(key)
      if (kept?.entry !== undefined)
        this.#keep(key, { ...kept.entry, freshUntil: now, memo: undefined }, kept.expiresAt)
      return kept !== undefined
    }).length
  }

  async invalidate(groups: readonly string[], mode: 'hard' | 'soft'): Promise<Invalidated> {
    const stamp = Math.max(this.#memory.clock + 1, this.#memory.now() * 1000)
    this.#memory.clock = stamp
    const before = groups.map(this.#stamp)
    groups.forEach((group, index) => {
      const was = before[index]
      if (was !== undefined) this.#memory.groups.set(this.#keys.group(group), { ...was, [mode]: stamp })
    })
    return { stamp, before }
  }

  async listen(): Promise<void> {}

  onWake(key: string, wake: () => void): () => void {
    const name = this.#keys.entry(key)
    const waiting = this.#memory.waiting.get(name) ?? new Set()
    this.#memory.waiting.set(name, waiting.add(wake))
    return () => {
      if (waiting.delete(wake) && waiting.size === 0) this.#memory.waiting.delete(name)
    }
  }

  async sweep(_cursor: string, _count: number, now: number): Promise<SweepStep> {
    const all = [...this.#index.values()]
    const dead = all.filter(({ entry }) => entry !== undefined && !isValid(entry, entry.groups.map(this.#stamp), now))
    for (const { key } of dead) this.#drop(key)
    return { cursor: '0', scanned: all.length, removed: dead.length }
  }

  async match(kind: MatchKind, pattern: string): Promise<MatchStep> {
    const start = this.#keys.entries
    const leased = [...this.#memory.leases.keys()].filter((name) => name.startsWith(start))
    const keys = kind === 'entries' ? [...this.#index.keys()] : leased.map((name) => name.slice(start.length))
    const matches = globRegExp(pattern)
    return { cursor: '0', keys: keys.filter((key) => matches.test(key)) }
  }

  readonly #entryAt = (spot: Spot): Entry | undefined => {
    let kept = spot.slot as Kept | undefined
    if (kept === undefined || kept.entry === undefined) {
      kept = this.#index.get(spot.key)
      spot.slot = kept
    }
    return kept === undefined ? undefined : this.#entryOf(kept)
  }

  readonly #entry = (key: string): Entry | undefined => {
    const kept = this.#index.get(key)
    return kept === undefined ? undefined : this.#entryOf(kept)
  }

  #entryOf(kept: Kept): Entry | undefined {
    if (!kept.endsItself && kept.expiresAt <= this.#memory.now()) return undefined
    if (this.#memory.stores - kept.touchedAt > this.#memory.touchAfter) {
      kept.touchedAt = this.#memory.stores
      this.#memory.entries.get(this.#keys.entry(kept.key))
    }
    return kept.entry
  }

  readonly #stamp = (group: string): Stamp | undefined => this.#memory.groups.get(this.#keys.groups + group)

  #put(key: string, entry: Entry, ttlMs: number): void {
    // A copy: the handler keeps its buffer, and a small slice would keep a whole socket chunk alive.
    this.#keep(key, { ...entry, body: Buffer.from(entry.body) }, this.#memory.now() + ttlMs)
  }

  #keep(key: string, entry: Entry, expiresAt: number): void {
    const memory = this.#memory
    const endsItself = usefulUntil(entry) <= expiresAt
    const kept = { index: this.#index, key, entry, expiresAt, endsItself, touchedAt: memory.stores }
    const name = this.#keys.entry(key)
    memory.entries.set(name, kept)
    memory.stores += 1
    memory.touchAfter = memory.entries.size >> TOUCH_SHIFT
    // What is too large for the whole budget is not taken, and what stood there before is gone.
    if (memory.entries.has(name)) this.#index.set(key, kept)
    else this.#index.delete(key)
  }

  #drop(key: string): boolean {
    return this.#memory.entries.delete(this.#keys.entry(key))
  }

  #createGroups(groups: readonly string[], stamp: number): void {
    const all = this.#memory.groups
    for (const group of groups) {
      if (this.#stamp(group) !== undefined) continue
      if (all.size >= GROUPS_MAX) this.#loseOldestGroup()
      all.set(this.#keys.group(group), { hard: stamp, soft: 0 })
    }
  }

  /** A lost group only makes its entries misses; that of a whole prefix, though, would be the first to go. */
  #loseOldestGroup(): void {
    for (const name of this.#memory.groups.keys()) {
      if (name.endsWith(':group:')) continue
      this.#memory.groups.delete(name)
      return
    }
  }

  #lease(key: string): Lease | undefined {
    const lease = this.#memory.leases.get(this.#keys.entry(key))
    return lease !== undefined && lease.until > this.#memory.now() ? lease : undefined
  }

  #setLease(key: string, lease: Lease): void {
    this.#memory.leases.set(this.#keys.entry(key), lease)
  }

  #endLease(key: string): void {
    const name = this.#keys.entry(key)
    if (!this.#memory.leases.delete(name)) return
    for (const wake of [...(this.#memory.waiting.get(name) ?? [])]) wake()
  }

  /** True where writers of the key are active; after this none of them stores. */
  #contest(key: string): boolean {
    const lease = this.#lease(key)
    if (lease === undefined || lease.kind === 'fill') return false
    if (lease.kind === 'writer') this.#setLease(key, { kind: 'contested', writers: 1, until: lease.until })
    return true
  }
}

/** `*` is any characters, and everything else itself. */
function globRegExp(pattern: string): RegExp {
  const literals = pattern.split('*').map((text) => text.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${literals.join('.*')}$`, 's')
}

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
