import { setTimeout as delay } from 'node:timers/promises'
import type { RedisClientType } from '@redis/client'

const RAISE = `local old = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > old then redis.call('SET', KEYS[1], ARGV[1]) end
return 0`

/** The source of truth of a race: a version per key, and the newest version whose invalidation has completed. */
export class Database {
  readonly #client: RedisClientType
  readonly #prefix: string

  constructor(client: RedisClientType, prefix: string) {
    this.#client = client
    this.#prefix = prefix
  }

  /** Reads with the delays of a real one, before and after the read itself. */
  async load(key: string): Promise<number> {
    await pause(4)
    const version = Number((await this.#client.get(`${this.#prefix}:db:${key}`)) ?? '0')
    await pause(8)
    return version
  }

  current(key: string): Promise<number> {
    return this.#client.get(`${this.#prefix}:db:${key}`).then((version) => Number(version ?? '0'))
  }

  commit(key: string): Promise<number> {
    return this.#client.incr(`${this.#prefix}:db:${key}`)
  }

  /** Says that everybody must see this version from now on. */
  async complete(key: string, version: number): Promise<void> {
    await this.#client.eval(RAISE, { keys: [`${this.#prefix}:done:${key}`], arguments: [String(version)] })
  }

  completed(key: string): Promise<number> {
    return this.#client.get(`${this.#prefix}:done:${key}`).then((version) => Number(version ?? '0'))
  }
}

export function pause(upToMs: number): Promise<void> {
  return delay(Math.random() * upToMs)
}
