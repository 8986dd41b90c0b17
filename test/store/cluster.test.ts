import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { slotOf } from '../../src/redis/command.js'
import { Keyspace } from '../../src/store/keyspace.js'
import { RedisStore } from '../../src/store/redis-store.js'
import { makeEntry } from '../support/entries.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { storeContract } from './contract.js'
import { storeOrders } from './orders.js'

let servers: RedisServer[] = []
const connections: Connection[] = []

async function connect(url: string, cluster: boolean): Promise<Connection> {
  const settings = { url, commandTimeout: '5s', invalidationTimeout: '5s', ...(cluster ? { cluster } : {}) } as const
  const connection = new Connection(resolveSettings(settings, {}), silentLogger)
  connections.push(connection)
  await connection.connect()
  return connection
}

/** Two masters that share the slots. */
async function startCluster(): Promise<string> {
  const args = ['--cluster-enabled', 'yes']
  servers = [await startRedis({ args }), await startRedis({ args })]
  const nodes = await Promise.all(servers.map(({ url }) => connect(url, false)))
  const ranges = [
    ['0', '3000', '9001', '16383'],
    ['3001', '9000'],
  ]
  for (const [index, node] of nodes.entries())
    await node.execute(['CLUSTER', 'ADDSLOTSRANGE', ...(ranges[index] ?? [])], undefined)
  await nodes[0]?.execute(['CLUSTER', 'MEET', '127.0.0.1', String(servers[1]?.port)], undefined)
  for (const node of nodes) {
    const isComplete = async () =>
      String(await node.execute(['CLUSTER', 'INFO'], undefined)).includes('cluster_state:ok')
    while (!(await isComplete())) await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return servers[0]?.url ?? ''
}

let line: Connection
let otherLine: Connection

beforeAll(async () => {
  const url = await startCluster()
  line = await connect(url, true)
  otherLine = await connect(url, true)
})

afterAll(async () => {
  await Promise.all(connections.map((connection) => connection.close()))
  await Promise.all(servers.map((server) => server.close()))
})

storeContract('cluster', async () => {
  const prefix = `test:${randomUUID()}`
  const keys = new Keyspace(prefix, true)
  const lose = async (names: readonly string[]): Promise<void> => {
    for (const name of names) await line.execute(['DEL', name], name)
  }
  return {
    store: new RedisStore(line, prefix),
    other: new RedisStore(otherLine, prefix),
    loseGroup: (group) => lose(keys.copies(group)),
    loseClock: () => lose([keys.clock]),
    outlive: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 5)),
    close: async () => {},
  }
})

storeOrders('cluster', () => [line, otherLine])

test('patterns and sweeps go through all masters of a cluster', async () => {
  const store = new RedisStore(line, `test:${randomUUID()}`)
  const names = Array.from({ length: 60 }, (_, n) => `value:n:${n}`)
  for (const key of names) await store.set(key, makeEntry({ groups: ['', 'g'] }), Infinity)
  const found = new Set<string>()
  let cursor = '0'
  do {
    const step = await store.match('entries', 'value:n:*', cursor, 5)
    for (const key of step.keys) found.add(key)
    cursor = step.cursor
  } while (cursor !== '0')
  expect(found).toEqual(new Set(names))
  await store.invalidate(['g'], 'hard')
  let removed = 0
  do {
    const step = await store.sweep(cursor, 5, Date.now())
    removed += step.removed
    cursor = step.cursor
  } while (cursor !== '0')
  expect(removed).toBe(60)
})

test('slots are those of the cluster specification', () => {
  expect([slotOf('123456789'), slotOf('foo'), slotOf('')]).toEqual([12739, 12182, 0])
})

test('the entry, the lease, the group and the variants of a path share a slot', () => {
  const keys = new Keyspace('test', true)
  const names = [keys.entry('/a'), keys.lease('/a'), keys.pathGroup('/a'), keys.variants('/a', 'vary')]
  expect(new Set(names.map(slotOf)).size).toBe(1)
})
