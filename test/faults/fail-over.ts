import { randomUUID } from 'node:crypto'
import { expect, onTestFinished } from 'vitest'
import type { RedisSettings } from '../../src/redis/settings.js'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import { redisCli } from '../support/redis-cluster.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'

const ENTRIES = 40
export const INVALIDATED = 25

/** A primary, its replica behind a line that can stall, and an address that is given to one after the other. */
export async function setUp() {
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

export async function connect(address: TcpProxy, settings: RedisSettings): Promise<Redis> {
  const redis = createRedis({ url: address.url, logger: silentLogger, connectTimeout: '5s', ...settings })
  onTestFinished(() => redis.close())
  return redis.connect()
}

/** The primary dies while its replica lags, and the replica takes over. */
export async function failOver(settings: RedisSettings) {
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

export async function whatIsOld(redis: Redis, indexes: readonly number[]): Promise<number> {
  const values = await Promise.all(indexes.map((index) => redis.cache.get(`key-${index}`)))
  return values.filter((value) => value === 'old').length
}

/** Resolves when the replica has what the primary has. */
export async function replicated(primary: RedisServer): Promise<void> {
  const offsets = async (): Promise<boolean> => {
    const info = await redisCli('-p', String(primary.port), 'INFO', 'replication')
    return /offset=(\d+)/.exec(info)?.[1] === /master_repl_offset:(\d+)/.exec(info)?.[1]
  }
  await expect.poll(offsets, { timeout: 10_000 }).toBe(true)
}
