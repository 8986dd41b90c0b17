import { evaluate } from '../redis/command.js'
import { decodeStamp } from './codec.js'
import type { Entry, Stamp } from './entry.js'
import type { Keyspace } from './keyspace.js'
import { type RedisConnection, evalReplicated, TurnReader } from './redis-store.js'
import { scripts } from './scripts.js'

/** A group lives at least this long, so that a busy short-lived route does not prolong it at every store. */
const LEAST_LIFE_MS = 3_600_000

/** Groups whose end of life this process knows; over that it forgets them all and asks again. */
const KNOWN_MAX = 10_000

/** The stamps of the groups of one prefix, and their life: as long as the longest entry that names them. */
export class GroupStamps {
  readonly #line: RedisConnection
  readonly #sure: RedisConnection
  readonly #keys: Keyspace
  readonly #reader: TurnReader<Stamp>
  /** Key of a group to the instant up to which it was last seen to live. A group lost before then shows as a missing stamp. */
  readonly #livesUntil = new Map<string, number>()

  constructor(line: RedisConnection, keys: Keyspace, sure: RedisConnection) {
    this.#line = line
    this.#sure = sure
    this.#keys = keys
    this.#reader = new TurnReader(line, decodeStamp)
  }

  readOne(group: string, key: string): Promise<Stamp | undefined> {
    return this.#reader.get(this.#keys.group(group, key))
  }

  read(groups: readonly string[], key: string): Promise<(Stamp | undefined)[]> {
    return Promise.all(groups.map((group) => this.readOne(group, key)))
  }

  /**
   * Makes sure that the groups of an entry exist and live long enough, creating absent ones at `clock`. Gives the stamp to fill
   * under: `clock`, or a later one. If the clock moved meanwhile, a group may have been invalidated and lost just
   * before it was created here with a clock from before; so what was created is raised to the clock after.
   */
  ensure(groups: readonly string[], key: string, clock: number, ttlMs: number): Promise<number> {
    return this.#ensure(this.#namesOf(groups, key), clock, ttlMs)
  }

  async #ensure(names: readonly string[], clock: number, ttlMs: number): Promise<number> {
    const unsure = names.filter((name) => !this.#lives(name, ttlMs))
    if (unsure.length === 0) return clock
    const replies = await Promise.all(unsure.map((name) => this.#touch(name, String(clock), ttlMs)))
    const created = unsure.filter((_, index) => replies[index] === 1)
    if (created.length === 0) return clock
    const after = await this.#clock()
    if (after !== clock) await Promise.all(created.map((name) => this.#raise(name, after, 'hard')))
    return after
  }

  /** Whether all groups of an entry are known to live long enough: then there is nothing to ask before it is stored. */
  known(entry: Entry, key: string, ttlMs: number): boolean {
    return entry.groups.every((group) => this.#lives(this.#keys.group(group, key), ttlMs))
  }

  /** Whether an entry may still be stored; prolongs its groups, and creates those that its handler named first. */
  async admit(entry: Entry, key: string, ttlMs: number): Promise<boolean> {
    const unsure = this.#namesOf(entry.groups, key).filter((name) => !this.#lives(name, ttlMs))
    if (unsure.length === 0) return true
    const replies = await Promise.all(unsure.map((name) => this.#touch(name, '', ttlMs)))
    const stamps = replies.map((reply) => (Buffer.isBuffer(reply) ? decodeStamp(reply) : undefined))
    if (stamps.some((stamp) => stamp !== undefined && stamp.hard > entry.stamp)) return false
    const absent = unsure.filter((_, index) => stamps[index] === undefined)
    if (absent.length === 0) return true
    return (await this.#ensure(absent, await this.#clock(), ttlMs)) <= entry.stamp
  }

  /** Whether none of the entry's groups was invalidated since its stamp, as of this call. */
  async allow(entry: Entry, key: string): Promise<boolean> {
    const stamps = await this.read(entry.groups, key)
    return stamps.every((stamp) => stamp !== undefined && stamp.hard <= entry.stamp)
  }

  raise(groups: readonly string[], stamp: number, mode: 'hard' | 'soft'): Promise<(Stamp | undefined)[]> {
    return Promise.all(
      groups.map(async (group) => {
        const before = await Promise.all(this.#keys.copies(group).map((name) => this.#raise(name, stamp, mode)))
        return before.reduce(newer)
      }),
    )
  }

  /** Removes the stamps, where none can be written. */
  async remove(groups: readonly string[]): Promise<void> {
    const names = groups.flatMap((group) => this.#keys.copies(group))
    await Promise.all(names.map((name) => this.#sure.execute(['UNLINK', name], name)))
    for (const name of names) this.#livesUntil.delete(name)
  }

  forget(groups: readonly string[], key: string): void {
    for (const name of this.#namesOf(groups, key)) this.#livesUntil.delete(name)
  }

  #namesOf(groups: readonly string[], key: string): string[] {
    return groups.map((group) => this.#keys.group(group, key))
  }

  async #raise(name: string, stamp: number, mode: 'hard' | 'soft'): Promise<Stamp | undefined> {
    const before = await evalReplicated(this.#line, this.#sure, scripts.raise, [name], [String(stamp), mode])
    return Buffer.isBuffer(before) ? decodeStamp(before) : undefined
  }

  #lives(name: string, ttlMs: number): boolean {
    const until = this.#livesUntil.get(name)
    return until !== undefined && until >= Date.now() + ttlMs
  }

  async #touch(name: string, createAt: string, ttlMs: number): Promise<unknown> {
    const lifeMs = Math.max(2 * ttlMs, LEAST_LIFE_MS)
    const life = lifeMs === Infinity ? '0' : String(Math.ceil(lifeMs))
    const until = Date.now() + lifeMs
    const reply = await evaluate(this.#line, scripts.group, [name], [createAt, life])
    if (this.#livesUntil.size >= KNOWN_MAX) this.#livesUntil.clear()
    if (reply !== null) this.#livesUntil.set(name, until)
    return reply
  }

  async #clock(): Promise<number> {
    return Number(String(await evaluate(this.#line, scripts.clock, [this.#keys.clock], [])))
  }
}

/** Of copies that were raised together, one that is missing says nothing. */
function newer(one: Stamp | undefined, other: Stamp | undefined): Stamp | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return one.hard >= other.hard ? one : other
}
