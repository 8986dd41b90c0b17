import { type CommandArgument, evaluate, type Receiver, type Reply, type Script } from '../redis/command.js'
import type { Connection } from '../redis/connection.js'
import type { CommandBudget } from '../redis/deadline.js'
import { decodeHead, type Entry, type EntryHead, type GroupStamp, HEAD_GUESS_BYTES } from './entry.js'
import type { ReadResult } from './store.js'

/** What the store needs of the connection to Redis. */
export type RedisConnection = Pick<
  Connection,
  | 'topology'
  | 'ask'
  | 'execute'
  | 'subscribe'
  | 'generation'
  | 'lives'
  | 'serverOf'
  | 'unbounded'
  | 'invalidationBudget'
  | 'bulkBudget'
>

type Arguments = readonly CommandArgument[]

/** Runs scripts. `replicated` carries what removes or replaces; with `waitForReplicas` it is a connection of its own. */
export class ScriptRunner {
  constructor(
    private readonly connection: RedisConnection,
    private readonly replicated: RedisConnection,
  ) {}

  run(script: Script, keys: readonly string[], args: Arguments, budget?: CommandBudget): Promise<Reply> {
    return evaluate(this.connection, script, keys, args, budget)
  }

  /**
   * Waits for replicas. Where these do not confirm the script, it is run on the primary all the same, so that other
   * processes do not serve what it removes, and the call still rejects.
   */
  async replicate(script: Script, keys: readonly string[], args: Arguments, budget?: CommandBudget): Promise<Reply> {
    try {
      return await evaluate(this.replicated, script, keys, args, budget)
    } catch (error) {
      if (this.replicated !== this.connection) await this.run(script, keys, args, budget).catch(() => {})
      throw error
    }
  }
}

/** The values of one list of keys, and the read that waits for both of its lists. */
class Slots<T> implements Taker<T> {
  readonly values: (T | undefined)[] = []

  constructor(private readonly read: EntryRead) {}

  take(index: number, value: T | undefined): void {
    this.values[index] = value
    this.read.taken()
  }

  fail(error: Error): void {
    this.read.failed(error)
  }
}

/** Entries and stamps that are read side by side, and the one promise for them. */
export class EntryRead {
  readonly entries = new Slots<Entry>(this)
  readonly stamps = new Slots<GroupStamp>(this)
  #resolve: (result: ReadResult) => void = ignore
  #reject: (error: Error) => void = ignore

  /** `waiting`: values that are asked for. */
  constructor(private waiting: number) {}

  /** Calls `ask`, which asks for every value once. */
  asked(ask: (read: this) => void): Promise<ReadResult> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      ask(this)
    })
  }

  taken(): void {
    this.waiting -= 1
    if (this.waiting === 0) this.#resolve({ entries: this.entries.values, stamps: this.stamps.values })
  }

  failed(error: Error): void {
    this.#reject(error)
  }
}

function ignore(): void {}

/** Keys in one part of a large call. A part is sent when the one before it was answered. */
const CHUNK = 100

/** Runs `task` on the items in parts, one after another. */
export async function inChunks<T, R>(
  items: readonly T[],
  task: (part: readonly T[], isBulk: boolean) => Promise<readonly R[]>,
): Promise<readonly R[]> {
  if (items.length <= CHUNK) return task(items, false)
  const results: R[] = []
  for (let start = 0; start < items.length; start += CHUNK)
    results.push(...(await task(items.slice(start, start + CHUNK), true)))
  return results
}

/** Milliseconds as the scripts take them: whole, at least 1, and 0 for no end. */
export function lifeArgument(ttlMs: number): string {
  return ttlMs === Infinity ? '0' : String(Math.max(1, Math.ceil(ttlMs)))
}

/**
 * Results that all callers of one turn of the event loop share. Sound because the client writes its queue after the
 * turn: every caller asked before the command was sent, so the answer is not older than the question.
 */
export class TurnShared<T> {
  #turn = new Map<string, { readonly result: Promise<T>; readonly remainingMs: number }>()

  /** A caller with more time left than the one whose command is shared sends its own. */
  get(key: string, budget: CommandBudget | undefined, send: () => Promise<T>): Promise<T> {
    const turn = this.#turn
    if (turn.size === 0) setImmediate(() => (this.#turn = new Map()))
    const remainingMs = budget?.remainingMs ?? Infinity
    const shared = turn.get(key)
    if (shared !== undefined && shared.remainingMs >= remainingMs) return shared.result
    const result = send()
    turn.set(key, { result, remainingMs })
    return result
  }
}

/** A waiter for the value of one of several keys; `index` is the waiter's own number for it. */
export interface Taker<T> {
  take(index: number, value: T | undefined): void
  fail(error: Error): void
}

/** One GET under way, and all of its turn who wait for it. Decoded when the reply comes, without a promise between. */
class SharedGet<T> implements Receiver {
  readonly #takers: Taker<T>[] = []
  readonly #indices: number[] = []
  /** The value, for readers that arrive after it. */
  #end: { readonly value: T | undefined } | Error | undefined = undefined

  constructor(
    private readonly key: string,
    private readonly decode: (bytes: Buffer, key: string) => T | undefined,
    readonly remainingMs: number,
  ) {}

  add(taker: Taker<T>, index: number): void {
    if (this.#end instanceof Error) return taker.fail(this.#end)
    if (this.#end !== undefined) return taker.take(index, this.#end.value)
    this.#takers.push(taker)
    this.#indices.push(index)
  }

  readonly onReply = (reply: Reply): void => {
    const value = Buffer.isBuffer(reply) ? this.decode(reply, this.key) : undefined
    this.#end = { value }
    for (let n = 0; n < this.#takers.length; n += 1) this.#takers[n]?.take(this.#indices[n] ?? 0, value)
  }

  /** A key of ours that holds another type than a string is one miss, like any other foreign content. */
  readonly onError = (error: Error): void => {
    if (error.message.startsWith('WRONGTYPE')) return this.onReply(null)
    this.#end = error
    for (const taker of this.#takers) taker.fail(error)
  }
}

/** Reads strings; those that are read twice in one turn of the event loop are read once: see `TurnShared`. */
export class TurnReader<T> {
  #turn = new Map<string, SharedGet<T>>()

  constructor(
    private readonly connection: RedisConnection,
    private readonly decode: (bytes: Buffer, key: string) => T | undefined,
  ) {}

  /** The taker gets the value when it is there, the error of a command that cannot be sent within this call. */
  ask(key: string, budget: CommandBudget | undefined, taker: Taker<T>, index: number): void {
    const turn = this.#turn
    if (turn.size === 0) setImmediate(() => (this.#turn = new Map()))
    const remainingMs = budget?.remainingMs ?? Infinity
    const shared = turn.get(key)
    if (shared !== undefined && shared.remainingMs >= remainingMs) return shared.add(taker, index)
    const get = new SharedGet(key, this.decode, remainingMs)
    get.add(taker, index)
    turn.set(key, get)
    this.connection.ask(['GET', key], key, budget, get)
  }

  get(key: string, budget?: CommandBudget): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.ask(key, budget, { take: (_, value) => resolve(value), fail: reject }, 0)
    })
  }

  /** One MGET where one server holds all keys. */
  getMany(keys: readonly string[], budget?: CommandBudget): Promise<readonly (T | undefined)[]> {
    return inChunks(keys, async (part, isBulk) => {
      const limit = isBulk ? this.connection.bulkBudget() : budget
      if (part.length <= 1 || this.connection.topology === 'cluster')
        return Promise.all(part.map((key) => this.get(key, limit)))
      const replies = await this.connection.execute(['MGET', ...part], part[0], limit)
      if (!Array.isArray(replies)) return []
      return replies.map((reply: Reply, index) =>
        Buffer.isBuffer(reply) ? this.decode(reply, part[index] ?? '') : undefined,
      )
    })
  }
}

/** A key of ours that holds another type than a string is one miss, like any other foreign content. */
export function absentIfForeign(error: unknown): null {
  if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return null
  throw error
}

/** Entries without their bodies: two commands only where an entry has very many header fields. */
export function readHeads(
  connection: RedisConnection,
  names: readonly string[],
): Promise<readonly (EntryHead | undefined)[]> {
  const read = async (name: string, bytes: number): Promise<EntryHead | undefined> => {
    const command = ['GETRANGE', name, '0', String(bytes - 1)]
    const reply = await connection.execute(command, name, connection.bulkBudget()).catch(absentIfForeign)
    const decoded = Buffer.isBuffer(reply) ? decodeHead(reply) : undefined
    if (decoded === undefined || 'head' in decoded) return decoded?.head
    return bytes >= decoded.more ? undefined : read(name, decoded.more)
  }
  return inChunks(names, (part) => Promise.all(part.map((name) => read(name, HEAD_GUESS_BYTES))))
}
