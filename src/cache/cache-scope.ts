import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from '../logger.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { CommandBudget } from '../redis/deadline.js'
import type { Entry, Stamp } from '../store/entry.js'
import { Keyspace } from '../store/keyspace.js'
import type { Published, Store, SweepStep } from '../store/store.js'
import { Telemetry } from '../telemetry/telemetry.js'
import { type EntryLookup, type EntryRef, lookupEntries, lookupEntry, RememberedEntry } from './lookup.js'
import { DEFAULT_LEASE_MS, DEFAULT_WAIT_MS, FillCoordinator } from './fill.js'
import { GroupNames } from './group-names.js'
import { type InvalidationTarget, PendingInvalidations } from './pending-invalidations.js'
import { withLimit } from './single-flight.js'
import { type EntryDraft, type PendingWrite, stamped, type StoredEntry } from './write.js'

export interface CacheScopeOptions {
  /** Milliseconds since the epoch, on the server's clock where it is known. */
  readonly now: () => number
  readonly logger: Logger
  readonly leaseMs?: number | undefined
  readonly waitMs?: number | undefined
  readonly telemetry?: Telemetry | undefined
  /** A new time budget for the commands of one request. */
  readonly budget?: (() => CommandBudget) | undefined
}

/** What an invalidation did. */
export interface Evicted {
  /** Entries removed by their key. Those of a group are not counted: that would cost one lookup each. */
  readonly entries: number
  /** Groups that were invalidated. */
  readonly groups: number
  /** False: the store could not be reached. The invalidation is queued, and this process serves nothing until then. */
  readonly confirmed: boolean
}

export interface Committed extends Evicted {
  readonly published: Published
}

export interface BeginWriteOptions {
  /** Groups that the write is going to evict, encoded, as far as they are known before its handler runs. */
  readonly groups?: readonly string[] | undefined
  /** How long groups created for this write must live: the entry's whole lifetime. */
  readonly groupTtlMs?: number | undefined
  readonly budget?: CommandBudget | undefined
}

/** Everything that is cached through one handle: entries of routes and values, and what invalidates them. */
export class CacheScope {
  readonly prefix: string
  readonly now: () => number
  readonly telemetry: Telemetry
  /** Refreshes and other work that no request waits for. */
  readonly background = new Background()
  /** Whether an application caches routes on it. */
  cachesRoutes = false
  /** Which groups entries are in. */
  readonly groupNames = new GroupNames()
  /** What this process has changed. */
  readonly changes = new Changes()
  /** The right to fill an entry: one run of a handler or loader at a time. */
  readonly fills: FillCoordinator
  /** What is stored, valid or not: for those who look at it and decide nothing by it. */
  readonly inspect: Pick<Store, 'read' | 'heads' | 'match' | 'isLeased'>
  readonly #store: Store
  readonly #options: CacheScopeOptions
  readonly #pending: PendingInvalidations

  constructor(store: Store, options: CacheScopeOptions) {
    this.prefix = store.prefix
    this.now = options.now
    this.telemetry = options.telemetry ?? new Telemetry(options.now)
    this.#store = store
    this.inspect = store
    this.#options = options
    this.#pending = new PendingInvalidations(store, options.logger)
    this.fills = new FillCoordinator(store, {
      lookup: (ref, budget) => this.lookup(ref, this.now(), budget),
      leaseMs: options.leaseMs ?? DEFAULT_LEASE_MS,
      waitMs: options.waitMs ?? DEFAULT_WAIT_MS,
      onNested: warnOnce(options.logger),
    })
  }

  /** What all commands before the answer to one request may take together. */
  budget(): CommandBudget | undefined {
    return this.#options.budget?.()
  }

  /** Declares that entries without expiry are going to be stored. */
  expectUnbounded(): void {
    this.#store.expectUnbounded?.()
  }

  /** The name of an entry in the store. */
  nameOf(key: string): string {
    return new Keyspace(this.prefix).entry(key)
  }

  lookup(ref: EntryRef, now: number = this.now(), budget?: CommandBudget): MaybePromise<EntryLookup> {
    const error = this.#pending.suspended
    return error === undefined ? lookupEntry(this.#store, ref, now, budget) : { state: 'outage', error }
  }

  /** Why invalidations are not confirmed; undefined while all are. */
  get problem(): string | undefined {
    const { suspended } = this.#pending
    return suspended?.cause instanceof Error ? suspended.cause.message : suspended?.message
  }

  /** Whether entries may be found in this process's memory. */
  get isLocal(): boolean {
    return this.#store.local !== undefined
  }

  /** An entry that a lookup has just found, fresh, in this process's memory; undefined where it was not found there. */
  remember(ref: EntryRef, entry: Entry): RememberedEntry | undefined {
    return RememberedEntry.of(this.#store.local, ref, entry)
  }

  /** The entry as a lookup would find it, but for its freshness. Undefined: something has changed, so it has to be looked up. */
  recall(remembered: RememberedEntry): Entry | undefined {
    return this.#pending.suspended === undefined ? remembered.recall() : undefined
  }

  /** Reads many entries in one trip. */
  lookupMany(refs: readonly EntryRef[], budget?: CommandBudget): MaybePromise<readonly EntryLookup[]> {
    const error = this.#pending.suspended
    if (error === undefined) return lookupEntries(this.#store, refs, this.now(), budget)
    return refs.map(() => ({ state: 'outage', error }))
  }

  /** Begins a write-through, before its handler. Undefined if the store is unavailable: then the path is evicted afterwards. */
  async beginWrite(ref: EntryRef, options: BeginWriteOptions = {}): Promise<PendingWrite | undefined> {
    const { groups = [], groupTtlMs = 0, budget } = options
    const { key, path } = ref
    try {
      const all = [...new Set([...ref.groups, ...groups])]
      return { key, path, stamp: await this.#store.beginWrite(path, all, groupTtlMs, budget) }
    } catch {
      return undefined
    }
  }

  /**
   * Ends a write whose handler succeeded: invalidates its path and what the target names, then stores its result unless
   * another invalidation came between. Never rejects: what the store does not confirm is queued.
   */
  async commit(
    { key, path, stamp }: PendingWrite,
    stored: StoredEntry | undefined,
    { groups = [], paths = [], mode = 'hard' }: InvalidationTarget,
  ): Promise<Committed> {
    const others = paths.filter((other) => other !== path)
    const entry = stored === undefined ? undefined : stamped(stored.entry, stamp)
    const commit = { path, key, stamp, groups, paths: others, mode, entry, ttlMs: stored?.ttlMs }
    try {
      const reply = await this.#store.commitWrite(commit)
      const published = reply.stored ? 'stored' : 'fenced'
      return { published, entries: reply.entries, groups: groups.length, confirmed: true }
    } catch (error) {
      this.#pending.add({ paths: [path] }, error)
      this.#pending.add({ groups, paths: others, mode }, error)
      return { published: 'fenced', entries: 0, groups: 0, confirmed: false }
    } finally {
      this.changes.note([path, key, ...others], groups.length > 0)
    }
  }

  /** Stores a value that is as new as the call. Rejects when the store does not confirm it; then the key is evicted. */
  async set(key: string, draft: EntryDraft, ttlMs: number): Promise<Stamp> {
    try {
      return await this.#store.set(key, stamped(draft, NO_STAMP), ttlMs)
    } catch (error) {
      // It may have arrived or not; the value before it must not come back.
      this.#pending.add({ paths: [key] }, error)
      throw error
    } finally {
      this.changes.note([key], false)
    }
  }

  /** Stores a variant that was learned from a fill of its path, under that fill's stamp. */
  put(key: string, draft: EntryDraft, stamp: Stamp, ttlMs: number): Promise<void> {
    return this.#store.put(key, stamped(draft, stamp), ttlMs)
  }

  /** Lets an entry live at least this long, without changing it. */
  extend(key: string, ttlMs: number): Promise<void> {
    return this.#store.extend(key, ttlMs)
  }

  /** Adds a variant to the list of its path, and evicts those over the limit. */
  async addVariant({ path, key }: Pick<EntryRef, 'path' | 'key'>, ttlMs: number, max: number): Promise<void> {
    const now = this.now()
    const excess = await this.#store.addVariant(path, VARIANTS, { key, expiresAt: now + ttlMs }, max, now)
    if (excess.length > 0) await this.#store.evict(excess, 'hard')
  }

  /** The listed variants of a path that are valid. */
  async variants({ path, groups }: Pick<EntryRef, 'path' | 'groups'>): Promise<readonly Entry[]> {
    const keys = await this.#store.variants(path, VARIANTS, this.now())
    const lookups = await this.lookupMany(keys.map((key) => ({ key, path, groups })))
    return lookups.flatMap((lookup) => (lookup.state === 'valid' ? [lookup.entry] : []))
  }

  /** After it resolves with `confirmed`, no process serves what was loaded before it was called. Never rejects. */
  async evict({ paths = [], groups = [], mode = 'hard' }: InvalidationTarget): Promise<Evicted> {
    let confirmed = true
    const suspend = (target: InvalidationTarget) => (error: unknown) => {
      this.#pending.add({ ...target, mode }, error)
      confirmed = false
    }
    const [entries] = await Promise.all([
      paths.length === 0 ? 0 : this.#store.evict(paths, mode).catch(suspend({ paths })),
      groups.length === 0 ? undefined : this.#store.invalidate(groups, mode).catch(suspend({ groups })),
    ])
    this.changes.note(paths, groups.length > 0)
    return confirmed
      ? { entries: entries ?? 0, groups: groups.length, confirmed }
      : { entries: 0, groups: 0, confirmed }
  }

  /** Examines a bounded number of entries and removes those that no reader can accept. */
  sweep(cursor: string, count: number): Promise<SweepStep> {
    return this.#store.sweep(cursor, count, this.now())
  }

  /** Retries unconfirmed invalidations at once: the store has come back. */
  retry(): void {
    this.#pending.retry()
  }

  close(): void {
    this.#pending.close()
  }
}

/** A path has one list of variants. */
const VARIANTS = ''

/** For an entry whose stamp the store fills in. */
const NO_STAMP: Stamp = { incarnation: 0, at: 0 }

function warnOnce(logger: Logger): (key: string) => void {
  let warned = false
  return (key) => {
    if (warned) return
    warned = true
    logger.warn(
      `redwell: the loader of ${key} requests the value that it is loading, directly or through other values; the loader runs again without the cache`,
    )
  }
}

/** Keys remembered one by one; beyond that everything counts as changed. */
const KEYS_MAX = 1000

/** What this process has changed or invalidated, and in which order: whether something remembered is older than that. */
export class Changes {
  #count = 0
  #everything = 0
  readonly #keys = new Map<string, number>()

  /** The number of changes that a reader that begins now can see. */
  get now(): number {
    return this.#count
  }

  /** To be called when the change is complete: a reader that began before may have read the state before it. */
  note(keys: readonly string[], everything: boolean): void {
    this.#count += 1
    if (everything || this.#keys.size + keys.length > KEYS_MAX) {
      this.#everything = this.#count
      this.#keys.clear()
    } else for (const key of keys) this.#keys.set(key, this.#count)
  }

  since(point: number, key: string): boolean {
    return this.#everything > point || (this.#keys.get(key) ?? 0) > point
  }
}

/** Tasks that may run at once; further ones are skipped, which costs a refresh and no more. */
const TASKS_MAX = 100

/** Work that no request waits for, awaited when the application closes: refreshes, bounded by count, and stores. */
class Background {
  readonly #context = AsyncLocalStorage.snapshot()
  readonly #running = new Set<Promise<void>>()
  readonly #stores = new Set<Promise<void>>()

  get full(): boolean {
    return this.#running.size >= TASKS_MAX
  }

  /**
   * Starts the work in the next turn of the event loop, and ignores its errors. By then the end of a run of this
   * process whose reply has come is known, and its key does not count as busy. False: too much is running, so it is not
   * started.
   */
  run(work: () => Promise<unknown>): boolean {
    if (this.full) return false
    this.track(this.apart(() => nextTurn().then(work)))
    return true
  }

  /**
   * Runs work for everybody in the asynchronous context that the cache was made in: that of the request which happens to
   * cause it has its user, its transaction or its trace.
   */
  apart<T>(work: () => T): T {
    return this.#context(work)
  }

  /** Counts work that has been started already. */
  track(work: Promise<unknown>): void {
    keep(work, this.#running)
  }

  /** Counts the store of a response that may have left: awaited, and no part of the bound. */
  trackStore(storing: Promise<unknown>): void {
    keep(storing, this.#stores)
  }

  /** Resolves when what is being stored now has been. */
  async stored(): Promise<void> {
    await Promise.all(this.#stores)
  }

  /** Resolves when nothing runs, or at the limit: a loader that hangs must not keep the application from closing. */
  async settled(limitMs: number): Promise<void> {
    if (this.#running.size + this.#stores.size > 0) await withLimit(this.#idle(), limitMs)
  }

  async #idle(): Promise<void> {
    while (this.#running.size + this.#stores.size > 0) await Promise.all([...this.#running, ...this.#stores])
  }
}

function keep(work: Promise<unknown>, set: Set<Promise<void>>): void {
  const done = (): void => void set.delete(kept)
  const kept: Promise<void> = work.then(done, done)
  set.add(kept)
}
