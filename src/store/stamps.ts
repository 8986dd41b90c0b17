import { randomUUID } from 'node:crypto'
import type { Reply } from '../redis/command.js'
import type { CommandBudget } from '../redis/deadline.js'
import { allows, decodeGroupStamp, decodeStamp, type Entry, type GroupStamp, type Stamp } from './entry.js'
import type { Keyspace } from './keyspace.js'
import {
  inChunks,
  lifeArgument,
  type RedisConnection,
  type ScriptRunner,
  type Taker,
  TurnReader,
  TurnShared,
} from './redis-commands.js'
import { scripts } from './scripts.js'
import type { InvalidationMode } from './store.js'

/** A group lives at least this long, so that a busy short-lived route does not extend it at every store. */
const LEAST_LIFE_MS = 3_600_000

/** Random numbers that a new clock takes as its incarnation: whole numbers that Lua and JavaScript print alike. */
const INCARNATIONS = 2 ** 48

/** The clock as it stands, and the lives of its server that it knows: the last one and the one before. */
interface Clock extends Stamp {
  readonly servers: readonly string[]
}

function decodeClock(bytes: Buffer): Clock | undefined {
  const [, incarnation, at, ...servers] = /^(\d+) (\d+) (\S*) ?(\S*)$/.exec(bytes.toString('latin1')) ?? []
  if (incarnation === undefined || at === undefined) return undefined
  return { incarnation: Number(incarnation), at: Number(at), servers }
}

/** The logical clock of one prefix and the stamps of its groups. */
export class Stamps {
  readonly #reader: TurnReader<GroupStamp>
  readonly #clocks: TurnReader<Clock>
  readonly #shared = new TurnShared<Stamp>()
  readonly #isCluster: boolean

  constructor(
    private readonly connection: RedisConnection,
    private readonly runner: ScriptRunner,
    private readonly keys: Keyspace,
  ) {
    this.#isCluster = connection.topology === 'cluster'
    this.#reader = new TurnReader(connection, decodeGroupStamp)
    this.#clocks = new TurnReader(connection, decodeClock)
  }

  /** Random number and name of the server, as scripts that may create the clock take them. */
  get clockArguments(): [nonce: string, server: string] {
    const nonce = Math.floor(Math.random() * INCARNATIONS)
    return [String(nonce), this.connection.serverOf(this.keys.clock)]
  }

  /**
   * Reads the clock, once for all callers of one turn of the event loop: a plain GET, and a script if the clock does not
   * exist yet or was written under another identity of its server.
   */
  async clock(budget?: CommandBudget): Promise<Stamp> {
    const known = await this.#clocks.get(this.keys.clock, budget)
    const server = this.connection.serverOf(this.keys.clock)
    if (known !== undefined && (server === '' || known.servers.includes(server)))
      return { incarnation: known.incarnation, at: known.at }
    return this.#shared.get('', budget, () =>
      this.runner.run(scripts.clock, [this.keys.clock], [...this.clockArguments, ''], budget).then(decodeStamp),
    )
  }

  /** Advances the clock beyond itself, the server's time and `floor`. */
  async advance(budget: CommandBudget, floor = 0): Promise<Stamp> {
    const args = [...this.clockArguments, String(floor)]
    return decodeStamp(await this.runner.replicate(scripts.clock, [this.keys.clock], args, budget))
  }

  /** The taker gets each group's stamp by its place in the list. */
  ask(groups: readonly string[], key: string, budget: CommandBudget | undefined, taker: Taker<GroupStamp>): void {
    const names = this.keys.groupsOf(groups, key)
    for (let index = 0; index < names.length; index += 1) this.#reader.ask(names[index] ?? '', budget, taker, index)
  }

  readOne(group: string, key: string, budget?: CommandBudget): Promise<GroupStamp | undefined> {
    return this.#reader.get(this.keys.groupsOf([group], key)[0] ?? '', budget)
  }

  read(groups: readonly string[], key: string, budget?: CommandBudget): Promise<readonly (GroupStamp | undefined)[]> {
    return Promise.all(this.keys.groupsOf(groups, key).map((name) => this.#reader.get(name, budget)))
  }

  /**
   * Creates the missing ones of these groups and makes all of them live long enough, then reads the clock. Shared by
   * the callers of one turn that need the same groups.
   */
  ensure(groups: readonly string[], key: string, ttlMs: number, budget?: CommandBudget): Promise<Stamp> {
    const names = this.keys.groupsOf(groups, key)
    const life = this.lifeOf(ttlMs)
    return this.#shared.get([life, ...names].join(' '), budget, async () => {
      if (this.#isCluster) return this.#settle(names, life, budget)
      const args = [...this.clockArguments, life]
      return decodeStamp(await this.runner.run(scripts.ensure, [this.keys.clock, ...names], args, budget))
    })
  }

  /** Lifetime of the groups of an entry, in ms for a script. */
  lifeOf(ttlMs: number): string {
    return lifeArgument(Math.max(2 * ttlMs, LEAST_LIFE_MS))
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
    return Promise.all(names.map((name) => this.runner.run(scripts.mark, [name], [mark, life], budget)))
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
        const args = [String(reply), `${stamp.incarnation} ${stamp.at} 0`, life]
        return this.runner.run(scripts.settle, [name], args, budget)
      }),
    )
    return { stamp, settled }
  }

  /** A cluster: whether no group is newer than the entry. Creates missing groups, which a handler may have named. */
  async admits(entry: Entry, key: string, ttlMs: number, budget?: CommandBudget): Promise<boolean> {
    const names = this.keys.groupsOf(entry.groups, key)
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
    const names = groups.flatMap((group) => this.keys.copies(group))
    await inChunks(names, async (part, isBulk) => {
      const budget = isBulk ? this.connection.bulkBudget() : this.connection.invalidationBudget()
      if (this.#isCluster) await this.bumpAll(part, await this.advance(budget), mode, budget)
      else
        await this.runner.replicate(
          scripts.invalidate,
          [this.keys.clock, ...part],
          [...this.clockArguments, mode],
          budget,
        )
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
        const before = await this.bumpAll(this.keys.copies(group), stamp, mode, budget)
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
    const replies = await Promise.all(names.map((name) => this.runner.replicate(scripts.bump, [name], args, budget)))
    const before = replies.map((reply) => presentStamp(reply, stamp.incarnation))
    const behind = names.filter((_, index) => newestOf(before[index]) >= stamp.at)
    if (behind.length > 0) {
      const floor = Math.max(...before.map(newestOf))
      await this.bumpAll(behind, await this.advance(budget, floor), mode, budget)
    }
    return before
  }
}

/** The stamp in a reply; undefined where there is none of this incarnation. */
export function presentStamp(reply: Reply, incarnation: number): GroupStamp | undefined {
  const stamp = decodeGroupStamp(String(reply))
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

/** Names kept in Redis. Beyond that all are forgotten, and servers are met for the first time again. */
const KEPT_MAX = 1000

/** The names are written again this often while entries are filled, so that a server that evicts keeps them. */
const KEEP_MS = 60_000

/**
 * Detects servers that may have lost invalidations. A server that was restarted with its data, or promoted from a
 * replica, may lack the last ones that its predecessor confirmed, and the entries that these removed are back. Each life
 * of a server has a name that older data cannot hold. A process that meets a name which is not listed under the prefix
 * invalidates everything there and then lists it, so one process does it for all.
 */
export class Incarnations {
  #known = 0
  #keptAt = 0
  #learning: Promise<void> | undefined

  constructor(
    private readonly connection: RedisConnection,
    private readonly key: string,
    private readonly invalidateAll: () => Promise<unknown>,
  ) {}

  /** Undefined when every server that this process has met is listed; otherwise what a read has to wait for. */
  get learning(): Promise<void> | undefined {
    if (this.#known === this.connection.generation) return undefined
    this.#learning ??= this.#learn().finally(() => {
      this.#learning = undefined
    })
    return this.#learning
  }

  /** Before anything is stored: it would be invalidated along with the old entries. */
  async learned(): Promise<void> {
    for (let learning = this.learning; learning !== undefined; learning = this.learning) await learning
  }

  /** Writes the names again from time to time. */
  keep(): void {
    const now = performance.now()
    if (now - this.#keptAt < KEEP_MS || this.#known !== this.connection.generation || this.#known === 0) return
    this.#keptAt = now
    void this.#write(this.connection.lives)
  }

  async #learn(): Promise<void> {
    const { generation, lives } = this.connection
    const known = (await this.connection.execute(['SMISMEMBER', this.key, ...lives], this.key)) as readonly number[]
    if (known.includes(0)) {
      await this.invalidateAll()
      await this.#write(lives)
    }
    this.#known = generation
    this.#keptAt = performance.now()
  }

  /** Where the server takes no writes now, the next process invalidates once more. */
  async #write(lives: readonly string[]): Promise<void> {
    try {
      const count = await this.connection.execute(['SCARD', this.key], this.key)
      if (Number(count) > KEPT_MAX) await this.connection.execute(['UNLINK', this.key], this.key)
      await this.connection.execute(['SADD', this.key, ...lives], this.key)
    } catch {
      // What was invalidated stays invalid.
    }
  }
}
