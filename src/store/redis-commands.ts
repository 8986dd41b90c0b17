import { type CommandArgument, evaluate, type Reply, type Script } from '../redis/command.js'
import type { Connection } from '../redis/connection.js'
import type { CommandBudget } from '../redis/deadline.js'
import { decodeHead, type EntryHead, HEAD_GUESS_BYTES } from './entry.js'

/** What the store needs of the connection to Redis. */
export type RedisConnection = Pick<
  Connection,
  | 'topology'
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

/** Reads strings; those that are read twice in one turn are read once. */
export class TurnReader<T> {
  readonly #shared = new TurnShared<T | undefined>()

  constructor(
    private readonly connection: RedisConnection,
    private readonly decode: (bytes: Buffer) => T | undefined,
  ) {}

  get(key: string, budget?: CommandBudget): Promise<T | undefined> {
    return this.#shared.get(key, budget, () =>
      this.connection.execute(['GET', key], key, budget).then(this.#read, absentIfForeign),
    )
  }

  /** One MGET where one server holds all keys. */
  getMany(keys: readonly string[], budget?: CommandBudget): Promise<readonly (T | undefined)[]> {
    return inChunks(keys, async (part, isBulk) => {
      const limit = isBulk ? this.connection.bulkBudget() : budget
      if (part.length <= 1 || this.connection.topology === 'cluster')
        return Promise.all(part.map((key) => this.get(key, limit)))
      const replies = await this.connection.execute(['MGET', ...part], part[0], limit)
      return Array.isArray(replies) ? replies.map(this.#read) : []
    })
  }

  readonly #read = (reply: Reply): T | undefined => (Buffer.isBuffer(reply) ? this.decode(reply) : undefined)
}

/** A key of ours that holds another type than a string is one miss, like any other foreign content. */
function absentIfForeign(error: unknown): undefined {
  if (!(error instanceof Error && error.message.startsWith('WRONGTYPE'))) throw error
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
