import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { createRedis } from '../../src/create-redis.js'
import type { RedisSettings } from '../../src/redis/settings.js'
import { recordingLogger } from '../support/logger.js'
import { SentinelTrio } from '../support/redis-sentinel.js'

export const TIMEOUT_MS = 60_000
export const PASSWORD = 'of-the-master'
export const SENTINEL_PASSWORD = 'of-the-sentinels'

/** One master with its sentinels for the tests of the file that imports this. */
export let trio: SentinelTrio
const cleanups: (() => Promise<unknown>)[] = []
export const atEnd = (cleanup: () => Promise<void>): void => void cleanups.push(cleanup)

beforeAll(async () => {
  trio = await SentinelTrio.start({ password: PASSWORD, sentinelPassword: SENTINEL_PASSWORD })
}, TIMEOUT_MS)

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

afterAll(() => trio.close())

export function settings(more: RedisSettings = {}): RedisSettings {
  return {
    sentinel: { nodes: trio.nodes, password: SENTINEL_PASSWORD },
    password: PASSWORD,
    connectTimeout: '5s',
    socketTimeout: '1s',
    ...more,
  }
}

export function open(more: RedisSettings = {}) {
  const logger = recordingLogger()
  const redis = createRedis({ ...settings(more), prefix: `sentinel:${randomUUID()}`, logger })
  atEnd(() => redis.close())
  return { redis, lines: logger.lines }
}
