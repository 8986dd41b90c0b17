import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import type { RedisSettings } from '../../src/redis/settings.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import { redisCli } from '../support/redis-cluster.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'

const ENTRIES = 40
const INVALIDATED = 25

/** A primary, its replica behind a line that can stall, and an address that is given to one after the other. */
async function setUp() {
  const primary = await own()
  const link = await line(primary)
  const replica = await own(['--replicaof', '127.0.0.1', String(link.port)])
  const address = await line(primary)
  const linked = (): Promise<string> => redisCli('-p', String(primary.port), 'INFO', 'replication')
  await expect.poll(linked, { timeout: 10_000 }).toMatch(/state=online/)
  return { primary, replica, link, address }
}

async function own(args: readonly string[] = []): Promise<RedisServer> {
  const server = await startRedis({ args: ['--repl-diskless-sync-delay', '0', ...args] })
  onTestFinished(() => server.close())
  return server
}

async function line(to: RedisServer): Promise<TcpProxy> {
  const proxy = await TcpProxy.to(to.port)
  onTestFinished(() => proxy.close())
  return proxy
}

async function connect(address: TcpProxy, settings: RedisSettings): Promise<Redis> {
  const redis = createRedis({ url: address.url, logger: silentLogger, connectTimeout: '5s', ...settings })
  onTestFinished(() => redis.close())
  return redis.connect()
}

/** The primary dies while its replica lags, and the replica takes over. */
async function failOver(settings: RedisSettings) {
  const { primary, replica, link, address } = await setUp()
  const shared = { prefix: `loss:${randomUUID()}`, ...settings }
  const writer = await connect(address, shared)
  const reader = await connect(address, shared)
  for (let index = 0; index < ENTRIES; index += 1)
    await writer.cache.getOrSet(`key-${index}`, () => 'old', { ttl: 600, group: `group-${index}` })
  await replicated(primary)
  link.silence()
  const confirmed: number[] = []
  for (let index = 0; index < INVALIDATED; index += 1)
    if ((await writer.cache.deleteGroup(`group-${index}`)).confirmed) confirmed.push(index)
  await primary.kill()
  await redisCli('-p', String(replica.port), 'REPLICAOF', 'NO', 'ONE')
  address.leadTo(replica.port).cut()
  await reader.connect()
  return { confirmed, stale: await whatIsOld(reader, confirmed), writer, reader, primary, replica }
}

async function whatIsOld(redis: Redis, indexes: readonly number[]): Promise<number> {
  const values = await Promise.all(indexes.map((index) => redis.cache.get(`key-${index}`)))
  return values.filter((value) => value === 'old').length
}

async function replicated(primary: RedisServer): Promise<void> {
  const offsets = async (): Promise<boolean> => {
    const info = await redisCli('-p', String(primary.port), 'INFO', 'replication')
    return /offset=(\d+)/.exec(info)?.[1] === /master_repl_offset:(\d+)/.exec(info)?.[1]
  }
  await expect.poll(offsets, { timeout: 10_000 }).toBe(true)
}

test('believed, a replica that lagged brings back all that was invalidated meanwhile', async () => {
  const { confirmed, stale } = await failOver({ trustRestarts: true })
  expect(confirmed).toHaveLength(INVALIDATED)
  expect(stale).toBe(INVALIDATED)
})

test('by default nothing from before a failover is believed, so nothing comes back', async () => {
  const { confirmed, stale, reader, writer } = await failOver({})
  expect(confirmed).toHaveLength(INVALIDATED)
  expect(stale).toBe(0)
  // And the cache goes on, cold; the second process does not begin once more.
  await reader.cache.getOrSet('key-0', () => 'new', { ttl: 600 })
  await writer.connect()
  expect(await writer.cache.get('key-0')).toBe('new')
})

test(
  'with waitForReplicas an invalidation that a failover would lose is not called confirmed',
  { timeout: 60_000 },
  async () => {
    const { confirmed, writer, primary, replica } = await failOver({ trustRestarts: true, waitForReplicas: 1 })
    expect(confirmed).toEqual([])
    // The process that could not be sure serves none of it, whoever is the primary now.
    expect(await whatIsOld(writer, [0, 1, 2])).toBe(0)
    await primary.start()
    await redisCli('-p', String(primary.port), 'REPLICAOF', '127.0.0.1', String(replica.port))
    // Once there is a replica again it is told, and the cache is used again.
    const cached = async (): Promise<unknown> => {
      await writer.cache.getOrSet('key-0', () => 'new', { ttl: 600 })
      return writer.cache.get('key-0')
    }
    await expect.poll(cached, { timeout: 20_000 }).toBe('new')
    expect(
      await whatIsOld(
        writer,
        Array.from({ length: INVALIDATED }, (_, index) => index),
      ),
    ).toBe(0)
  },
)

test('with a replica that keeps up, waiting for it confirms', async () => {
  const { address } = await setUp()
  const redis = await connect(address, { prefix: randomUUID(), waitForReplicas: 1, commandTimeout: '5s' })
  await redis.cache.set('a', 1, { ttl: 60, group: 'g' })
  expect(await redis.cache.get('a')).toBe(1)
  expect(await redis.cache.deleteGroup('g')).toMatchObject({ confirmed: true })
  expect(await redis.cache.delete('b')).toMatchObject({ confirmed: true })
  expect(await redis.cache.get('a')).toBeUndefined()
})
