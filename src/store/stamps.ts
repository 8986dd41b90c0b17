import { randomUUID } from 'node:crypto'
import { type CommandArgument, evaluate, type Reply, type Script } from '../redis/command.js'
import type { CommandBudget } from '../redis/deadline.js'
import { decodeGroupStamp, decodeStamp, encodeStamp } from './codec.js'
import { allows, type Entry, type GroupStamp, type Stamp } from './entry.js'
import type { Keyspace } from './keyspace.js'
import {
  evaluateReplicated,
  inChunks,
  lifeArgument,
  type RedisConnection,
  TurnReader,
  TurnShared,
} from './redis-commands.js'
import { scripts } from './scripts.js'
import type { InvalidationMode } from './store.js'

/** A group lives at least this long, so that a busy short-lived route does not extend it at every store. */
const LEAST_LIFE_MS = 3_600_000

/** Random numbers that a new clock takes as its incarnation: whole numbers that Lua and JavaScript print alike. */
const INCARNATIONS = 2 ** 48

/** The logical clock of one prefix and the stamps of its groups. */
export class Stamps {
  readonly #connection: RedisConnection
  readonly #replicated: RedisConnection
  readonly #keys: Keyspace
  readonly #reader: TurnReader<GroupStamp>
  readonly #shared = new TurnShared<Stamp>()
  readonly #isCluster: boolean

  constructor(connection: RedisConnection, keys: Keyspace, replicated: RedisConnection) {
    this.#connection = connection
    this.#replicated = replicated
    this.#keys = keys
    this.#isCluster = connection.topology === 'cluster'
    this.#reader = new TurnReader(connection, decodeGroupStamp)
  }

  /** Random number and name of the server, as scripts that may create the clock take them. */
  get clockArguments(): [nonce: string, server: string] {
    const nonce = Math.floor(Math.random() * INCARNATIONS)
    return [String(nonce), this.#connection.serverOf(this.#keys.clock)]
  }

  /** Reads the clock, once for all that ask in one turn. */
  clock(budget?: CommandBudget): Promise<Stamp> {
    return this.#shared.get('', budget, () =>
      evaluate(this.#connection, scripts.clock, [this.#keys.clock], [...this.clockArguments, ''], budget).then(toStamp),
    )
  }

  /** Advances the clock beyond itself, the server's time and `floor`. */
  async advance(budget: CommandBudget, floor = 0): Promise<Stamp> {
    const args = [...this.clockArguments, String(floor)]
    return toStamp(await this.#replicate(scripts.clock, [this.#keys.clock], args, budget))
  }

  readOne(group: string, key: string, budget?: CommandBudget): Promise<GroupStamp | undefined> {
    return this.#reader.get(this.#keys.groupsOf([group], key)[0] ?? '', budget)
  }

  read(groups: readonly string[], key: string, budget?: CommandBudget): Promise<readonly (GroupStamp | undefined)[]> {
    return Promise.all(this.#keys.groupsOf(groups, key).map((name) => this.#reader.get(name, budget)))
  }

  /**
   * Creates the missing ones of these groups and makes all of them live long enough, then reads the clock. Shared by
   * the callers of one turn that need the same groups.
   */
  ensure(groups: readonly string[], key: string, ttlMs: number, budget?: CommandBudget): Promise<Stamp> {
    const names = this.#keys.groupsOf(groups, key)
    const life = this.lifeOf(ttlMs)
    return this.#shared.get([life, ...names].join(' '), budget, () =>
      this.#isCluster ? this.#settle(names, life, budget) : this.#ensure(names, life, budget),
    )
  }

  /** Lifetime of the groups of an entry, in ms for a script. */
  lifeOf(ttlMs: number): string {
    return lifeArgument(Math.max(2 * ttlMs, LEAST_LIFE_MS))
  }

  /** One server: one script. */
  async #ensure(names: readonly string[], life: string, budget: CommandBudget | undefined): Promise<Stamp> {
    const args = [...this.clockArguments, life]
    return toStamp(await evaluate(this.#connection, scripts.ensure, [this.#keys.clock, ...names], args, budget))
  }

  /**
   * A cluster: mark, clock, settle. The clock is read while the mark stands, and replaces only that mark. An
   * invalidation removes the mark, so a group that was invalidated in between is not given a stamp from before. A mark
   * that another process has left behind is settled in the same way, and so is a stamp of another incarnation.
   */
  async #settle(names: readonly string[], life: string, budget: CommandBudget | undefined): Promise<Stamp> {
    const [first, seen] = await Promise.all([this.clock(budget), this.#mark(names, life, budget)])
    const isComplete = seen.every((reply) => presentStamp(reply, first.incarnation) !== undefined)
    return isComplete ? first : (await this.#settleMarks(names, seen, life, budget)).stamp
  }

  #mark(names: readonly string[], life: string, budget: CommandBudget | undefined): Promise<readonly Reply[]> {
    const mark = `?${randomUUID()}`
    return Promise.all(names.map((name) => evaluate(this.#connection, scripts.mark, [name], [mark, life], budget)))
  }

  /** Also returns what stands in the groups in the end. */
  async #settleMarks(
    names: readonly string[],
    seen: readonly Reply[],
    life: string,
    budget: CommandBudget | undefined,
  ): Promise<{ readonly stamp: Stamp; readonly settled: readonly Reply[] }> {
    const stamp = await this.clock(budget)
    const settled = await Promise.all(
      names.map(async (name, index) => {
        const reply = seen[index] ?? null
        if (presentStamp(reply, stamp.incarnation) !== undefined) return reply
        const args = [String(reply), `${encodeStamp(stamp)} 0`, life]
        return evaluate(this.#connection, scripts.settle, [name], args, budget)
      }),
    )
    return { stamp, settled }
  }

  /** A cluster: whether no group is newer than the entry. Creates missing groups, which a handler may have named. */
  async admits(entry: Entry, key: string, ttlMs: number, budget?: CommandBudget): Promise<boolean> {
    const names = this.#keys.groupsOf(entry.groups, key)
    const seen = await this.#mark(names, this.lifeOf(ttlMs), budget)
    const isAllowed = (replies: readonly Reply[]): boolean =>
      entry.groups.every((group, index) =>
        allows(entry, group, presentStamp(replies[index] ?? null, entry.incarnation)),
      )
    if (isAllowed(seen)) return true
    return isAllowed((await this.#settleMarks(names, seen, this.lifeOf(ttlMs), budget)).settled)
  }

  /** Invalidates groups at one new point of the clock, or later ones where a group's stamp is not older. */
  async invalidate(groups: readonly string[], mode: InvalidationMode): Promise<void> {
    const names = groups.flatMap((group) => this.#keys.copies(group))
    await inChunks(names, async (part, isBulk) => {
      const budget = isBulk ? this.#connection.bulkBudget() : this.#connection.invalidationBudget()
      if (this.#isCluster) await this.bumpAll(part, await this.advance(budget), mode, budget)
      else
        await this.#replicate(scripts.invalidate, [this.#keys.clock, ...part], [...this.clockArguments, mode], budget)
      return []
    })
  }

  /** Invalidates groups at a point of the clock. Returns the stamps that stood there; undefined where one was missing. */
  bump(
    groups: readonly string[],
    stamp: Stamp,
    mode: InvalidationMode,
    budget: CommandBudget,
  ): Promise<(GroupStamp | undefined)[]> {
    return Promise.all(
      groups.map(async (group) => {
        const before = await this.bumpAll(this.#keys.copies(group), stamp, mode, budget)
        return before.reduce(newest, undefined)
      }),
    )
  }

  /** A bump always rises: where a group's stamp is not older, the clock is advanced beyond it and the bump repeated. */
  async bumpAll(
    names: readonly string[],
    stamp: Stamp,
    mode: InvalidationMode,
    budget: CommandBudget,
  ): Promise<(GroupStamp | undefined)[]> {
    const args = [String(stamp.incarnation), String(stamp.at), mode]
    const replies = await Promise.all(names.map((name) => this.#replicate(scripts.bump, [name], args, budget)))
    const before = replies.map((reply) => presentStamp(reply, stamp.incarnation))
    const behind = names.filter((_, index) => newestOf(before[index]) >= stamp.at)
    if (behind.length > 0) {
      const floor = Math.max(...before.map(newestOf))
      await this.bumpAll(behind, await this.advance(budget, floor), mode, budget)
    }
    return before
  }

  #replicate(script: Script, keys: readonly string[], args: readonly CommandArgument[], budget: CommandBudget) {
    return evaluateReplicated(this.#connection, this.#replicated, script, keys, args, budget)
  }
}

function toStamp(reply: Reply): Stamp {
  return decodeStamp(String(reply))
}

/** The stamp in a reply; undefined where there is none of this incarnation. */
export function presentStamp(reply: Reply, incarnation: number): GroupStamp | undefined {
  const stamp = reply === null ? undefined : decodeGroupStamp(String(reply))
  return stamp?.incarnation === incarnation ? stamp : undefined
}

/** The last invalidation of a group, hard or soft; 0 for a missing stamp. */
export function newestOf(stamp: GroupStamp | undefined): number {
  return stamp === undefined ? 0 : Math.max(stamp.hard, stamp.soft)
}

/** Of copies that are raised together, a missing one says nothing. */
function newest(one: GroupStamp | undefined, other: GroupStamp | undefined): GroupStamp | undefined {
  return newestOf(one) > newestOf(other) ? one : (other ?? one)
}
