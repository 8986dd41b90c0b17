import type { MaybePromise } from '../maybe-promise.js'
import type { Entry, Stamp } from './entry.js'

export interface Found {
  /** In the order of the keys asked for; undefined where absent, expired, of another format or corrupt. */
  readonly entries: readonly (Entry | undefined)[]
  /** In the order of the groups asked for; undefined where lost or never created. */
  readonly stamps: readonly (Stamp | undefined)[]
}

/** A key that is asked for again and again; the store keeps where it found it last in `slot`. */
export interface Spot {
  readonly key: string
  slot?: unknown
}

export interface LocalReader {
  entry(spot: Spot): Entry | undefined
  stamp(group: string): Stamp | undefined
}

/** The wish to fill a key. */
export interface Claim {
  readonly token: string
  readonly leaseMs: number
  /** What the caller read before; a claim on a key that has changed since is not granted. `any` asks for no such check. */
  readonly seen: Entry | 'any' | undefined
  /** Groups whose stamps were absent when the caller read; created before the claim is granted. */
  readonly absentGroups: readonly string[]
  /** How long a group created here must live; Infinity for groups of entries without expiry. */
  readonly groupTtlMs: number
}

export type Claimed =
  | { readonly state: 'granted'; readonly stamp: number }
  | { readonly state: 'held'; readonly remainingMs: number }
  | { readonly state: 'changed' }

export interface Publication {
  readonly token: string
  readonly entry: Entry
  /** Life in the store; Infinity: until evicted. */
  readonly ttlMs: number
  /** Ask the stamps of the groups again, so that `stored` is true as of this call and not only of the next read. */
  readonly verify: boolean
}

/** `fenced`: the key or one of the groups was invalidated, or the lease was lost, since the claim was granted. */
export type Published = 'stored' | 'fenced'

export interface Invalidated {
  /** The point of the clock that the groups were raised to. */
  readonly stamp: number
  /** What each group's stamps were before; undefined where the group was absent. */
  readonly before: readonly (Stamp | undefined)[]
}

export interface SweepStep {
  /** Where the next step begins; `'0'` when the sweep has come round. */
  readonly cursor: string
  readonly scanned: number
  readonly removed: number
}

/** What a pattern is looked for in: entries that are there, or leases of those that are being filled. */
export type MatchKind = 'entries' | 'leases'

export interface MatchStep {
  /** Where the next step begins; `'0'` at the end. */
  readonly cursor: string
  /** Keys of entries, each of them at least once over all steps if it was there from the first to the last. */
  readonly keys: readonly string[]
}

/** What a writer stores when it ends. */
export interface PendingWrite {
  readonly entry: Entry
  readonly ttlMs: number
}

/**
 * Where the entries of one prefix live. Keys and groups arrive encoded (see cache/key.ts). Every verb is one round
 * trip in the ordinary case, works on a cluster (no step needs two keys in one slot but an entry and its lease), and
 * rejects with UnavailableError when the store cannot answer in time. All implementations pass test/store/contract.ts.
 */
export interface Store {
  readonly prefix: string
  /** Where entries live in this process: looks that cost no promise and no list. They give what `read` gives. */
  readonly local?: LocalReader | undefined

  /** The stamps are those that count for the last of the keys: a store may keep them in several places. */
  read(keys: readonly string[], groups: readonly string[]): MaybePromise<Found>

  /** Takes the lease of a key and reads the clock. A fill stores under the stamp it is granted. */
  claim(key: string, claim: Claim): Promise<Claimed>
  /** Stores what a claim was granted for and gives up its lease; refused when the lease is no longer the caller's. */
  publish(key: string, publication: Publication): Promise<Published>
  /** Prolongs a lease; false when it was lost. */
  renew(key: string, token: string, leaseMs: number): Promise<boolean>
  /** Gives up a lease and stores nothing. */
  release(key: string, token: string): Promise<void>

  /**
   * A writer of a key begins: its entry (unless it `keeps` it until the end) and any fill's lease go, and no fill is
   * granted until the writer completes. Gives the stamp that the writer stores under.
   */
  announce(key: string, token: string, leaseMs: number, keeps?: boolean): Promise<number>
  /**
   * Sees to it that groups which an entry of the key will carry exist, so that their invalidation leaves a trace from
   * here on. Gives the stamp to store under: `clock`, or a later one.
   */
  found(key: string, groups: readonly string[], clock: number, ttlMs: number): MaybePromise<number>
  /**
   * A writer ends. Its entry is stored only if no other writer of the key was active since it began; otherwise what
   * stands there goes, unless the writer `keeps` it, because it has changed nothing.
   */
  complete(key: string, token: string, write: PendingWrite | undefined, keeps?: boolean): Promise<Published>

  /**
   * Stores without a lease, as the truth of now; a fill in flight is fenced. Gives the stamp it was stored under, or
   * undefined where a writer of the key is active: then neither of the two is stored.
   */
  set(key: string, entry: Entry, ttlMs: number): Promise<number | undefined>

  /** Removes entries and fences what is being filled. Gives how many entries there were. */
  evict(keys: readonly string[]): Promise<number>
  /** Lets an entry live at least this long (Infinity: for good). An absent one stays absent. */
  prolong(key: string, ttlMs: number): Promise<void>
  /**
   * Notes that a key holds one of the variants of a path, until it expires. Gives the keys that have to make room for
   * it: those whose life ends first.
   */
  enrol(list: string, key: string, expiresAt: number, max: number, now: number): Promise<readonly string[]>
  /** The keys noted for a path and not expired. */
  enrolled(list: string, now: number): Promise<readonly string[]>
  /** Makes entries stale at once, and fences what is being filled. */
  soften(keys: readonly string[], now: number): Promise<number>
  /** Invalidates every entry that carries one of the groups, at a cost that depends on the count of groups alone. */
  invalidate(groups: readonly string[], mode: 'hard' | 'soft'): Promise<Invalidated>

  /** Resolves once wake-ups of this prefix reach this process. */
  listen(): Promise<void>
  /** Calls back whenever a lease that somebody waits for has ended; gives the way to stop. */
  onWake(key: string, wake: () => void): () => void

  /** Entries without an end are declared: a store that could not make room for others says so when it starts. */
  expectUnbounded?(): void

  /** Removes entries that can no longer be valid, a bounded number of keys at a time. */
  sweep(cursor: string, count: number, now: number): Promise<SweepStep>
  /** Keys that match a glob pattern (with `*` alone), a bounded number of keys looked at in a step. */
  match(kind: MatchKind, pattern: string, cursor: string, count: number): Promise<MatchStep>
}
