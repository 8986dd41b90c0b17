import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { Keyspace } from '../../src/store/keyspace.js'
import { RedisStore } from '../../src/store/redis-store.js'
import { onIoRedis } from '../support/ioredis.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { storeContract } from './contract.js'
import { storeOrders } from './orders.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
let lines: Connection[] = []
const cleanups: (() => Promise<void>)[] = []

beforeAll(async () => {
  server = await sharedRedis()
  const settings = () => ({ ...onIoRedis(server.url, (end) => void cleanups.push(end)), commandTimeout: '5s' }) as const
  lines = [settings(), settings()].map((one) => new Connection(resolveSettings(one, {}), silentLogger))
  for (const line of lines) await line.connect()
})

afterAll(async () => {
  for (const line of lines) await line.close()
  for (const end of cleanups) await end()
  await server.close()
})

const [line, otherLine] = [0, 1].map((index) => () => lines[index] as Connection) as [
  () => Connection,
  () => Connection,
]

storeContract('ioredis', async () => {
  const prefix = `test:${randomUUID()}`
  const lose = async (names: readonly string[]): Promise<void> =>
    void (await line().execute(['DEL', ...names], names[0]))
  return {
    store: new RedisStore(line(), prefix),
    other: new RedisStore(otherLine(), prefix),
    loseGroup: (group) => lose(new Keyspace(prefix).copies(group)),
    loseClock: () => lose([`${prefix}:clock`]),
    outlive: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 5)),
    close: async () => {},
  }
})

storeOrders('ioredis', () => [line(), otherLine()])
