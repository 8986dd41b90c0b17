import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import { RedisCluster } from '../support/redis-cluster.js'
import type { RedisServer } from '../support/redis-server.js'
import { leave } from './leave.js'
import { problemsIn, Traffic } from './traffic.js'

const TIMEOUT_MS = 60_000

let cluster: RedisCluster
const cleanups: (() => Promise<unknown>)[] = []
const atEnd = (cleanup: () => Promise<void>): void => void cleanups.push(cleanup)

beforeAll(async () => {
  cluster = await RedisCluster.start()
}, TIMEOUT_MS)

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

afterAll(() => cluster.close())

async function connect(url = cluster.url): Promise<Redis> {
  const redis = createRedis({
    url,
    cluster: true,
    prefix: `cluster:${randomUUID()}`,
    logger: silentLogger,
    connectTimeout: '5s',
  })
  atEnd(() => redis.close())
  return redis.connect()
}

function startTraffic(): Promise<Traffic> {
  return Traffic.start({ url: cluster.url, cluster: true, connectTimeout: '5s' }, atEnd)
}

async function fill(redis: Redis, count: number, more: readonly string[] = []): Promise<void> {
  for (let index = 0; index < count; index += 1)
    await redis.cache.getOrSet(`key-${index}`, () => index, { ttl: 60, group: [`group-${index}`, ...more] })
}

async function found(redis: Redis, count: number): Promise<number> {
  const values = await Promise.all(Array.from({ length: count }, (_, index) => redis.cache.get(`key-${index}`)))
  return values.filter((value, index) => value === index).length
}

/** The primary that owns the key of an item of the traffic. */
async function ownerOf(key: string): Promise<RedisServer> {
  const slot = Number(await cluster.ask(cluster.nodes[0] as RedisServer, 'CLUSTER', 'KEYSLOT', key))
  const line = (await cluster.ask(cluster.nodes[0] as RedisServer, 'CLUSTER', 'NODES')).split('\n').find((text) =>
    text
      .split(' ')
      .slice(8)
      .some((range) => {
        const [from = Number.NaN, to = from] = range.split('-').map(Number)
        return slot >= from && slot <= to
      }),
  )
  const port = Number(/:(\d+)@/.exec(line ?? '')?.[1])
  return cluster.nodes.find((node) => node.port === port) as RedisServer
}

test('entries, groups and leases are spread over all primaries, and one call invalidates a group on all of them', async () => {
  const redis = await connect()
  await fill(redis, 60, ['all'])
  expect(await found(redis, 60)).toBe(60)
  for (const node of await cluster.primaries()) {
    expect(await cluster.ask(node, '--scan', '--pattern', `${redis.settings.prefix}:entry:*`)).not.toBe('')
    expect(await cluster.ask(node, '--scan', '--pattern', `${redis.settings.prefix}:group:*`)).not.toBe('')
  }
  expect(await redis.cache.deleteGroup('group-7')).toMatchObject({ confirmed: true })
  expect(await found(redis, 60)).toBe(59)
  await redis.cache.deleteGroup('all')
  expect(await found(redis, 60)).toBe(0)
})

test('one handler runs for a key over two processes, wherever the key lives', async () => {
  const [one, prefix] = [await connect(), randomUUID()]
  const other = createRedis({ ...settingsOf(one), logger: silentLogger })
  atEnd(() => other.close())
  await other.connect()
  let runs = 0
  const load = async (): Promise<number> => {
    runs += 1
    await new Promise((resolve) => setTimeout(resolve, 50))
    return runs
  }
  const keys = Array.from({ length: 12 }, (_, index) => `${prefix}-${index}`)
  await Promise.all(
    keys.flatMap((key) => [one, other, one, other].map((redis) => redis.cache.getOrSet(key, load, { ttl: 60 }))),
  )
  expect(runs).toBe(keys.length)
})

function settingsOf({ settings }: Redis) {
  return { url: cluster.url, cluster: true, prefix: settings.prefix }
}

test('any seed that answers is enough', async () => {
  const redis = await connect(`redis://127.0.0.1:1,127.0.0.1:2,127.0.0.1:${cluster.nodes[5]?.port}`)
  await fill(redis, 3)
  expect(await found(redis, 3)).toBe(3)
})

test('a process that closes leaves no socket and no timer', async () => {
  expect(await leave({ url: cluster.url, cluster: true, connectTimeout: '5s', commandTimeout: '5s' })).toEqual({
    stored: true,
    left: [],
  })
})

test('slots that move under load: MOVED and ASK', { timeout: TIMEOUT_MS }, async () => {
  const traffic = await startTraffic()
  await traffic.cached()
  const [from, to] = (await cluster.primaries()) as [RedisServer, RedisServer]
  const reshard = async (source: RedisServer, target: RedisServer, slots: number): Promise<void> => {
    await cluster.agreed()
    await cluster.cli(
      ...['--cluster', 'reshard', `127.0.0.1:${source.port}`, '--cluster-from', await cluster.idOf(source)],
      ...['--cluster-to', await cluster.idOf(target), '--cluster-slots', String(slots), '--cluster-yes'],
    )
  }
  await reshard(from, to, 500)
  await reshard(to, from, 500)
  await traffic.cached()
  expect(problemsIn(await traffic.stop())).toEqual([])
})

test(
  'one slot halfway: its keys are served, invalidated and filled all the same',
  { timeout: TIMEOUT_MS },
  async () => {
    const redis = await connect()
    await fill(redis, 1)
    const key = `${redis.settings.prefix}:entry:=key-0`
    const [name = key] = (
      await Promise.all(
        cluster.nodes.map((node) => cluster.ask(node, '--scan', '--pattern', `${redis.settings.prefix}:entry:*`)),
      )
    )
      .join('\n')
      .split('\n')
      .filter((line) => line !== '')
    const source = await ownerOf(name)
    const target = (await cluster.primaries()).find((node) => node !== source) as RedisServer
    const slot = (await cluster.ask(source, 'CLUSTER', 'KEYSLOT', name)).trim()
    await cluster.ask(target, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', await cluster.idOf(source))
    await cluster.ask(source, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', await cluster.idOf(target))
    await cluster.ask(source, 'MIGRATE', '127.0.0.1', String(target.port), name, '0', '5000')
    expect(await redis.cache.get('key-0')).toBe(0)
    // Its lease would be on the other side: nothing is stored, and the caller is served.
    await redis.cache.delete('key-0')
    expect(await redis.cache.getOrSet('key-0', () => 'new', { ttl: 60 })).toBe('new')
    for (const node of [target, source])
      await cluster.ask(node, 'CLUSTER', 'SETSLOT', slot, 'NODE', await cluster.idOf(target))
    const again = async (): Promise<unknown> => {
      await redis.cache.getOrSet('key-0', () => 'newer', { ttl: 60 })
      return redis.cache.get('key-0')
    }
    await expect.poll(again, { timeout: 10_000 }).toBe('newer')
  },
)

test(
  'a primary that hangs costs nothing to keys of the others, and its own come back when its replica takes over',
  { timeout: TIMEOUT_MS },
  async () => {
    const redis = await connect()
    await fill(redis, 60)
    const traffic = await startTraffic()
    await traffic.cached()
    const hung = await ownerOf(`${redis.settings.prefix}:clock`)
    hung.pause()
    atEnd(async () => hung.resume())
    const asked = async (): Promise<string> => {
      await found(redis, 60)
      return redis.status
    }
    await expect.poll(asked).toBe('degraded')
    const before = redis.counters.missed
    const still = await found(redis, 60)
    expect(still).toBeGreaterThan(10)
    expect(still).toBeLessThan(60)
    // Nobody waited for the one that hangs.
    expect(redis.counters.missed).toBe(before)
    await expect.poll(async () => (await cluster.primaries()).includes(hung), { timeout: 20_000 }).toBe(false)
    await expect.poll(() => redis.status, { timeout: 20_000 }).toBe('ready')
    await traffic.cached()
    hung.resume()
    await traffic.more(200)
    expect(problemsIn(await traffic.stop())).toEqual([])
  },
)

test(
  'a primary is killed under load, its replica takes over, and it comes back as a replica',
  { timeout: TIMEOUT_MS },
  async () => {
    const traffic = await startTraffic()
    await traffic.cached()
    const [killed] = (await cluster.primaries()) as [RedisServer]
    await killed.kill()
    await expect.poll(async () => (await cluster.primaries()).length, { timeout: 20_000 }).toBe(3)
    for (const { app } of traffic.services) await expect.poll(() => app.redis.status, { timeout: 20_000 }).toBe('ready')
    await traffic.cached()
    await killed.start()
    await traffic.more(200)
    expect(problemsIn(await traffic.stop())).toEqual([])
  },
)

test('wake-ups go on when the node that brought them is killed', { timeout: TIMEOUT_MS }, async () => {
  const settings = resolveSettings({ url: cluster.url, cluster: true, connectTimeout: '5s', commandTimeout: '5s' }, {})
  const connection = new Connection(settings, silentLogger)
  atEnd(() => connection.close())
  await connection.connect()
  const messages: string[] = []
  let resets = 0
  await connection.subscribe(
    'c',
    (message) => messages.push(String(message)),
    () => (resets += 1),
  )
  const listening = async (node: RedisServer): Promise<boolean> =>
    /^1$/m.test(await cluster.ask(node, 'PUBSUB', 'NUMSUB', 'c'))
  const [node] = (
    await Promise.all((await cluster.primaries()).map(async (one) => ((await listening(one)) ? [one] : [])))
  ).flat() as [RedisServer]
  await node.kill()
  await expect.poll(() => resets, { timeout: 10_000 }).toBeGreaterThan(0)
  await connection.execute(['PUBLISH', 'c', 'after'], undefined)
  await expect.poll(() => messages).toEqual(['after'])
  await node.start()
})
