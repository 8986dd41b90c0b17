import { noneIfUnavailable } from '../errors.js'
import type { CommandBudget } from '../redis/deadline.js'
import { EntryDecoder, type Entry, type EntryHead, type GroupStamp, isValid, type Stamp, stampedWith } from './entry.js'
import { Keyspace, pathGroup, Scan } from './keyspace.js'
import { Wakeups } from './leases.js'
import { bytesOf, RedisFills } from './redis-fills.js'
import {
  inChunks,
  EntryRead,
  lifeArgument,
  readHeads,
  type RedisConnection,
  ScriptRunner,
  TurnReader,
} from './redis-commands.js'
import { scripts } from './scripts.js'
import { Incarnations, newestOf, presentStamp, Stamps } from './stamps.js'
import type {
  CommitReply,
  InvalidationMode,
  LeaseReply,
  LeaseRequest,
  ListedVariant,
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

/** The group that every entry is in. */
const EVERYTHING: readonly string[] = ['']

/** Entries of one prefix in Redis or Valkey, on one server or a cluster. */
export class RedisStore implements Store {
  readonly #runner: ScriptRunner
  readonly #keys: Keyspace
  readonly #entries: TurnReader<Entry>
  readonly #stamps: Stamps
  readonly #wakeups: Wakeups
  readonly #scan: Scan
  readonly #fills: RedisFills
  readonly #incarnations: Incarnations
  /** On a cluster the clock and the groups are in other slots than the entry, so no script takes them together. */
  readonly #isCluster: boolean

  constructor(
    private readonly connection: RedisConnection,
    readonly prefix: string,
    replicated: RedisConnection = connection,
  ) {
    this.#isCluster = connection.topology === 'cluster'
    this.#runner = new ScriptRunner(connection, replicated)
    this.#keys = new Keyspace(prefix, this.#isCluster)
    this.#entries = new TurnReader(connection, new EntryDecoder().decode)
    this.#stamps = new Stamps(connection, this.#runner, this.#keys)
    this.#fills = new RedisFills(connection, this.#runner, this.#keys, this.#stamps)
    this.#wakeups = new Wakeups(connection, this.#keys.wake)
    this.#scan = new Scan(connection, this.#keys)
    this.#incarnations = new Incarnations(connection, this.#keys.lives, () => this.invalidate(EVERYTHING, 'hard'))
  }

  read(keys: readonly string[], groups: readonly string[], budget?: CommandBudget): Promise<ReadResult> {
    const { learning } = this.#incarnations
    if (learning !== undefined) return learning.then(() => this.read(keys, groups, budget))
    if (keys.length <= 1) return this.#readOne(keys[0], groups, budget)
    const names = keys.map((one) => this.#keys.entry(one))
    return Promise.all([
      this.#entries.getMany(names, budget),
      this.#stamps.read(groups, keys.at(-1) ?? '', budget),
    ]).then(([entries, stamps]) => ({ entries, stamps }))
  }

  /** The usual case: one promise for all of it. */
  #readOne(key: string | undefined, groups: readonly string[], budget: CommandBudget | undefined): Promise<ReadResult> {
    const count = groups.length + (key === undefined ? 0 : 1)
    if (count === 0) return Promise.resolve({ entries: [], stamps: [] })
    return new EntryRead(count).asked((read) => {
      if (key !== undefined) this.#entries.ask(this.#keys.entry(key), budget, read.entries, 0)
      this.#stamps.ask(groups, key ?? '', budget, read.stamps)
    })
  }

  async clock(budget?: CommandBudget): Promise<Stamp> {
    await this.#incarnations.learned()
    return this.#stamps.clock(budget)
  }

  async acquireLease(key: string, request: LeaseRequest, budget?: CommandBudget): Promise<LeaseReply> {
    await this.#incarnations.learned()
    const reply = await this.#fills.acquire(key, request, budget)
    if (reply.state === 'granted') this.#incarnations.keep()
    return reply
  }

  publish(key: string, publication: Publication, budget?: CommandBudget): Promise<Published> {
    return this.#fills.publish(key, publication, budget)
  }

  async put(key: string, entry: Entry, ttlMs: number): Promise<void> {
    await this.#fills.store(key, '', entry, ttlMs)
  }

  renewLease(key: string, token: string, leaseMs: number): Promise<boolean> {
    return this.#fills.renew(key, token, leaseMs)
  }

  releaseLease(key: string, token: string, noteMs = 0): Promise<void> {
    return this.#fills.release(key, token, noteMs)
  }

  isLeased(key: string): Promise<boolean> {
    return this.#fills.isLeased(key)
  }

  wake(key: string, token: string): Promise<void> {
    return this.#fills.wake(key, token)
  }

  async beginWrite(path: string, groups: readonly string[], ttlMs: number, budget?: CommandBudget): Promise<Stamp> {
    await this.#incarnations.learned()
    return this.#stamps.ensure([...new Set([...groups, pathGroup(path)])], path, ttlMs, budget)
  }

  /** One script where all is on one server; further paths to evict are rare enough for the longer way. */
  async commitWrite(commit: WriteCommit): Promise<CommitReply> {
    const isAlone = commit.paths.every((path) => path === commit.path)
    const stored = this.#isCluster || !isAlone ? null : await this.#writeAtOnce(commit)
    return stored === null ? this.#writeInSteps(commit) : { stored, entries: 0 }
  }

  /** Null: the server is full, and has changed nothing. */
  async #writeAtOnce(commit: WriteCommit): Promise<boolean | null> {
    const { path, key, stamp, mode, entry, ttlMs = 0 } = commit
    const own = pathGroup(path)
    const groups = [...new Set(commit.groups)].filter((group) => group !== own)
    const carried = (entry?.groups ?? []).filter((group) => group !== own)
    // Its write stamp is filled in by the script.
    const written = entry && stampWritten(entry, stamp, stamp, [own, ...groups])
    const names = [
      this.#keys.clock,
      this.#keys.pathGroup(path),
      ...this.#keys.entryAndLease(path),
      ...this.#keys.entryAndLease(key),
      ...this.#keys.groupsOf([...groups, ...carried], key),
    ]
    const args = [
      ...this.#stamps.clockArguments,
      mode,
      String(groups.length),
      String(stamp.incarnation),
      String(stamp.at),
      written === undefined ? '' : bytesOf(written, key),
      lifeArgument(ttlMs),
      ...this.#keys.wakeFor(path),
      key,
    ]
    if (ttlMs === Infinity) this.expectUnbounded()
    const budget = this.connection.invalidationBudget()
    const reply = await this.#runner.replicate(scripts.write, names, args, budget).catch(noneIfFull)
    return reply === null ? null : reply === 1
  }

  /**
   * Clock, then the groups and the other paths, then the path itself: what the write invalidates, it invalidates at one
   * point `own` of the clock. The entry is compared there with `own`, and with the stamp of the beginning elsewhere. It
   * is stored only if none of its groups was invalidated since the beginning.
   */
  async #writeInSteps(commit: WriteCommit): Promise<CommitReply> {
    const { path, key, stamp, mode, entry } = commit
    const budget = this.connection.invalidationBudget()
    const paths = [...new Set(commit.paths)].filter((other) => other !== path)
    const pathGroups = new Set([path, ...paths].map(pathGroup))
    const groups = [...new Set(commit.groups)].filter((group) => !pathGroups.has(group))
    const carried = entry?.groups ?? []
    const [own, stamps] = await Promise.all([this.#stamps.advance(budget), this.#stamps.read(carried, key, budget)])
    const [bumped, evicted] = await Promise.all([
      this.#stamps.bump(groups, own, mode, budget),
      Promise.all(paths.map((other) => this.#evictPath(other, mode, budget, own))),
    ])
    const before = new Map(carried.map((group, index) => [group, stamps[index]]))
    groups.forEach((group, index) => before.set(group, bumped[index]))
    paths.forEach((other, index) => before.set(pathGroup(other), evicted[index]?.before))
    const isUntouched = (group: string): boolean => {
      const found = before.get(group)
      return group === pathGroup(path) || (found?.incarnation === stamp.incarnation && newestOf(found) <= stamp.at)
    }
    const storable = own.incarnation === stamp.incarnation && entry?.groups.every(isUntouched) === true
    const written =
      storable && entry !== undefined ? stampWritten(entry, stamp, own, [...pathGroups, ...groups]) : undefined
    const stored = await this.#commit(commit, own, written, budget)
    return { stored, entries: evicted.reduce((sum, { found }) => sum + found, 0) }
  }

  /** At the path, then at the variant. The group of the path covers a variant between the two. */
  async #commit(
    { path, key, stamp, ttlMs = 0 }: WriteCommit,
    own: Stamp,
    entry: Entry | undefined,
    budget: CommandBudget,
  ): Promise<boolean> {
    const isPlain = key === path
    const args = [
      String(own.incarnation),
      String(stamp.at),
      String(own.at),
      entry === undefined || !isPlain ? '' : bytesOf(entry, key),
      lifeArgument(ttlMs),
      isPlain ? '' : '1',
      ...this.#keys.wakeFor(path),
    ]
    const names = this.#keys.entryAndLease(path, [this.#keys.pathGroup(path)])
    const reply = await this.#runner.replicate(scripts.commit, names, args, budget).catch(noneIfFull)
    const [untouched, before = null] = Array.isArray(reply) ? reply : [0]
    const hasRisen = reply !== null && newestOf(presentStamp(before, own.incarnation)) < own.at
    if (!hasRisen) await this.#evictPath(path, 'hard', budget)
    const isStored = untouched === 1 && entry !== undefined
    return isPlain ? isStored : this.#replaceVariant(key, isStored ? entry : undefined, ttlMs, own, budget)
  }

  async #replaceVariant(
    key: string,
    entry: Entry | undefined,
    ttlMs: number,
    own: Stamp,
    budget: CommandBudget,
  ): Promise<boolean> {
    if (entry !== undefined) {
      const args = ['', ...this.#fills.storeArguments(key, entry, ttlMs)]
      const reply = await this.#runner
        .replicate(scripts.publish, this.#keys.entryAndLease(key), args, budget)
        .catch(noneIfFull)
      if (reply !== null) return true
    }
    await this.#evictPath(key, 'hard', budget, own)
    return false
  }

  async set(key: string, entry: Entry, ttlMs: number): Promise<Stamp> {
    await this.#incarnations.learned()
    const group = pathGroup(key)
    const [stamp, written] = await Promise.all([
      this.#stamps.ensure(entry.groups, key, ttlMs),
      this.#stamps.readOne(group, key),
    ])
    // A write-through of this key may be in flight: now it will not store what is older than this value.
    if (written !== undefined) await this.invalidate([group], 'hard')
    const { ownGroups } = entry
    const stamps = { incarnation: stamp.incarnation, stamp: stamp.at, writeStamp: stamp.at, ownGroups }
    const stamped = stampedWith(entry, stamps)
    const args = this.#fills.storeArguments(key, stamped, ttlMs)
    await this.#runner.replicate(scripts.set, this.#keys.entryAndLease(key, [this.#keys.pathGroup(key)]), args)
    return stamp
  }

  async evict(paths: readonly string[], mode: InvalidationMode): Promise<number> {
    const found = await inChunks(paths, async (part, isBulk) => {
      const budget = isBulk ? this.connection.bulkBudget() : this.connection.invalidationBudget()
      const stamp = this.#isCluster ? await this.#stamps.advance(budget) : undefined
      return Promise.all(part.map((path) => this.#evictPath(path, mode, budget, stamp)))
    })
    return found.reduce((sum, one) => sum + one.found, 0)
  }

  /** At this point of the clock, or a new one. A group that is not older takes another one: a bump always rises. */
  async #evictPath(
    path: string,
    mode: InvalidationMode,
    budget: CommandBudget,
    at?: Stamp,
  ): Promise<{ readonly found: number; readonly before: GroupStamp | undefined }> {
    const stamp = at ?? (this.#isCluster ? await this.#stamps.advance(budget) : undefined)
    const clock = stamp === undefined ? [this.#keys.clock] : []
    const point = stamp === undefined ? this.#stamps.clockArguments : [String(stamp.incarnation), String(stamp.at)]
    const args = [mode, ...this.#keys.wakeFor(path), ...point]
    const names = this.#keys.entryAndLease(path, [this.#keys.pathGroup(path), ...clock])
    const reply = await this.#runner.replicate(scripts.evict, names, args, budget)
    const [found, value = null] = Array.isArray(reply) ? reply : []
    if (stamp === undefined) return { found: Number(found), before: undefined }
    const before = presentStamp(value, stamp.incarnation)
    if (newestOf(before) >= stamp.at)
      await this.#evictPath(path, mode, budget, await this.#stamps.advance(budget, newestOf(before)))
    return { found: Number(found), before }
  }

  invalidate(groups: readonly string[], mode: InvalidationMode): Promise<void> {
    return this.#stamps.invalidate(groups, mode)
  }

  async addVariant(path: string, list: string, variant: ListedVariant, max: number, now: number): Promise<string[]> {
    const { key, expiresAt } = variant
    const args = [key, expiresAt === Infinity ? '+inf' : String(expiresAt), String(now), String(max)]
    const evicted = await this.#runner.run(scripts.addVariant, [this.#keys.variants(path, list)], args)
    return Array.isArray(evicted) ? evicted.map(String) : []
  }

  async variants(path: string, list: string, now: number): Promise<readonly string[]> {
    const name = this.#keys.variants(path, list)
    const keys = await this.connection.execute(['ZRANGE', name, `(${now}`, '+inf', 'BYSCORE'], name)
    return Array.isArray(keys) ? keys.map(String) : []
  }

  async extend(key: string, ttlMs: number): Promise<void> {
    const name = this.#keys.entry(key)
    const command = ttlMs === Infinity ? ['PERSIST', name] : ['PEXPIRE', name, lifeArgument(ttlMs), 'GT']
    await this.connection.execute(command, name)
  }

  listen(): Promise<void> {
    return this.#wakeups.listen()
  }

  onWake(key: string, callback: () => void): () => void {
    return this.#wakeups.waiters.on(key, callback)
  }

  async sweep(cursor: string, count: number, now: number): Promise<SweepStep> {
    const step = await this.#scan.match('entries', '*', cursor, count)
    const found = await this.heads(step.keys)
    const isDead = (one: StoredHead | undefined): boolean =>
      one?.stamps !== undefined && !isValid(one.head, one.head.groups, one.stamps, now)
    const removed = step.keys.filter((_, index) => isDead(found[index])).map((key) => this.#keys.entry(key))
    const budget = this.connection.bulkBudget()
    await inChunks(removed, (part) =>
      Promise.all(part.map((name) => this.connection.execute(['UNLINK', name], name, budget))),
    )
    return { cursor: step.cursor, scanned: step.keys.length, removed: removed.length }
  }

  async heads(keys: readonly string[]): Promise<readonly (StoredHead | undefined)[]> {
    const heads = await readHeads(
      this.connection,
      keys.map((key) => this.#keys.entry(key)),
    )
    // Most entries of a list have the same groups: each list of stamps is read once, after the heads.
    const known = new Map<string, Promise<StoredHead['stamps']>>()
    const stampsOf = (groups: readonly string[], key: string): Promise<StoredHead['stamps']> => {
      const id = this.#keys.groupsOf(groups, key).join('\n')
      const stamps = known.get(id) ?? this.#stamps.read(groups, key).catch(noneIfUnavailable)
      known.set(id, stamps)
      return stamps
    }
    const withStamps = async (head: EntryHead | undefined, index: number): Promise<StoredHead | undefined> =>
      head && { head, stamps: await stampsOf(head.groups, keys[index] ?? '') }
    return Promise.all(heads.map(withStamps))
  }

  match(kind: MatchKind, pattern: string, cursor: string, count: number): Promise<MatchStep> {
    return this.#scan.match(kind, pattern, cursor, count)
  }

  expectUnbounded(): void {
    this.connection.unbounded()
  }
}

/** A server that has reached its maxmemory and may evict nothing stores nothing, but it still invalidates. */
function noneIfFull(error: unknown): null {
  if (error instanceof Error && error.message.startsWith('OOM')) return null
  throw error
}

/** An entry as its write-through stores it: the groups that the write invalidated itself do not end it. */
function stampWritten(entry: Entry, begun: Stamp, own: Stamp, bumped: readonly string[]): Entry {
  const ownGroups = entry.groups.filter((group) => bumped.includes(group))
  return stampedWith(entry, { incarnation: own.incarnation, stamp: begun.at, writeStamp: own.at, ownGroups })
}
