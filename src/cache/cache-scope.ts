import type { MaybePromise } from '../maybe-promise.js'
import { randomUUID } from 'node:crypto'
import type { Logger } from '../logger.js'
import type { Entry } from '../store/entry.js'
import { Keyspace } from '../store/keyspace.js'
import type { MatchKind, MatchStep, Published, Store, SweepStep } from '../store/store.js'
import { Telemetry } from '../telemetry/recorder.js'
import { Changes } from './changes.js'
import type { Absent, EntryLookup, EntryRef } from './entry-ref.js'
import { type Acquired, type AcquireOptions, DEFAULT_LEASE_MS, DEFAULT_WAIT_MS, FillCoordinator } from './fill.js'
import { PREFIX_GROUP } from './group.js'
import { lookupEntry, lookupEntries } from './lookup.js'
import { PendingInvalidations } from './pending-invalidations.js'
import { type AnnounceOptions, Write } from './write.js'

export interface CacheScopeOptions {
  readonly now: () => number
  readonly logger: Logger
  readonly leaseMs?: number | undefined
  readonly waitMs?: number | undefined
  readonly telemetry?: Telemetry | undefined
}

/** What an invalidation names. Keys and groups are encoded. */
export interface InvalidationTarget {
  readonly keys?: readonly string[] | undefined
  readonly groups?: readonly string[] | undefined
  /** `soft`: entries become stale and may be served while they are refreshed. Default `hard`. */
  readonly mode?: 'hard' | 'soft' | undefined
}

export interface Evicted {
  /** Entries that were removed by their key. Those of a group are not counted: that would cost a look at each. */
  readonly entries: number
  /** Groups that were invalidated. */
  readonly groups: number
  /** False: the store could not be reached; the invalidation is queued and this process trusts nothing until then. */
  readonly confirmed: boolean
}

export interface Committed extends Evicted {
  readonly published: Published
}

/** Everything that is true about the cached things of one prefix. */
export class CacheScope {
  readonly prefix: string
  readonly now: () => number
  readonly telemetry: Telemetry
  /** What this process has changed. */
  readonly changes = new Changes()
  readonly #store: Store
  readonly #fills: FillCoordinator
  readonly #leaseMs: number
  readonly #unconfirmed: PendingInvalidations

  constructor(store: Store, options: CacheScopeOptions) {
    this.prefix = store.prefix
    this.now = options.now
    this.telemetry = options.telemetry ?? new Telemetry(options.now)
    this.#store = store
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS
    this.#fills = new FillCoordinator(store, options.now, {
      leaseMs: this.#leaseMs,
      waitMs: options.waitMs ?? DEFAULT_WAIT_MS,
    })
    this.#unconfirmed = new PendingInvalidations(store, options.logger, options.now)
  }

  /** Entries without an end are going to be stored. */
  expectUnbounded(): void {
    this.#store.expectUnbounded?.()
  }

  /** Fills under way in this process. */
  get filling(): number {
    return this.#fills.size
  }

  /** The name of an entry in the store. */
  nameOf(key: string): string {
    return new Keyspace(this.prefix).entry(key)
  }

  lookup(place: EntryRef, now: number = this.now()): EntryLookup | Promise<EntryLookup> {
    const doubt = this.#unconfirmed.doubt
    return doubt === undefined ? lookupEntry(this.#store, place, now) : { state: 'outage', error: doubt }
  }

  /** Many places in one trip. */
  lookupMany(places: readonly EntryRef[]): MaybePromise<readonly EntryLookup[]> {
    const doubt = this.#unconfirmed.doubt
    if (doubt === undefined) return lookupEntries(this.#store, places, this.now())
    return places.map(() => ({ state: 'outage', error: doubt }))
  }

  /** The right to fill a place, or what somebody else filled it with meanwhile. */
  acquire(place: EntryRef, absent: Absent, options: AcquireOptions): Promise<Acquired> {
    return this.#fills.acquire(place, absent, options)
  }

  /**
   * Begins a write-through. Undefined when the store is away: then the key has to be evicted when it ends. `keeps`:
   * what stands there may be served until the write has succeeded.
   */
  async announce(key: string, options: AnnounceOptions = {}): Promise<Write | undefined> {
    try {
      return await Write.begin(this.#store, this.#leaseMs, key, randomUUID(), options)
    } catch {
      return undefined
    }
  }

  /**
   * Ends a successful write: invalidates what it names, then stores what it wrote. In this order, so that a group may
   * be invalidated and given a new entry by one and the same write.
   */
  async commit(
    write: Write,
    stored: { entry: Entry; ttlMs: number } | undefined,
    target: InvalidationTarget,
  ): Promise<Committed> {
    const committed = await this.#commit(write, stored, target)
    this.#changed({ ...target, keys: [...(target.keys ?? []), write.key] })
    return committed
  }

  async #commit(
    write: Write,
    stored: { entry: Entry; ttlMs: number } | undefined,
    target: InvalidationTarget,
  ): Promise<Committed> {
    const { groups = [], mode = 'hard' } = target
    const keys = (target.keys ?? []).filter((key) => key !== write.key)
    try {
      const entries = keys.length === 0 ? 0 : await this.#evictKeys(keys, mode)
      const own = groups.length === 0 ? undefined : { groups, ...(await this.#store.invalidate(groups, mode)) }
      const published = stored === undefined ? 'fenced' : await write.store(stored.entry, stored.ttlMs, own)
      if (stored === undefined) await write.cancel()
      return { published, entries, groups: groups.length, confirmed: true }
    } catch (error) {
      this.#unconfirmed.add({ ...target, keys: [...keys, write.key] }, error)
      write.cancel().catch(() => {})
      return { published: 'fenced', entries: 0, groups: 0, confirmed: false }
    }
  }

  /** Stores the truth of now. */
  async set(key: string, entry: Entry, ttlMs: number): Promise<Published> {
    try {
      return (await this.#store.set(key, entry, ttlMs)) === undefined ? 'fenced' : 'stored'
    } catch (error) {
      // It may or may not have arrived; what stood there before must not come back.
      this.#unconfirmed.add({ keys: [key] })
      throw error
    } finally {
      this.#changed({ keys: [key] })
    }
  }

  /** Lets an entry live at least this long, without changing it. */
  async prolong(key: string, ttlMs: number): Promise<void> {
    await this.#store.prolong(key, ttlMs)
  }

  /** Notes one more variant of a path; those over the limit go. */
  async enrol(list: string, key: string, ttlMs: number, max: number): Promise<void> {
    const now = this.now()
    const gone = await this.#store.enrol(list, key, now + ttlMs, max, now)
    if (gone.length > 0) await this.#store.evict(gone)
  }

  /** The variants of a path that are still there. */
  async enrolled(list: string, groups: readonly string[]): Promise<readonly Entry[]> {
    const keys = await this.#store.enrolled(list, this.now())
    const looks = await Promise.all(keys.map(async (key) => this.lookup({ key, groups })))
    return looks.flatMap((found) => (found.state === 'valid' ? [found.entry] : []))
  }

  /** After it resolves, no process serves what was loaded before it was called. Never rejects. */
  evict(target: InvalidationTarget): Promise<Evicted> {
    const { keys = [], groups = [], mode = 'hard' } = target
    const evicting = groups.length === 0 ? this.#evictKeys(keys, mode) : this.#evictBoth(keys, groups, mode)
    return evicting.then(
      (entries) => {
        this.#changed(target)
        return { entries, groups: groups.length, confirmed: true }
      },
      (error: unknown) => {
        this.#unconfirmed.add(target, error)
        this.#changed(target)
        return { entries: 0, groups: 0, confirmed: false }
      },
    )
  }

  async #evictBoth(keys: readonly string[], groups: readonly string[], mode: 'hard' | 'soft'): Promise<number> {
    const [entries] = await Promise.all([this.#evictKeys(keys, mode), this.#store.invalidate(groups, mode)])
    return entries
  }

  /** Invalidates everything under the prefix, at the cost of one group. */
  clear(mode: 'hard' | 'soft' = 'hard'): Promise<Evicted> {
    return this.evict({ groups: [PREFIX_GROUP], mode })
  }

  /** One bounded step over the entries, removing those that no reader can accept. */
  sweep(cursor: string, count: number): Promise<SweepStep> {
    return this.#store.sweep(cursor, count, this.now())
  }

  /** One bounded step over the keys that match a glob pattern of Redis. */
  match(kind: MatchKind, pattern: string, cursor: string, count: number): Promise<MatchStep> {
    return this.#store.match(kind, pattern, cursor, count)
  }

  /** The store has come back: what could not be confirmed is tried at once. */
  retry(): void {
    this.#unconfirmed.retry()
  }

  close(): void {
    this.#unconfirmed.close()
  }

  #changed({ keys = [], groups = [] }: InvalidationTarget): void {
    this.changes.note(keys, groups.length > 0)
  }

  #evictKeys(keys: readonly string[], mode: 'hard' | 'soft'): Promise<number> {
    if (keys.length === 0) return Promise.resolve(0)
    return mode === 'hard' ? this.#store.evict(keys) : this.#store.soften(keys, this.now())
  }
}
