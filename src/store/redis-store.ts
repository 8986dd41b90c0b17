import { ValueError } from '../errors.js'
import type { Connection } from '../redis/connection.js'
import { type CommandArgument, evaluate, type Reply, type Script } from '../redis/command.js'
import { decodeEntry, encodeEntry, entryIdentity } from './codec.js'
import type { Entry } from './entry.js'
import { GroupStamps } from './group-stamps.js'
import { Keyspace } from './keyspace.js'
import { OrphanedLeases } from './orphaned-leases.js'
import { matchStep, Scan, sweepStep } from './scan.js'
import { scripts } from './scripts.js'
import { Incarnations } from './server-lives.js'
import type {
  Claim,
  Claimed,
  Found,
  Invalidated,
  MatchKind,
  MatchStep,
  PendingWrite,
  Publication,
  Published,
  Store,
  SweepStep,
} from './store.js'
import { Wakeups } from './wakeups.js'

const ANY_ENTRY = Buffer.from('*')

/** The group that every entry is in. */
const EVERYTHING: readonly string[] = ['']

/** Entries of one prefix in Redis or Valkey, on one server or a cluster. */
export class RedisStore implements Store {
  readonly prefix: string
  readonly #line: RedisConnection
  /** Carries what removes or replaces; with `waitForReplicas` a line of its own. */
  readonly #sure: RedisConnection
  readonly #keys: Keyspace
  readonly #entries: TurnReader<Entry>
  readonly #groups: GroupStamps
  readonly #wakeups: Wakeups
  readonly #scan: Scan
  readonly #lives: Incarnations
  readonly #orphans = new OrphanedLeases()
  /** Given to scripts that also read the clock; empty on a cluster, where the clock lives in another slot. */
  readonly #clockKey: readonly string[]
  #clockOfTurn: Promise<unknown> | undefined

  constructor(line: RedisConnection, prefix: string, sure: RedisConnection = line) {
    this.prefix = prefix
    this.#line = line
    this.#sure = sure
    this.#keys = new Keyspace(prefix, line.topology === 'cluster')
    this.#entries = new TurnReader(line, decodeEntry)
    this.#groups = new GroupStamps(line, this.#keys, sure)
    this.#wakeups = new Wakeups(line, this.#keys.wake)
    this.#scan = new Scan(line)
    this.#lives = new Incarnations(line, this.#keys.lives, () => this.invalidate(EVERYTHING, 'hard'))
    this.#clockKey = line.topology === 'cluster' ? [] : [this.#keys.clock]
  }

  read(keys: readonly string[], groups: readonly string[]): Promise<Found> {
    const learning = this.#lives.learning
    return learning === undefined ? this.#read(keys, groups) : learning.then(() => this.read(keys, groups))
  }

  #read(keys: readonly string[], groups: readonly string[]): Promise<Found> {
    const single = keys.length === 1 ? this.#entries.get(this.#keys.entry(keys[0] as string)) : undefined
    const last = keys.at(-1) ?? ''
    if (single !== undefined && groups.length === 1) return this.#readOne(single, groups[0] as string, last)
    const entries = single?.then((entry) => [entry]) ?? this.#entries.getMany(keys.map((key) => this.#keys.entry(key)))
    return Promise.all([entries, this.#groups.read(groups, last)]).then(([found, stamps]) => ({
      entries: found,
      stamps,
    }))
  }

  /** The usual case, without the arrays of promises. */
  async #readOne(reading: Promise<Entry | undefined>, group: string, key: string): Promise<Found> {
    const stamping = this.#groups.readOne(group, key)
    stamping.catch(ignore)
    const entry = await reading
    return { entries: [entry], stamps: [await stamping] }
  }

  claim(key: string, claim: Claim): Promise<Claimed> {
    if (this.#lives.learning !== undefined) return this.#lives.learned().then(() => this.claim(key, claim))
    return this.#orphans.watch(this.#claim(key, claim), claim.token, () => this.#release(key, claim.token))
  }

  async #claim(key: string, claim: Claim): Promise<Claimed> {
    const seen = claim.seen === 'any' ? ANY_ENTRY : entryIdentity(claim.seen)
    const clock = this.#separateClock()
    const reply = await this.#run(scripts.claim, key, [claim.token, String(claim.leaseMs), seen], this.#clockKey)
    const [state, detail] = reply as [number, unknown]
    this.#lives.keep()
    const stamp = clock === undefined ? detail : await clock
    if (state === 0) return { state: 'held', remainingMs: Math.max(Number(detail), 1) }
    if (state === 2) return { state: 'changed' }
    this.#groups.forget(claim.absentGroups, key)
    return {
      state: 'granted',
      stamp: await this.#groups.ensure(claim.absentGroups, key, toNumber(stamp), claim.groupTtlMs),
    }
  }

  publish(key: string, publication: Publication): Promise<Published> {
    const { token, ttlMs } = publication
    this.#noteLife(ttlMs)
    return this.#orphans.watch(this.#publish(key, publication), token, () => this.#release(key, token))
  }

  async #publish(key: string, { token, entry, ttlMs, verify }: Publication): Promise<Published> {
    if (!this.#groups.known(entry, key, ttlMs) && !(await this.#groups.admit(entry, key, ttlMs))) {
      await this.#release(key, token)
      return 'fenced'
    }
    const args = [token, lifeArgument(ttlMs), bytesOf(entry, key)]
    const storing = this.#run(scripts.publish, key, [...args, ...this.#wakeArguments(key)])
    if (!verify) return (await storing) === 1 ? 'stored' : 'fenced'
    const [stored, valid] = await Promise.all([storing, this.#groups.allow(entry, key)])
    return stored === 1 && valid ? 'stored' : 'fenced'
  }

  async renew(key: string, token: string, leaseMs: number): Promise<boolean> {
    return (await this.#runOnLease(scripts.renew, key, [token, String(leaseMs)])) === 1
  }

  release(key: string, token: string): Promise<void> {
    return this.#orphans.watch(this.#release(key, token), token, () => this.#release(key, token))
  }

  async #release(key: string, token: string): Promise<void> {
    await this.#runOnLease(scripts.release, key, [token, ...this.#wakeArguments(key)])
  }

  async announce(key: string, token: string, leaseMs: number, keeps = false): Promise<number> {
    if (this.#lives.learning !== undefined) await this.#lives.learned()
    const announcing = this.#announce(key, [token, String(leaseMs), keeps ? '1' : ''])
    return this.#orphans.watch(announcing, token, () => this.#complete(key, token, undefined, false))
  }

  found(key: string, groups: readonly string[], clock: number, ttlMs: number): Promise<number> {
    return this.#groups.ensure(groups, key, clock, ttlMs)
  }

  async #announce(key: string, args: readonly string[]): Promise<number> {
    const clock = this.#separateClock()
    const reply = await this.#runSurely(scripts.announce, key, args, this.#clockKey)
    return toNumber(clock === undefined ? reply : await clock)
  }

  complete(key: string, token: string, write: PendingWrite | undefined, keeps = false): Promise<Published> {
    const completing = this.#complete(key, token, write, keeps)
    return this.#orphans.watch(completing, token, () => this.#complete(key, token, undefined, false))
  }

  async #complete(key: string, token: string, write: PendingWrite | undefined, keeps: boolean): Promise<Published> {
    const admitted = write !== undefined && (await this.#groups.admit(write.entry, key, write.ttlMs))
    const bytes = admitted ? bytesOf(write.entry, key) : ''
    const args = [token, lifeArgument(write?.ttlMs ?? 0), bytes, ...this.#wakeArguments(key), keeps ? '1' : '']
    return (await this.#runSurely(scripts.complete, key, args)) === 1 ? 'stored' : 'fenced'
  }

  async set(key: string, entry: Entry, ttlMs: number): Promise<number | undefined> {
    if (this.#lives.learning !== undefined) await this.#lives.learned()
    this.#noteLife(ttlMs)
    const stamp = await this.#groups.ensure(entry.groups, key, toNumber(await this.#turnClock()), ttlMs)
    const args = [lifeArgument(ttlMs), bytesOf({ ...entry, stamp }, key), ...this.#wakeArguments(key)]
    return (await this.#runSurely(scripts.set, key, args)) === 1 ? stamp : undefined
  }

  evict(keys: readonly string[]): Promise<number> {
    if (keys.length === 1) return this.#evictOne(keys[0] as string)
    return Promise.all(keys.map((key) => this.#evictOne(key))).then((counts) =>
      counts.reduce((sum, count) => sum + count, 0),
    )
  }

  #evictOne(key: string): Promise<number> {
    return this.#runSurely(scripts.evict, key, this.#wakeArguments(key)).then(Number)
  }

  async prolong(key: string, ttlMs: number): Promise<void> {
    const name = this.#keys.entry(key)
    await this.#line.execute(
      ttlMs === Infinity ? ['PERSIST', name] : ['PEXPIRE', name, lifeArgument(ttlMs), 'GT'],
      name,
    )
  }

  async enrol(list: string, key: string, expiresAt: number, max: number, now: number): Promise<readonly string[]> {
    const args = [key, expiresAt === Infinity ? '+inf' : String(expiresAt), String(now), String(max)]
    const gone = await evaluate(this.#line, scripts.enrol, [this.#keys.variants(list)], args)
    return (gone as readonly unknown[]).map(String)
  }

  async enrolled(list: string, now: number): Promise<readonly string[]> {
    const name = this.#keys.variants(list)
    const keys = await this.#line.execute(['ZRANGE', name, `(${now}`, '+inf', 'BYSCORE'], name)
    return (keys as readonly unknown[]).map(String)
  }

  async soften(keys: readonly string[], now: number): Promise<number> {
    const instant = Buffer.alloc(8)
    instant.writeDoubleLE(now)
    const counts = await Promise.all(
      keys.map((key) => this.#runSurely(scripts.soften, key, [instant, ...this.#wakeArguments(key)])),
    )
    return counts.reduce<number>((sum, count) => sum + Number(count), 0)
  }

  /** The clock first: a fill that reads the clock after this advance began after the commit that it reports. */
  async invalidate(groups: readonly string[], mode: 'hard' | 'soft'): Promise<Invalidated> {
    try {
      const stamp = toNumber(await evalReplicated(this.#line, this.#sure, scripts.advance, [this.#keys.clock], []))
      return { stamp, before: await this.#groups.raise(groups, stamp, mode) }
    } catch (error) {
      if (!isFull(error)) throw error
      return this.#forget(groups)
    }
  }

  /**
   * A server whose memory is full takes no stamps, but it removes keys. Without its stamp no entry of a group is valid;
   * and the clock, once lost, goes on from the server's time, so that a group created again is newer than all of them.
   */
  async #forget(groups: readonly string[]): Promise<Invalidated> {
    await this.#sure.execute(['UNLINK', this.#keys.clock], this.#keys.clock)
    await this.#groups.remove(groups)
    return { stamp: 0, before: groups.map(() => undefined) }
  }

  listen(): Promise<void> {
    return this.#wakeups.listen()
  }

  onWake(key: string, wake: () => void): () => void {
    return this.#wakeups.on(key, wake)
  }

  sweep(cursor: string, count: number, now: number): Promise<SweepStep> {
    return sweepStep(this.#line, this.#scan, this.#keys, cursor, count, now)
  }

  match(kind: MatchKind, pattern: string, cursor: string, count: number): Promise<MatchStep> {
    return matchStep(this.#scan, this.#keys, kind, pattern, cursor, count)
  }

  expectUnbounded(): void {
    this.#line.unbounded()
  }

  #noteLife(ttlMs: number): void {
    if (ttlMs === Infinity) this.#line.unbounded()
  }

  #runSurely(
    script: Script,
    key: string,
    args: readonly (string | Buffer)[],
    more: readonly string[] = [],
  ): Promise<unknown> {
    return evalReplicated(this.#line, this.#sure, script, [this.#keys.entry(key), this.#keys.lease(key), ...more], args)
  }

  #run(
    script: Script,
    key: string,
    args: readonly (string | Buffer)[],
    more: readonly string[] = [],
  ): Promise<unknown> {
    return evaluate(this.#line, script, [this.#keys.entry(key), this.#keys.lease(key), ...more], args)
  }

  #runOnLease(script: Script, key: string, args: readonly string[]): Promise<unknown> {
    return evaluate(this.#line, script, [this.#keys.lease(key)], args)
  }

  /** One reading for all who ask in one turn of the event loop: they asked before it was sent (see TurnReader). */
  #turnClock(): Promise<unknown> {
    if (this.#clockOfTurn === undefined) {
      this.#clockOfTurn = evaluate(this.#line, scripts.clock, [this.#keys.clock], [])
      setImmediate(() => {
        this.#clockOfTurn = undefined
      })
    }
    return this.#clockOfTurn
  }

  #separateClock(): Promise<unknown> | undefined {
    if (this.#clockKey.length > 0) return undefined
    const clock = evaluate(this.#line, scripts.clock, [this.#keys.clock], [])
    clock.catch(ignore)
    return clock
  }

  #wakeArguments(key: string): [string, string] {
    return [this.#keys.wake, key]
  }
}

/** The promise is awaited later in any case; this only keeps an early rejection from counting as unhandled. */
function ignore(): void {}

/** The reply of a server that has reached its maxmemory and may evict nothing. */
export function isFull(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('OOM')
}

/** Milliseconds as the scripts take them: whole, at least 1, and 0 for no end. */
export function lifeArgument(ttlMs: number): string {
  return ttlMs === Infinity ? '0' : String(Math.max(1, Math.ceil(ttlMs)))
}

/** A point of the clock: text, because a Lua number would lose its last digits. */
export function toNumber(reply: unknown): number {
  return Number(String(reply))
}

export function bytesOf(entry: Entry, key: string): Buffer {
  const bytes = encodeEntry(entry)
  if (bytes === undefined) throw new ValueError(`The entry of ${key} has a header field that HTTP does not allow.`)
  return bytes
}

/**
 * A script over the line that waits for replicas. Where that cannot confirm it is done on the primary all the same, so
 * that other processes do not serve what the script removes; the caller is told that it is not sure.
 */
export function evalReplicated(
  line: RedisConnection,
  sure: RedisConnection,
  script: Script,
  keys: readonly string[],
  args: readonly CommandArgument[],
): Promise<Reply> {
  const confirmed = evaluate(sure, script, keys, args)
  if (sure === line) return confirmed
  return confirmed.catch(async (error: unknown) => {
    await evaluate(line, script, keys, args).catch(() => {})
    throw error
  })
}

/** What the store asks of the line to Redis. */
export type RedisConnection = Pick<
  Connection,
  'topology' | 'execute' | 'subscribe' | 'generation' | 'lives' | 'unbounded'
>

/**
 * GETs that share what is asked for twice in one turn of the event loop: the stamp of a group that many requests of
 * the turn carry, or one hot entry. Sound because the client writes its queue after the turn: whoever shares a GET
 * asked before it was sent, so the answer is not older than the question.
 */
export class TurnReader<T> {
  readonly #line: RedisConnection
  readonly #decode: (bytes: Buffer) => T | undefined
  #turn: Map<string, Promise<T | undefined>> | undefined

  constructor(line: RedisConnection, decode: (bytes: Buffer) => T | undefined) {
    this.#line = line
    this.#decode = decode
  }

  get(key: string): Promise<T | undefined> {
    const turn = this.#turn ?? this.#openTurn()
    const shared = turn.get(key)
    if (shared !== undefined) return shared
    const answer = this.#line.execute(['GET', key], key).then(this.#read, absentIfForeign)
    turn.set(key, answer)
    return answer
  }

  /** Many keys: one MGET where one server holds them all. */
  async getMany(keys: readonly string[]): Promise<(T | undefined)[]> {
    if (keys.length <= 1 || this.#line.topology === 'cluster') return Promise.all(keys.map((key) => this.get(key)))
    const replies = await this.#line.execute(['MGET', ...keys] satisfies CommandArgument[], keys[0])
    return (replies as readonly Reply[]).map(this.#read)
  }

  #openTurn(): Map<string, Promise<T | undefined>> {
    this.#turn = new Map()
    setImmediate(() => {
      this.#turn = undefined
    })
    return this.#turn
  }

  readonly #read = (reply: Reply): T | undefined => (Buffer.isBuffer(reply) ? this.#decode(reply) : undefined)
}

/** A key of ours that holds something else than a string is one miss, like any other foreign content. */
function absentIfForeign(error: unknown): undefined {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return undefined
  throw error
}
