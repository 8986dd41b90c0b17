import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { createRedis, type Redis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import { RedisCluster } from '../support/redis-cluster.js'
import type { RedisServer } from '../support/redis-server.js'
import { Traffic } from './traffic.js'
import type { SettingsOf } from './under-fault.js'

export const TIMEOUT_MS = 60_000

/** One cluster for the tests of the file that imports this. */
export let cluster: RedisCluster
const cleanups: (() => Promise<unknown>)[] = []
export const atEnd = (cleanup: () => Promise<void>): void => void cleanups.push(cleanup)

beforeAll(async () => {
  cluster = await RedisCluster.start()
}, TIMEOUT_MS)

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

afterAll(() => cluster.close())

let settingsOf: SettingsOf = (url) => ({ url, cluster: true, connectTimeout: '5s' })

/** Uses another driver than our own from here on. */
export function through(other: SettingsOf): void {
  settingsOf = other
}

export async function connect(url = cluster.url): Promise<Redis> {
  const redis = createRedis({
    ...settingsOf(url, atEnd),
    prefix: `cluster:${randomUUID()}`,
    logger: silentLogger,
  })
  atEnd(() => redis.close())
  return redis.connect()
}

export function startTraffic(): Promise<Traffic> {
  return Traffic.start(() => settingsOf(cluster.url, atEnd), atEnd)
}

export async function fill(redis: Redis, count: number, more: readonly string[] = []): Promise<void> {
  for (let index = 0; index < count; index += 1)
    await redis.cache.getOrSet(`key-${index}`, () => index, { ttl: 60, group: [`group-${index}`, ...more] })
}

export async function found(redis: Redis, count: number): Promise<number> {
  const values = await Promise.all(Array.from({ length: count }, (_, index) => redis.cache.get(`key-${index}`)))
  return values.filter((value, index) => value === index).length
}

/** The primary that owns the key of an item of the traffic. */
export async function ownerOf(key: string): Promise<RedisServer> {
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
