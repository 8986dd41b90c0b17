import type { RedisClientType } from '@redis/client'
import type { Redis } from '../../src/create-redis.js'
import { pause } from './database.js'
import type { Order, Outcome } from './processes.js'

/** Completed versions that are remembered for each key. */
const REMEMBERED = 200

const CLOCK = 'return redis.call("TIME")'

/**
 * Readers and writers of a few keys behind a near cache. A version is complete when the invalidation of the one before it
 * was confirmed. `stale` counts reads that began after a write of this very process had completed and got an older
 * version; `waitedMs` has, for each read that got an older version than another process had completed, for how long that
 * one had been complete.
 */
export async function runCoherence(order: Extract<Order, { task: 'coherence' }>, redis: Redis): Promise<Outcome> {
  const client = redis.client as RedisClientType
  const at = (kind: string, key: string): string => `${order.prefix}:${kind}:${key}`
  const keys = Array.from({ length: order.keys }, (_, index) => `k${index}`)
  const pick = (): string => keys[Math.floor(Math.random() * keys.length)] as string
  // The server's clock is that of all processes.
  const now = async (): Promise<number> => {
    const [seconds, micros] = (await client.eval(CLOCK)) as unknown as [string, string]
    return Number(seconds) * 1000 + Number(micros) / 1000
  }
  const own = new Map<string, number>()
  const endsAt = Date.now() + order.forMs
  const found = { reads: 0, loads: 0, stale: 0 }
  const lagsMs: number[] = []

  const write = async (): Promise<void> => {
    while (Date.now() < endsAt) {
      const key = pick()
      const version = await client.incr(at('db', key))
      const evicted = Math.random() < 0.5 ? await redis.cache.delete(key) : await redis.cache.deleteGroup(`of-${key}`)
      // An unconfirmed one is no promise to other processes yet, and this one serves nothing until it is confirmed.
      own.set(key, Math.max(own.get(key) ?? 0, version))
      if (typeof evicted === 'object' && !evicted.confirmed) continue
      await client.lPush(at('done', key), `${version}@${await now()}`)
      await client.lTrim(at('done', key), 0, REMEMBERED - 1)
      await pause(order.pauseMs)
    }
  }

  const read = async (): Promise<void> => {
    while (Date.now() < endsAt) {
      const key = pick()
      const [done, startedAt] = [await client.lRange(at('done', key), 0, -1), await now()]
      const ownVersion = own.get(key) ?? 0
      const version = await redis.cache.getOrSet(
        key,
        async () => {
          found.loads += 1
          return Number((await client.get(at('db', key))) ?? '0')
        },
        { ttl: 60, group: [`of-${key}`] },
      )
      found.reads += 1
      if (version < ownVersion) found.stale += 1
      for (const [completed = 0, completedAt = 0] of done.map((text) => text.split('@').map(Number)))
        if (completed > version) lagsMs.push(startedAt - completedAt)
      await pause(1)
    }
  }

  await Promise.all([write(), read(), read(), read(), read()])
  return {
    ...found,
    waitedMs: lagsMs,
    nearHits: redis.cache.stats().near?.hits,
    losses: redis.cache.stats().near?.losses,
  }
}
