import type { RedisClientType } from '@redis/client'
import { createRedis } from '../../src/create-redis.js'
import { runCoherence } from './coherence.js'
import { Database, pause } from './database.js'
import { makeProtocol } from './protocols.js'
import type { Order, Outcome } from './processes.js'
import { runWaiting } from './waiting.js'
import { runWriteThroughs } from './write-throughs.js'

/*
 * One process of a race. It is told what to do in one message, does it, answers in one message and ends when it is
 * disconnected.
 */
process.once('message', (order: Order) => {
  run(order).then(
    (outcome) => process.send?.(outcome),
    (error: unknown) => process.send?.({ error: String(error instanceof Error ? error.stack : error) }),
  )
})

async function run(order: Order): Promise<Outcome> {
  const redis = createRedis({
    url: order.url,
    prefix: order.prefix,
    commandTimeout: order.task === 'waiting' || order.task === 'coherence' ? 500 : 10,
    ...(order.task === 'coherence' && { near: { maxBytes: 4 * 1024 * 1024 } }),
    logger: SILENT,
  })
  await redis.connect()
  const database = new Database(redis.client as RedisClientType, order.prefix)
  try {
    switch (order.task) {
      case 'race':
        return await race(order, redis, database)
      case 'stampede':
        return await stampede(order, redis)
      case 'waiting':
        return await runWaiting(order, redis)
      case 'coherence':
        return await runCoherence(order, redis)
      case 'write-through':
        return await runWriteThroughs(order, redis, database)
    }
  } finally {
    await redis.close()
  }
}

const SILENT = { info: () => {}, warn: () => {}, error: () => {} }

async function race(
  order: Extract<Order, { task: 'race' }>,
  redis: ReturnType<typeof createRedis>,
  database: Database,
): Promise<Outcome> {
  const protocol = makeProtocol(order.protocol, redis, order.prefix)
  const keys = Array.from({ length: order.keys }, (_, index) => `k${index}`)
  const pick = (): string => keys[Math.floor(Math.random() * keys.length)] as string
  let reads = 0
  let loads = 0
  let stale = 0
  const writing = new Set<number>()
  const write = async (writer: number): Promise<void> => {
    writing.add(writer)
    for (let index = 0; index < order.writes; index += 1) {
      const key = pick()
      const commit = (): Promise<number> => database.commit(key)
      const version = await (protocol.write?.(key, commit) ?? commit())
      await protocol.invalidate(key)
      await database.complete(key, version)
      await pause(12)
    }
    writing.delete(writer)
  }
  const read = async (): Promise<void> => {
    while (writing.size > 0) {
      const key = pick()
      const atLeast = await database.completed(key)
      const version = await protocol.read(key, () => {
        loads += 1
        return database.load(key)
      })
      reads += 1
      if (version < atLeast) stale += 1
      await pause(2)
    }
  }
  await Promise.all([
    ...Array.from({ length: order.writers }, (_, index) => write(index)),
    ...Array.from({ length: order.readers }, () => read()),
  ])
  return { reads, loads, stale, waitedMs: [] }
}

/** Many callers of one cold key at once. The handler counts itself in Redis, so that runs of all processes add up. */
async function stampede(
  order: Extract<Order, { task: 'stampede' }>,
  redis: ReturnType<typeof createRedis>,
): Promise<Outcome> {
  const client = redis.client as RedisClientType
  const runs = `${order.prefix}:runs`
  const startAt = order.startAt
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, startAt - Date.now())))
  const waitedMs = await Promise.all(
    Array.from({ length: order.callers }, async () => {
      const began = performance.now()
      const value = await redis.cache.getOrSet(
        'cold',
        async () => {
          const own = await client.incr(runs)
          process.send?.({ running: own })
          await new Promise((resolve) => setTimeout(resolve, order.handlerMs))
          return order.storable ? { own } : undefined
        },
        { ttl: 60 },
      )
      if (order.storable && value === undefined) throw new Error('no value')
      return performance.now() - began
    }),
  )
  return { reads: order.callers, loads: Number(await client.get(runs)), stale: 0, waitedMs }
}
