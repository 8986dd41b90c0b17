import { LRUCache } from 'lru-cache'
import { allows, type Entry, type EntryHead, type GroupStamp, headOf, isValid, type Stamp } from './entry.js'
import { Kept } from './kept.js'
import { globOf, Keyspace, namesUnder, pathGroup } from './keyspace.js'
import { Waiters } from './leases.js'
import type {
  CommitReply,
  InvalidationMode,
  KeySlot,
  LeaseReply,
  LeaseRequest,
  ListedVariant,
  LocalReader,
  MatchKind,
  MatchStep,
  Publication,
  Published,
  ReadResult,
  Store,
  SweepStep,
  WriteCommit,
} from './store.js'

/**
 * A hot entry is moved to the front after one in 16 of the entries was replaced, and not at each hit: moving it costs
 * more than the rest of a hit, and the order matters only when something is stored.
 */
const TOUCH_SHIFT = 4

/** Nothing here can be lost, so there is one incarnation. */
const INCARNATION = 1

/** Entries of one prefix in this process. The same protocol as in Redis, so that what is tested here holds there. */
export class MemoryStore implements Store {
  readonly local: LocalReader
  readonly #keys: Keyspace
  readonly #index: Map<string, Kept>

  constructor(
    private readonly memory: Memory,
    readonly prefix: string,
  ) {
    this.#index = memory.index(prefix)
    this.local = { entry: this.#entryAt, stamp: this.#groupStamp }
    this.#keys = new Keyspace(prefix)
  }

  read(keys: readonly string[], groups: readonly string[]): ReadResult {
    return { entries: keys.map(this.#entry), stamps: groups.map(this.#groupStamp) }
  }

  clock(): Stamp {
    return { incarnation: INCARNATION, at: this.memory.clock }
  }

  async acquireLease(key: string, request: LeaseRequest): Promise<LeaseReply> {
    const lease = this.#lease(key)
    if (lease?.kind === 'fill') return { state: 'held', remainingMs: Math.max(lease.until - this.memory.now(), 1) }
    if (lease !== undefined) return { state: 'noted' }
    if (request.seen !== 'any' && this.#entry(key) !== request.seen) return { state: 'changed' }
    this.#keepLease(key, 'fill', request.token, request.leaseMs)
    this.#createGroups(request.absentGroups)
    return { state: 'granted', stamp: this.clock() }
  }

  async publish(key: string, { token, entry, ttlMs }: Publication): Promise<Published> {
    if (this.#fillLease(key, token) === undefined) return 'fenced'
    this.#createGroups(entry.groups)
    const allowed = entry.groups.every((group) => allows(entry, group, this.#groupStamp(group)))
    if (allowed) this.#put(key, entry, ttlMs)
    this.#endLease(key)
    return allowed ? 'stored' : 'fenced'
  }

  async renewLease(key: string, token: string, leaseMs: number): Promise<boolean> {
    const lease = this.#fillLease(key, token)
    if (lease !== undefined) this.#keepLease(key, lease.kind, token, leaseMs)
    return lease !== undefined
  }

  async releaseLease(key: string, token: string, noteMs = 0): Promise<void> {
    if (this.#fillLease(key, token) === undefined) return
    this.#endLease(key)
    if (noteMs > 0) this.#keepLease(key, 'note', token, noteMs)
  }

  async isLeased(key: string): Promise<boolean> {
    return this.#lease(key)?.kind === 'fill'
  }

  async wake(key: string, token: string): Promise<void> {
    const lease = this.#fillLease(key, token)
    if (lease === undefined) return
    this.#keepLease(key, 'stream', token, lease.until - this.memory.now())
    this.memory.waiters.wake(this.#keys.entry(key))
  }

  async beginWrite(path: string, groups: readonly string[]): Promise<Stamp> {
    this.#createGroups([pathGroup(path), ...groups])
    return this.clock()
  }

  async commitWrite({ path, key, stamp, groups, paths, mode, entry, ttlMs = 0 }: WriteCommit): Promise<CommitReply> {
    const own = this.#advance()
    const carried = entry?.groups ?? []
    const isTaint = (group: string): boolean => {
      const before = this.#groupStamp(group)
      return before === undefined || before.hard > stamp.at || before.soft > stamp.at
    }
    const tainted = isTaint(pathGroup(path)) || carried.some(isTaint)
    for (const group of groups) this.#bump(group, own, mode)
    const entries = paths.filter((other) => this.#evictPath(other, own, mode)).length
    // The record of the fields that tell variants apart stays true after a write of one of them.
    if (key === path || this.#entry(path)?.kind !== 'variants') this.#drop(path)
    this.#endLease(path)
    this.#bump(pathGroup(path), own, 'hard')
    const stored = entry !== undefined && !tainted
    const bumped = new Set([...groups, ...[path, ...paths].map(pathGroup)])
    if (stored) {
      const ownGroups = carried.filter((group) => bumped.has(group))
      this.#put(key, { ...entry, incarnation: INCARNATION, stamp: stamp.at, writeStamp: own, ownGroups }, ttlMs)
    } else this.#drop(key)
    this.#endLease(key)
    return { stored, entries }
  }

  async put(key: string, entry: Entry, ttlMs: number): Promise<void> {
    this.#createGroups(entry.groups)
    this.#put(key, entry, ttlMs)
    this.#endLease(key)
  }

  async set(key: string, entry: Entry, ttlMs: number): Promise<Stamp> {
    const group = pathGroup(key)
    if (this.#groupStamp(group) !== undefined) this.#bump(group, this.#advance(), 'hard')
    const stamp = this.clock()
    await this.put(key, { ...entry, incarnation: INCARNATION, stamp: stamp.at, writeStamp: stamp.at }, ttlMs)
    return stamp
  }

  async evict(paths: readonly string[], mode: InvalidationMode): Promise<number> {
    const stamp = this.#advance()
    return paths.filter((path) => this.#evictPath(path, stamp, mode)).length
  }

  async invalidate(groups: readonly string[], mode: InvalidationMode): Promise<void> {
    const stamp = this.#advance()
    for (const group of groups) this.#bump(group, stamp, mode)
  }

  async extend(key: string, ttlMs: number): Promise<void> {
    const kept = this.#index.get(key)
    const expiresAt = this.memory.now() + ttlMs
    if (kept?.entry !== undefined && kept.expiresAt < expiresAt) this.#keep(key, kept.entry, expiresAt)
  }

  async addVariant(path: string, list: string, variant: ListedVariant, max: number, now: number): Promise<string[]> {
    const others = this.#listed(path, list, now).filter(({ key }) => key !== variant.key)
    const evicted = others.splice(0, Math.max(others.length + 1 - max, 0))
    this.memory.variants.set(this.#keys.variants(path, list), [...others, variant])
    return evicted.map(({ key }) => key)
  }

  async variants(path: string, list: string, now: number): Promise<readonly string[]> {
    return this.#listed(path, list, now).map(({ key }) => key)
  }

  /** First to expire comes first. */
  #listed(path: string, list: string, now: number): ListedVariant[] {
    const known = this.memory.variants.get(this.#keys.variants(path, list)) ?? []
    return known.filter(({ expiresAt }) => expiresAt > now).toSorted((one, other) => one.expiresAt - other.expiresAt)
  }

  async listen(): Promise<void> {}

  onWake(key: string, callback: () => void): () => void {
    return this.memory.waiters.on(this.#keys.entry(key), callback)
  }

  async sweep(_cursor: string, _count: number, now: number): Promise<SweepStep> {
    const all = [...this.#index.values()]
    const isDead = (entry: Entry): boolean => !isValid(entry, entry.groups, entry.groups.map(this.#groupStamp), now)
    const dead = all.filter(({ entry }) => entry !== undefined && isDead(entry))
    for (const { key } of dead) this.#drop(key)
    return { cursor: '0', scanned: all.length, removed: dead.length }
  }

  async heads(keys: readonly string[]): Promise<readonly (EntryHead | undefined)[]> {
    return keys.map(this.#entry).map((entry) => entry && headOf(entry))
  }

  async match(kind: MatchKind, pattern: string): Promise<MatchStep> {
    const matches = globOf(pattern)
    return { cursor: '0', keys: this.#namesOf(kind).filter((key) => matches.test(key)) }
  }

  #namesOf(kind: MatchKind): readonly string[] {
    if (kind === 'entries') return [...this.#index.keys()]
    const { entries, groups } = this.#keys
    if (kind === 'groups') return namesUnder(groups, this.memory.groups.keys())
    return namesUnder(entries, this.memory.leases.keys()).filter((key) => this.#lease(key) !== undefined)
  }

  readonly #entryAt = (ref: KeySlot): Entry | undefined => {
    let kept = ref.slot instanceof Kept ? ref.slot : undefined
    if (kept?.entry === undefined) {
      kept = this.#index.get(ref.key)
      ref.slot = kept
    }
    if (kept === undefined || (!kept.endsItself && kept.expiresAt <= this.memory.now())) return undefined
    if (this.memory.stores - kept.touchedAt > this.memory.touchAfter) {
      kept.touchedAt = this.memory.stores
      this.memory.entries.get(this.#keys.entry(kept.key))
    }
    return kept.entry
  }

  readonly #entry = (key: string): Entry | undefined => this.#entryAt({ key })

  readonly #groupStamp = (group: string): GroupStamp | undefined => this.memory.groups.get(this.#keys.groups + group)

  #put(key: string, entry: Entry, ttlMs: number): void {
    // A copy: the handler keeps its buffer. Not from the pool: a small slice would keep a whole slab alive.
    const body = Buffer.allocUnsafeSlow(entry.body.length)
    entry.body.copy(body)
    this.#keep(key, { ...entry, body }, this.memory.now() + ttlMs)
  }

  #keep(key: string, entry: Entry, expiresAt: number): void {
    const memory = this.memory
    const kept = new Kept(this.#index, key, entry, expiresAt, memory.stores)
    const name = this.#keys.entry(key)
    memory.entries.set(name, kept)
    memory.stores += 1
    memory.touchAfter = memory.entries.size >> TOUCH_SHIFT
    // An entry that exceeds the whole budget is not kept, and what stood there before is gone.
    if (memory.entries.has(name)) this.#index.set(key, kept)
    else this.#index.delete(key)
  }

  #drop(key: string): boolean {
    return this.memory.entries.delete(this.#keys.entry(key))
  }

  #advance(): number {
    this.memory.clock = Math.max(this.memory.clock + 1, this.memory.now() * 1000)
    return this.memory.clock
  }

  #createGroups(groups: readonly string[]): void {
    const all = this.memory.groups
    for (const group of groups) {
      if (this.#groupStamp(group) !== undefined) continue
      if (all.size >= GROUPS_MAX) this.memory.loseOldestGroup()
      all.set(this.#keys.groups + group, { incarnation: INCARNATION, hard: this.memory.clock, soft: 0 })
    }
  }

  /** An absent group stays absent: no entry that carries it is valid. */
  #bump(group: string, stamp: number, mode: InvalidationMode): void {
    const before = this.#groupStamp(group)
    if (before !== undefined) this.memory.groups.set(this.#keys.groups + group, { ...before, [mode]: stamp })
  }

  #evictPath(path: string, stamp: number, mode: InvalidationMode): boolean {
    const kept = this.#index.get(path)
    if (mode === 'hard') this.#drop(path)
    else if (kept?.entry !== undefined)
      this.#keep(path, { ...kept.entry, softened: true, memo: undefined }, kept.expiresAt)
    this.#endLease(path)
    this.#bump(pathGroup(path), stamp, mode)
    return kept !== undefined
  }

  #lease(key: string): Lease | undefined {
    const name = this.#keys.entry(key)
    const lease = this.memory.leases.get(name)
    if (lease === undefined || lease.until > this.memory.now()) return lease
    this.memory.leases.delete(name)
    return undefined
  }

  /** The lease of a fill, while this token holds it. */
  #fillLease(key: string, token: string): Lease | undefined {
    const lease = this.#lease(key)
    return lease?.kind !== 'note' && lease?.token === token ? lease : undefined
  }

  #keepLease(key: string, kind: Lease['kind'], token: string, forMs: number): void {
    this.memory.keepLease(this.#keys.entry(key), { kind, token, until: this.memory.now() + forMs })
  }

  #endLease(key: string): void {
    const name = this.#keys.entry(key)
    if (this.memory.leases.delete(name)) this.memory.waiters.wake(name)
  }
}

/** Default budget of the embedded store: 64 MiB of entries. */
const DEFAULT_MEMORY_BYTES = 64 * 1024 * 1024

/** What an entry costs next to its texts and body: objects, list and map slots, a body outside of the pool (measured). */
const ENTRY_OVERHEAD_BYTES = 950

/** Stamps kept. Beyond that the oldest group is lost, so its entries are misses. */
const GROUPS_MAX = 100_000

/** Lists of variants kept. A forgotten one begins to count anew. */
const VARIANT_LISTS_MAX = 10_000

/** Options of the embedded store. */
export interface MemoryOptions {
  /** Budget for entries, in bytes; the least recently used go first. Default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

interface Lease {
  readonly kind: 'fill' | 'stream' | 'note'
  readonly token: string
  readonly until: number
}

/** Leases and notes beyond this number cause a look for expired ones. */
const LEASES_BEFORE_SWEEP = 1000

/** The embedded server: what all prefixes of one application share. */
export class Memory {
  readonly now: () => number
  readonly entries: LRUCache<string, Kept>
  /** The same entries by prefix and key: a lookup there builds no name. */
  readonly #indexes = new Map<string, Map<string, Kept>>()
  readonly groups = new Map<string, GroupStamp>()
  readonly leases = new Map<string, Lease>()
  #leasesBeforeSweep = LEASES_BEFORE_SWEEP
  /** Entries stored so far. */
  stores = 0
  /** Number of further ones after which a hot entry is moved to the front of the order of eviction. */
  touchAfter = 0
  /** One logical clock for all prefixes: nothing here can be lost. */
  clock: number
  readonly waiters = new Waiters()
  /** Variants by path. */
  readonly variants = new LRUCache<string, readonly ListedVariant[]>({ max: VARIANT_LISTS_MAX })

  constructor(options: MemoryOptions = {}) {
    this.now = options.now ?? Date.now
    this.clock = this.now() * 1000
    this.entries = new LRUCache({
      maxSize: options.maxBytes ?? DEFAULT_MEMORY_BYTES,
      sizeCalculation: ({ entry }, key) => {
        const texts = entry?.headers.reduce((sum, text) => sum + text.length, key.length) ?? 0
        return ENTRY_OVERHEAD_BYTES + texts + (entry?.body.length ?? 0)
      },
      dispose: (kept) => {
        if (kept.index.get(kept.key) === kept) kept.index.delete(kept.key)
        kept.entry = undefined
      },
    })
  }

  /** Expired leases of keys that are never asked for again are removed now and then. */
  keepLease(name: string, lease: Lease): void {
    this.leases.set(name, lease)
    if (this.leases.size <= this.#leasesBeforeSweep) return
    for (const [other, { until }] of this.leases) if (until <= this.now()) this.leases.delete(other)
    this.#leasesBeforeSweep = Math.max(LEASES_BEFORE_SWEEP, 2 * this.leases.size)
  }

  /** A lost group only makes its entries misses; that of a whole prefix, though, would be the first to go. */
  loseOldestGroup(): void {
    for (const name of this.groups.keys()) if (!name.endsWith(':group:')) return void this.groups.delete(name)
  }

  index(prefix: string): Map<string, Kept> {
    const index = this.#indexes.get(prefix) ?? new Map<string, Kept>()
    this.#indexes.set(prefix, index)
    return index
  }
}
