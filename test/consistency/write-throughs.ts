import { encodeGroup, entryGroups, valueKey } from '../../src/cache/key.js'
import type { Redis } from '../../src/create-redis.js'
import type { RedisClientType } from '@redis/client'
import { makeEntry } from '../support/entries.js'
import { type Database, pause } from './database.js'
import type { Order, Outcome } from './processes.js'

/** Writers of one key that commit, and store what they committed, each at its own pace. */
export async function runWriteThroughs(
  order: Extract<Order, { task: 'write-through' }>,
  redis: Redis,
  database: Database,
): Promise<Outcome> {
  const client = redis.client as RedisClientType
  for (let index = 0; index < order.rounds; index += 1) {
    const key = `w${index}`
    await barrier(client, `${order.prefix}:barrier:${index}`, order.processes)
    if (order.naive) {
      await pause(3)
      const version = await database.commit(key)
      await pause(6)
      await client.set(`${order.prefix}:naive:${key}`, String(version))
    } else {
      const name = valueKey('', key)
      const groups = entryGroups([encodeGroup('w')])
      const write = await redis.scope.beginWrite({ key: name, path: name, groups }, { groupTtlMs: 60_000 })
      await pause(3)
      const version = await database.commit(key)
      await pause(6)
      if (write === undefined) throw new Error('the write did not begin')
      const body = Buffer.from(JSON.stringify(version))
      const entry = makeEntry({ kind: 'value', headers: ['coder', 'json'], body, groups })
      await redis.scope.commit(write, { entry, ttlMs: 60_000 }, {})
    }
    await database.complete(key, index)
  }
  return { reads: order.rounds, loads: 0, stale: 0, waitedMs: [] }
}

/** All processes begin a round together; without it their writes would not overlap. */
async function barrier(client: RedisClientType, name: string, processes: number): Promise<void> {
  await client.incr(name)
  while (Number(await client.get(name)) < processes) await new Promise((resolve) => setImmediate(resolve))
}
