import { LRUCache } from 'lru-cache'
import { allows, type Entry, type GroupStamp, headOf, isValid, type Stamp, stampedWith } from './entry.js'
import { bytesOfStamp, EntryBudget, EntryTier } from './entry-tier.js'
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
  StoredHead,
} from './store.js'

/** Nothing here can be lost, so there is one incarnation. */
const INCARNATION = 1

/** Entries of one prefix in this process. The same protocol as in Redis, so that what is tested here holds there. */
export class MemoryStore implements Store {
  readonly local: LocalReader
  readonly #keys: Keyspace
  readonly #entries: EntryTier

  constructor(
    private readonly memory: Memory,
    readonly prefix: string,
  ) {
    this.#keys = new Keyspace(prefix)
    this.#entries = memory.tier(this.#keys.entries)
    this.local = new MemoryReader(this.#entries, memory, this.#keys.groups)
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
      const stamps = { incarnation: INCARNATION, stamp: stamp.at, writeStamp: own, ownGroups }
      this.#put(key, stampedWith(entry, stamps), ttlMs)
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
    const { ownGroups } = entry
    const stamps = { incarnation: INCARNATION, stamp: stamp.at, writeStamp: stamp.at, ownGroups }
    await this.put(key, stampedWith(entry, stamps), ttlMs)
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
    const kept = this.#entries.at(key)
    const expiresAt = this.memory.now() + ttlMs
    if (kept?.entry !== undefined && kept.expiresAt < expiresAt) this.#entries.keep(key, kept.entry, expiresAt)
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
    const all = [...this.#entries.values()]
    const isDead = (entry: Entry): boolean => !isValid(entry, entry.groups, entry.groups.map(this.#groupStamp), now)
    const dead = all.filter(({ entry }) => entry !== undefined && isDead(entry))
    for (const { key } of dead) this.#drop(key)
    return { cursor: '0', scanned: all.length, removed: dead.length }
  }

  async heads(keys: readonly string[]): Promise<readonly (StoredHead | undefined)[]> {
    return keys
      .map(this.#entry)
      .map((entry) => entry && { head: headOf(entry), stamps: entry.groups.map(this.#groupStamp) })
  }

  async match(kind: MatchKind, pattern: string): Promise<MatchStep> {
    const matches = globOf(pattern)
    return { cursor: '0', keys: this.#namesOf(kind).filter((key) => matches.test(key)) }
  }

  #namesOf(kind: MatchKind): readonly string[] {
    if (kind === 'entries') return Array.from(this.#entries.values(), ({ key }) => key)
    const { entries, groups } = this.#keys
    if (kind === 'groups') return namesUnder(groups, this.memory.groups.keys())
    return namesUnder(entries, this.memory.leases.keys()).filter((key) => this.#lease(key) !== undefined)
  }

  readonly #entry = (key: string): Entry | undefined => this.#entries.find({ key })

  readonly #groupStamp = (group: string): GroupStamp | undefined => this.memory.groups.get(this.#keys.groups + group)

  #put(key: string, entry: Entry, ttlMs: number): void {
    this.#entries.keep(key, entry, this.memory.now() + ttlMs)
  }

  #drop(key: string): boolean {
    return this.#entries.drop(key)
  }

  #advance(): number {
    this.memory.clock = Math.max(this.memory.clock + 1, this.memory.now() * 1000)
    return this.memory.clock
  }

  #createGroups(groups: readonly string[]): void {
    const all = this.memory.groups
    for (const group of groups) {
      if (this.#groupStamp(group) !== undefined) continue
      all.set(this.#keys.groups + group, { incarnation: INCARNATION, hard: this.memory.clock, soft: 0 })
      this.memory.countGroup(this.#keys.groups + group)
    }
  }

  /** An absent group stays absent: no entry that carries it is valid. */
  #bump(group: string, stamp: number, mode: InvalidationMode): void {
    const before = this.#groupStamp(group)
    if (before === undefined) return
    this.memory.groups.set(this.#keys.groups + group, { ...before, [mode]: stamp })
    this.memory.bumps += 1
  }

  #evictPath(path: string, stamp: number, mode: InvalidationMode): boolean {
    const kept = this.#entries.at(path)
    if (mode === 'hard') this.#drop(path)
    else if (kept?.entry !== undefined)
      this.#entries.keep(path, { ...kept.entry, softened: true, memo: undefined }, kept.expiresAt)
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

/** The part of the budget that stamps of groups may take. Beyond that the oldest group is lost, so its entries are misses. */
const GROUPS_PART = 1 / 4

/** Lists of variants kept. A forgotten one begins to count anew. */
const VARIANT_LISTS_MAX = 10_000

/** Options of the embedded store. */
export interface MemoryOptions {
  /** Budget for entries and stamps of groups, in bytes; the least recently used entries go first. Default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** Lookups in the embedded server. */
class MemoryReader implements LocalReader {
  hits = 0

  constructor(
    private readonly entries: EntryTier,
    private readonly memory: Memory,
    private readonly groups: string,
  ) {}

  get bumps(): number {
    return this.memory.bumps
  }

  entry(ref: KeySlot): Entry | undefined {
    return this.entries.find(ref)
  }

  stamp(group: string): GroupStamp | undefined {
    return this.memory.groups.get(this.groups + group)
  }
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
  readonly #budget: EntryBudget
  readonly #tiers = new Map<string, EntryTier>()
  readonly #groupBytesMax: number
  #groupBytes = 0
  readonly groups = new Map<string, GroupStamp>()
  readonly leases = new Map<string, Lease>()
  #leasesBeforeSweep = LEASES_BEFORE_SWEEP
  /** Invalidations of groups so far, and losses of them. */
  bumps = 0
  /** One logical clock for all prefixes: nothing here can be lost. */
  clock: number
  readonly waiters = new Waiters()
  /** Variants by path. */
  readonly variants = new LRUCache<string, readonly ListedVariant[]>({ max: VARIANT_LISTS_MAX })

  constructor(options: MemoryOptions = {}) {
    this.now = options.now ?? Date.now
    this.clock = this.now() * 1000
    this.#budget = new EntryBudget(options.maxBytes ?? DEFAULT_MEMORY_BYTES)
    this.#groupBytesMax = this.#budget.maxBytes * GROUPS_PART
  }

  /** Bytes that entries and stamps of groups take, of all prefixes. */
  get bytes(): number {
    return this.#budget.bytes
  }

  /** Expired leases of keys that are never asked for again are removed now and then. */
  keepLease(name: string, lease: Lease): void {
    this.leases.set(name, lease)
    if (this.leases.size <= this.#leasesBeforeSweep) return
    for (const [other, { until }] of this.leases) if (until <= this.now()) this.leases.delete(other)
    this.#leasesBeforeSweep = Math.max(LEASES_BEFORE_SWEEP, 2 * this.leases.size)
  }

  /** A new group was stamped. */
  countGroup(name: string): void {
    this.#countGroup(bytesOfStamp(name))
    while (this.#groupBytes > this.#groupBytesMax && this.#loseOldestGroup()) this.bumps += 1
  }

  /** A lost group only makes its entries misses; that of a whole prefix, though, would be the first to go. */
  #loseOldestGroup(): boolean {
    for (const name of this.groups.keys()) {
      if (name.endsWith(':group:')) continue
      this.#countGroup(-bytesOfStamp(name))
      return this.groups.delete(name)
    }
    return false
  }

  #countGroup(bytes: number): void {
    this.#groupBytes += bytes
    this.#budget.count(bytes)
  }

  /** The entries whose names begin with this. */
  tier(prefix: string): EntryTier {
    const tier = this.#tiers.get(prefix) ?? new EntryTier(this.#budget, prefix, this.now)
    this.#tiers.set(prefix, tier)
    return tier
  }
}
