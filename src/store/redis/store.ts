import { evaluate, type Script } from '../../connection/script.js'
import { decodeEntry, entryIdentity } from '../codec.js'
import type { Entry } from '../entry.js'
import { Keyspace } from '../keyspace.js'
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
} from '../port.js'
import { bytesOf, isFull, lifeArgument, toNumber } from './arguments.js'
import { GroupStamps } from './groups.js'
import { Lives } from './lives.js'
import { Orphans } from './orphans.js'
import { type Line, TurnReader } from './reader.js'
import { Scan } from './scan.js'
import { scripts } from './scripts.js'
import { matchStep, sweepStep } from './sweep.js'
import { surely } from './surely.js'
import { Wakeups } from './wakeups.js'

const ANY_ENTRY = Buffer.from('*')
/** The group that every entry is in. */
const EVERYTHING: readonly string[] = ['']

/** Entries of one prefix in Redis or Valkey, on one server or a cluster. */
export class RedisStore implements Store {
  readonly prefix: string
  readonly #line: Line
  /** Carries what removes or replaces; with `waitForReplicas` a line of its own. */
  readonly #sure: Line
  readonly #keys: Keyspace
  readonly #entries: TurnReader<Entry>
  readonly #groups: GroupStamps
  readonly #wakeups: Wakeups
  readonly #scan: Scan
  readonly #lives: Lives
  readonly #orphans = new Orphans()
  /** Given to scripts that also read the clock; empty on a cluster, where the clock lives in another slot. */
  readonly #clockKey: readonly string[]
  #clockOfTurn: Promise<unknown> | undefined

  constructor(line: Line, prefix: string, sure: Line = line) {
    this.prefix = prefix
    this.#line = line
    this.#sure = sure
    this.#keys = new Keyspace(prefix, line.topology === 'cluster')
    this.#entries = new TurnReader(line, decodeEntry)
    this.#groups = new GroupStamps(line, this.#keys, sure)
    this.#wakeups = new Wakeups(line, this.#keys.wake)
    this.#scan = new Scan(line)
    this.#lives = new Lives(line, this.#keys.lives, () => this.invalidate(EVERYTHING, 'hard'))
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
      const stamp = toNumber(await surely(this.#line, this.#sure, scripts.advance, [this.#keys.clock], []))
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
    return surely(this.#line, this.#sure, script, [this.#keys.entry(key), this.#keys.lease(key), ...more], args)
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
