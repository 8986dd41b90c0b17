import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { createRedis, type Redis, type RedisOptions } from '../../src/index.js'
import { type TestClock, testClock } from '../../src/testing/index.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

export interface Backends {
  readonly clock: TestClock
  /** One on the store under test, in a world of its own. */
  make(options?: RedisOptions): Promise<Redis>
  /** Another process on the same entries. */
  beside(redis: Redis, options?: RedisOptions): Promise<Redis>
}

/** Backends on the embedded store, or on a real Redis; all are closed after each test. */
export function backends(where: string): Backends {
  const clock = testClock()
  const open: Redis[] = []
  let server: Awaited<ReturnType<typeof sharedRedis>>

  beforeAll(async () => {
    server = await sharedRedis()
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((redis) => redis.close()))
  })
  afterAll(() => server.close())

  async function make(options: RedisOptions = {}): Promise<Redis> {
    const store =
      where === 'memory' ? { url: 'memory:' } : { url: server.url, prefix: `test:${randomUUID()}`, commandTimeout: 5 }
    const redis = await createRedis({ ...store, now: clock.now, logger: silentLogger, ...options }).connect()
    open.push(redis)
    return redis
  }
  return { clock, make, beside: (redis, options) => make({ prefix: redis.settings.prefix, ...options }) }
}

/** A promise and its ends. */
export function deferred<T = void>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: Error) => void
} {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/** A loader that counts how often it ran. */
export function counting(): { readonly runs: number; load: () => Promise<number> } {
  const counter = { runs: 0, load: async () => (counter.runs += 1) }
  return counter
}
