import type { Connection } from '../redis/connection.js'
import type { CommandBudget } from '../redis/deadline.js'
import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { TrackingListener } from '../redis/tracking.js'
import { publishNear } from '../telemetry/recorder.js'
import type { Entry, Stamp } from './entry.js'
import { Keyspace, pathGroup } from './keyspace.js'
import type { NearCache } from './near-cache.js'
import type {
  CommitReply,
  InvalidationMode,
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

/**
 * A near cache in front of a store. What this process changes is changed here before the call ends, whether the store
 * confirms it or not, so the process that writes never reads what it has replaced.
 */
export class NearStore implements Store {
  readonly prefix: string

  constructor(
    private readonly store: Store,
    private readonly near: NearCache,
  ) {
    this.prefix = store.prefix
  }

  /** A near cache in front of a store, kept current over the store's connection. */
  static over(store: Store, connection: Pick<Connection, 'track'>, near: NearCache): NearStore {
    const keys = new Keyspace(store.prefix)
    connection.track(keys.groups, NearStore.listener(near, keys))
    return new NearStore(store, near)
  }

  /** What a near cache does about changes of the keys of groups. */
  static listener(near: NearCache, keys: Keyspace): TrackingListener {
    return {
      changed: (names) => near.changed(names.flatMap((name) => keys.groupAt(name) ?? [])),
      changedAll: () => near.clear(),
      trust(trusted) {
        near.trust(trusted)
        publishNear(keys.prefix, trusted)
      },
    }
  }

  get local(): LocalReader {
    return this.near
  }

  read(keys: readonly string[], groups: readonly string[], budget?: CommandBudget): MaybePromise<ReadResult> {
    const since = this.near.begin()
    const kept = (result: ReadResult): ReadResult => {
      this.near.keep(since, keys, groups, result)
      return result
    }
    const reading = this.store.read(keys, groups, budget)
    if (!isPromise(reading)) return kept(reading)
    return reading.then(kept, (error: unknown) => {
      this.near.end()
      throw error
    })
  }

  clock(budget?: CommandBudget): MaybePromise<Stamp> {
    return this.store.clock(budget)
  }

  acquireLease(key: string, request: LeaseRequest, budget?: CommandBudget): Promise<LeaseReply> {
    return this.store.acquireLease(key, request, budget)
  }

  publish(key: string, publication: Publication, budget?: CommandBudget): Promise<Published> {
    return this.#changing([pathGroup(key)], this.store.publish(key, publication, budget))
  }

  renewLease(key: string, token: string, leaseMs: number): Promise<boolean> {
    return this.store.renewLease(key, token, leaseMs)
  }

  releaseLease(key: string, token: string, noteMs?: number): Promise<void> {
    return this.store.releaseLease(key, token, noteMs)
  }

  isLeased(key: string): Promise<boolean> {
    return this.store.isLeased(key)
  }

  wake(key: string, token: string): Promise<void> {
    return this.store.wake(key, token)
  }

  beginWrite(path: string, groups: readonly string[], groupTtlMs: number, budget?: CommandBudget): Promise<Stamp> {
    return this.store.beginWrite(path, groups, groupTtlMs, budget)
  }

  commitWrite(commit: WriteCommit): Promise<CommitReply> {
    const paths = [commit.path, commit.key, ...commit.paths]
    return this.#changing([...commit.groups, ...paths.map(pathGroup)], this.store.commitWrite(commit))
  }

  put(key: string, entry: Entry, ttlMs: number): Promise<void> {
    return this.#changing([pathGroup(key)], this.store.put(key, entry, ttlMs))
  }

  set(key: string, entry: Entry, ttlMs: number): Promise<Stamp> {
    return this.#changing([pathGroup(key)], this.store.set(key, entry, ttlMs))
  }

  evict(paths: readonly string[], mode: InvalidationMode): Promise<number> {
    return this.#changing(paths.map(pathGroup), this.store.evict(paths, mode))
  }

  invalidate(groups: readonly string[], mode: InvalidationMode): Promise<void> {
    return this.#changing(groups, this.store.invalidate(groups, mode))
  }

  addVariant(path: string, list: string, variant: ListedVariant, max: number, now: number): Promise<readonly string[]> {
    return this.store.addVariant(path, list, variant, max, now)
  }

  variants(path: string, list: string, now: number): Promise<readonly string[]> {
    return this.store.variants(path, list, now)
  }

  extend(key: string, ttlMs: number): Promise<void> {
    return this.store.extend(key, ttlMs)
  }

  listen(): Promise<void> {
    return this.store.listen()
  }

  onWake(key: string, callback: () => void): () => void {
    return this.store.onWake(key, callback)
  }

  expectUnbounded(): void {
    this.store.expectUnbounded?.()
  }

  sweep(cursor: string, count: number, now: number): Promise<SweepStep> {
    return this.store.sweep(cursor, count, now)
  }

  heads(keys: readonly string[]): Promise<readonly (StoredHead | undefined)[]> {
    return this.store.heads(keys)
  }

  match(kind: MatchKind, pattern: string, cursor: string, count: number): Promise<MatchStep> {
    return this.store.match(kind, pattern, cursor, count)
  }

  /** A change that is not confirmed may have happened all the same. */
  async #changing<T>(groups: readonly string[], change: Promise<T>): Promise<T> {
    try {
      return await change
    } finally {
      this.near.changed(groups)
    }
  }
}
