import type { MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import type { Entry, EntryHead, GroupStamp, Stamp } from './entry.js'

export interface ReadResult {
  /** In the order of the keys; undefined where absent, expired, of another format or corrupt. */
  readonly entries: readonly (Entry | undefined)[]
  /** In the order of the groups; undefined where missing. */
  readonly stamps: readonly (GroupStamp | undefined)[]
}

/** A key that is looked up repeatedly. The store keeps where it was found last in `slot`. */
export interface KeySlot {
  readonly key: string
  slot?: unknown
}

/** Lookups in the memory of this process, without a promise and without a list. They return what `read` returns. */
export interface LocalReader {
  entry(ref: KeySlot): Entry | undefined
  stamp(group: string): GroupStamp | undefined
  /** Lookups that it answered. */
  hits: number
  /** Changes when a stamp of a group was changed or lost: what was valid before has to be looked at again. */
  readonly bumps: number
}

export interface LeaseRequest {
  readonly token: string
  readonly leaseMs: number
  /** What the lookup saw at the key; the lease of a key that has changed since is not granted. `any` skips the check. */
  readonly seen: Entry | 'any' | undefined
  /** Groups without a stamp at the lookup. They are created before the stamp is read. */
  readonly absentGroups: readonly string[]
  /** Lifetime of the entries of these groups; Infinity for entries without expiry. */
  readonly groupTtlMs: number
}

export type LeaseReply =
  /** The handler may run and store its result under this stamp. */
  | { readonly state: 'granted'; readonly stamp: Stamp }
  | { readonly state: 'held'; readonly remainingMs: number }
  /** The entry is not the one that the lookup saw: look it up again. */
  | { readonly state: 'changed' }
  /** Do not wait: a recent response of this key could not be stored (hit-for-pass), or it is being streamed. */
  | { readonly state: 'noted' }

export interface Publication {
  readonly token: string
  readonly entry: Entry
  /** Lifetime in the store; Infinity keeps the entry until it is evicted. */
  readonly ttlMs: number
}

/** `fenced`: the lease was lost, or the key or one of the groups was invalidated since the stamp was read. */
export type Published = 'stored' | 'fenced'

/** `soft`: entries become stale and may be served while they are refreshed. */
export type InvalidationMode = 'hard' | 'soft'

/** The end of a successful write-through: what it invalidates, and what it stores in place of that. */
export interface WriteCommit {
  /** Key of the path of which the written resource may be a variant. */
  readonly path: string
  /** Key of the entry: the path itself, or one of its variants. */
  readonly key: string
  /** What `beginWrite` returned. */
  readonly stamp: Stamp
  /** Groups that the write evicts. */
  readonly groups: readonly string[]
  /** Further paths that the write evicts. */
  readonly paths: readonly string[]
  readonly mode: InvalidationMode
  /** Left out where the response may not be stored. Its stamps and own groups are filled in by the store. */
  readonly entry?: Entry | undefined
  readonly ttlMs?: number | undefined
}

export interface CommitReply {
  /** False where there was nothing to store, or another invalidation came between: then nothing stands at the key. */
  readonly stored: boolean
  /** Entries removed from the further paths. */
  readonly entries: number
}

export interface SweepStep {
  /** Cursor of the next step; `'0'` when the sweep is complete. */
  readonly cursor: string
  readonly scanned: number
  readonly removed: number
}

export interface ListedVariant {
  readonly key: string
  /** Milliseconds since the epoch; Infinity means no end. */
  readonly expiresAt: number
}

/** An entry without its body. */
export interface StoredHead {
  readonly head: EntryHead
  /**
   * Of its groups, in their order, as a reader of this entry finds them: on a cluster that depends on its node. Undefined
   * where a node that has one of them does not answer.
   */
  readonly stamps: readonly (GroupStamp | undefined)[] | undefined
}

/** What a pattern is matched against: stored entries, leases of keys that are being filled, or groups as they are stored. */
export type MatchKind = 'entries' | 'leases' | 'groups'

export interface MatchStep {
  /** Cursor of the next step; `'0'` at the end. */
  readonly cursor: string
  /** Keys of entries, each at least once over all steps if it existed from the first step to the last. */
  readonly keys: readonly string[]
  /** Address of the primary whose keys are left out, because it does not answer. */
  readonly away?: string
}

/**
 * Where the entries of one prefix live. Keys and groups arrive encoded (see cache/key.ts); the group of a path is
 * `pathGroup(path)`. Every verb works on a cluster, where only an entry, its lease and the group of its path share a
 * slot, and rejects with UnavailableError when the store cannot answer in time. All implementations pass
 * test/store/contract.ts.
 */
export interface Store {
  /** Prefix of all keys. */
  readonly prefix: string
  /** Present where entries live in this process. */
  readonly local?: LocalReader | undefined

  /**
   * Reads entries and the stamps of groups in one trip. A store may keep the stamp of the prefix in several places: the
   * one for the last of the keys is returned.
   */
  read(keys: readonly string[], groups: readonly string[], budget?: CommandBudget): MaybePromise<ReadResult>
  /** Reads the clock. Never advances it. */
  clock(budget?: CommandBudget): MaybePromise<Stamp>

  /** Takes the right to fill a key, creates its absent groups and reads the clock. */
  acquireLease(key: string, request: LeaseRequest, budget?: CommandBudget): Promise<LeaseReply>
  /** Stores a fill and ends its lease; refused when the lease was lost. Creates groups that the handler named. */
  publish(key: string, publication: Publication, budget?: CommandBudget): Promise<Published>
  /** Extends a lease; false when it was lost. */
  renewLease(key: string, token: string, leaseMs: number): Promise<boolean>
  /** Ends a lease and stores nothing. With `noteMs` the lease becomes a note: later requests need not queue. */
  releaseLease(key: string, token: string, noteMs?: number): Promise<void>
  /** Whether a fill of the key that others wait for is under way in any process. */
  isLeased(key: string): Promise<boolean>
  /** Wakes the processes that wait for a lease, which is kept. From then on it is answered with `noted`. */
  wake(key: string, token: string): Promise<void>

  /** Creates the absent ones of the groups and the group of the path, then reads the clock: the stamp of a write. */
  beginWrite(path: string, groups: readonly string[], groupTtlMs: number, budget?: CommandBudget): Promise<Stamp>
  /** Ends a write whose handler succeeded. */
  commitWrite(commit: WriteCommit): Promise<CommitReply>

  /** Stores under the stamps in the entry, without a lease: a variant that was learned from a fill of its path. */
  put(key: string, entry: Entry, ttlMs: number): Promise<void>
  /** Stores without a lease a value that is as new as the call. A fill or a write-through in flight is fenced. */
  set(key: string, entry: Entry, ttlMs: number): Promise<Stamp>

  /** Evicts paths with all their variants, stored or in flight. Returns the number of entries at the paths' own keys. */
  evict(paths: readonly string[], mode: InvalidationMode): Promise<number>
  /** Invalidates every entry that carries one of the groups. The cost depends on the number of groups alone. */
  invalidate(groups: readonly string[], mode: InvalidationMode): Promise<void>

  /** Adds a variant to the list of a path until it expires. Returns the keys that have to make room: first to expire. */
  addVariant(path: string, list: string, variant: ListedVariant, max: number, now: number): Promise<readonly string[]>
  /** Listed variants of a path that have not expired. */
  variants(path: string, list: string, now: number): Promise<readonly string[]>
  /** Lets an entry live at least this long (Infinity: without expiry). An absent entry stays absent. */
  extend(key: string, ttlMs: number): Promise<void>

  /** Resolves once wake-ups of this prefix reach this process. */
  listen(): Promise<void>
  /** Calls back whenever a lease with waiters has ended; returns a function that stops it. */
  onWake(key: string, callback: () => void): () => void

  /** Entries without expiry are declared; a store that could not make room for others warns at start. */
  expectUnbounded?(): void

  /** Removes entries that can no longer be valid, a bounded number of keys at a time. */
  sweep(cursor: string, count: number, now: number): Promise<SweepStep>
  /** Entries without their bodies, in the order of the keys; undefined where there is none. For operators. */
  heads(keys: readonly string[]): Promise<readonly (StoredHead | undefined)[]>
  /** Keys that match a glob pattern (`*` only); a bounded number of keys is examined in one step. */
  match(kind: MatchKind, pattern: string, cursor: string, count: number): Promise<MatchStep>
}

/** The verbs of a store that can fail. */
export const STORE_VERBS = [
  ...(['read', 'clock', 'acquireLease', 'publish', 'renewLease', 'releaseLease', 'isLeased', 'wake'] as const),
  ...(['beginWrite', 'commitWrite', 'put', 'set', 'evict', 'invalidate'] as const),
  ...(['addVariant', 'variants', 'extend', 'listen', 'sweep', 'heads', 'match'] as const),
] as const satisfies readonly (keyof Store)[]

/** A store as an object of functions, some of which whoever stands in front of it can replace. */
export function storeWith(store: Store, replaced: Partial<Store>): Store {
  const call = (verb: Verb) => (store[verb] as (...args: unknown[]) => unknown).bind(store)
  const verbs = Object.fromEntries(STORE_VERBS.map((verb) => [verb, call(verb)])) as unknown as Pick<Store, Verb>
  return {
    ...verbs,
    prefix: store.prefix,
    onWake: (key, callback) => store.onWake(key, callback),
    expectUnbounded: () => store.expectUnbounded?.(),
    ...replaced,
  }
}

/** Operations of a store that can be made to fail. */
export type Verb = (typeof STORE_VERBS)[number]
