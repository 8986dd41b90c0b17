import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { Keyspace } from '../../src/store/keyspace.js'
import { RedisStore } from '../../src/store/redis-store.js'
import { makeEntry } from '../support/entries.js'
import { sharedRedis, startRedis } from '../support/redis-server.js'
import { silentLogger } from '../support/logger.js'
import { Steps, storeContract, under } from './contract.js'
import { storeOrders } from './orders.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
let line: Connection
let otherLine: Connection

async function connect(url = server.url): Promise<Connection> {
  const connection = new Connection(
    resolveSettings({ url, commandTimeout: '5s', invalidationTimeout: '5s' }, {}),
    silentLogger,
  )
  await connection.connect()
  return connection
}

beforeAll(async () => {
  server = await sharedRedis()
  line = await connect()
  otherLine = await connect()
})

afterAll(async () => {
  await Promise.all([line.close(), otherLine.close()])
  await server.close()
})

storeContract('redis', async () => {
  const prefix = `test:${randomUUID()}`
  return {
    store: new RedisStore(line, prefix),
    other: new RedisStore(otherLine, prefix),
    loseGroup: async (group) => void (await line.execute(['DEL', ...new Keyspace(prefix).copies(group)], undefined)),
    loseClock: async () => void (await line.execute(['DEL', `${prefix}:clock`], undefined)),
    outlive: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 5)),
    close: async () => {},
  }
})

storeOrders('redis', () => [line, otherLine])

test.each([
  ['a string of something else', ['SET', 'KEY', 'hello']],
  ['a longer one', ['SET', 'KEY', 'x'.repeat(500)]],
  ['a list', ['RPUSH', 'KEY', 'a']],
  ['an entry of an older format', ['SET', 'KEY', `\u0001${'x'.repeat(100)}`]],
])('%s under a key of ours is one miss, and is overwritten', async (_, command) => {
  const prefix = `test:${randomUUID()}`
  const store = new RedisStore(line, prefix)
  const key = `${prefix}:entry:/a`
  await line.execute(
    command.map((text) => (text === 'KEY' ? key : text)),
    key,
  )
  const { entries } = await store.read(['/a'], [''])
  expect(entries[0]).toBeUndefined()
  const steps = new Steps(store)
  await steps.fill('/a')
  expect((await store.read(['/a'], [''])).entries[0]?.status).toBe(200)
})

test('everything in Redis has a reason to go away: entries and leases by TTL, groups outlive their entries', async () => {
  const prefix = `test:${randomUUID()}`
  const store = new RedisStore(line, prefix)
  const groups = ['', 'g', '=/a']
  const request = { token: 't', leaseMs: 5000, seen: undefined, absentGroups: groups, groupTtlMs: 7_200_000 }
  const reply = await store.acquireLease('/a', request)
  const lease = `${prefix}:lease:{${prefix}:entry:/a}`
  expect(Number(await line.execute(['PTTL', lease], lease))).toBeGreaterThan(0)
  const stamp = reply.state === 'granted' ? under(reply.stamp) : {}
  await store.publish('/a', { token: 't', entry: makeEntry({ ...stamp, groups }), ttlMs: 7_200_000 })
  expect(await line.execute(['EXISTS', lease], lease)).toBe(0)
  const ttl = async (key: string): Promise<number> =>
    Number(await line.execute(['PTTL', `${prefix}:${key}`], undefined))
  const entryTtl = await ttl('entry:/a')
  expect(entryTtl).toBeGreaterThan(0)
  for (const group of ['g', '', `{${prefix}:entry:/a}`]) expect(await ttl(`group:${group}`)).toBeGreaterThan(entryTtl)
})

test('an entry without expiry keeps its groups for good', async () => {
  const prefix = `test:${randomUUID()}`
  const store = new RedisStore(line, prefix)
  await store.set('/a', makeEntry({ groups: ['', 'g'] }), 1000)
  await store.set('/b', makeEntry({ groups: ['', 'g'] }), Infinity)
  for (const key of ['entry:/b', 'group:g', 'group:']) {
    expect(await line.execute(['PTTL', `${prefix}:${key}`], `${prefix}:${key}`)).toBe(-1)
  }
})

test('what is asked for twice in one turn of the event loop is read once, and not over turns', async () => {
  const prefix = `test:${randomUUID()}`
  const store = new RedisStore(line, prefix)
  await store.set('/a', makeEntry(), 60_000)
  const [one, two] = await Promise.all([store.read(['/a'], ['']), store.read(['/a'], [''])])
  expect(one.entries[0]).toBe(two.entries[0])
  const three = await store.read(['/a'], [''])
  expect(three.entries[0]).not.toBe(one.entries[0])
})

test('a server whose memory is full stores nothing, and still invalidates', async () => {
  const full = await startRedis()
  const connection = await connect(full.url)
  onTestFinished(async () => {
    await connection.close()
    await full.close()
  })
  const store = new RedisStore(connection, 'test')
  const steps = new Steps(store)
  const variant = { groups: ['', 'g', '=/a'] }
  for (const key of ['/a', '/b', '/c']) await steps.fill(key, { groups: ['', 'g'] })
  await steps.fill('/a|v', variant)
  const commit = await steps.write('/c', ['', 'g'])
  const commitVariant = await steps.write('/c', ['', '=/c'])
  await connection.execute(['CONFIG', 'SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction'], undefined)
  await expect(steps.acquire('/d')).rejects.toThrow('OOM')
  expect(await commit({ status: 202 })).toBe(false)
  expect(await commitVariant({ status: 202 }, { key: '/c|v' })).toBe(false)
  await store.evict(['/a'], 'hard')
  await store.evict(['/b'], 'soft')
  for (const key of ['/a', '/c']) expect(await steps.status(key, ['', 'g'])).toBeUndefined()
  expect(await steps.status('/a|v', variant.groups)).toBeUndefined()
  expect(await steps.find('/b', ['', 'g'])).toMatchObject({ softened: true })
  await store.invalidate(['g'], 'hard')
  expect(await steps.status('/b', ['', 'g'])).toBeUndefined()
})
