import type { CommandArgument, Connection, Reply } from '../../connection/connection.js'

/** What the store asks of the line to Redis. */
export type Line = Pick<Connection, 'topology' | 'execute' | 'subscribe' | 'generation' | 'lives' | 'unbounded'>

/**
 * GETs that share what is asked for twice in one turn of the event loop: the stamp of a group that many requests of
 * the turn carry, or one hot entry. Sound because the client writes its queue after the turn: whoever shares a GET
 * asked before it was sent, so the answer is not older than the question.
 */
export class TurnReader<T> {
  readonly #line: Line
  readonly #decode: (bytes: Buffer) => T | undefined
  #turn: Map<string, Promise<T | undefined>> | undefined

  constructor(line: Line, decode: (bytes: Buffer) => T | undefined) {
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
