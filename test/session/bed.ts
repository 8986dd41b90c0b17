import { randomUUID } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { createRedis, type Redis, type RedisOptions, type Session, type SessionOptions } from '../../src/index.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

declare module '../../src/session/types.js' {
  interface SessionData {
    userId?: string | undefined
    cart?: string[] | undefined
    theme?: string | undefined
    count?: number | undefined
    passport?: { user?: unknown } | undefined
    views?: number | undefined
    nested?: { list: { n: number }[] } | undefined
    anything?: unknown
  }
}

/** A handle of its own, on the store, closed when the test ends. */
export async function handle(
  store: 'memory' | 'redis',
  sessions: SessionOptions = {},
  more: RedisOptions = {},
): Promise<Redis> {
  const own = { logger: silentLogger, sessions, ...more }
  const redis =
    store === 'memory'
      ? createRedis({ url: 'memory:', ...own })
      : createRedis({ url: (await sharedRedis()).url, prefix: `test:${randomUUID()}`, commandTimeout: 5, ...own })
  onTestFinished(() => redis.close())
  await redis.connect()
  return redis
}

/** A browser: keeps the cookie that it was sent last. */
export class Jar {
  cookie: string | undefined

  constructor(readonly redis: Redis) {}

  load(): Promise<Session> {
    return this.redis.sessions.load(this.cookie)
  }

  /** The response has arrived. */
  take(session: Session): void {
    const line = session.setCookie
    if (line === undefined) return
    const [pair = ''] = line.split(';')
    this.cookie = pair.endsWith('=') ? undefined : pair
  }

  /** A whole request. */
  async visit<T>(work: (session: Session) => T | Promise<T>, success = true): Promise<T> {
    const session = await this.load()
    const result = await work(session)
    try {
      await session.commit(success)
    } finally {
      this.take(session)
    }
    return result
  }
}
