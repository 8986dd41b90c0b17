import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { MemorySessionStore } from '../../src/session/memory-session-store.js'
import { RedisSessionStore } from '../../src/session/redis-session-store.js'
import { silentLogger } from '../support/logger.js'
import { RedisCluster } from '../support/redis-cluster.js'
import { sharedRedis } from '../support/redis-server.js'
import { races } from './races.js'
import { storeContract } from './store-contract.js'

describe('three requests at once, in memory', () => {
  const store = new MemorySessionStore(() => performance.timeOrigin + performance.now())
  races(() => store, { wide: true })
})

describe('three requests at once, on Redis', { timeout: 120_000 }, () => {
  let connection: Connection
  let store: RedisSessionStore

  beforeAll(async () => {
    const { url } = await sharedRedis()
    connection = new Connection(resolveSettings({ url, commandTimeout: 5 }, {}), silentLogger)
    await connection.connect()
    store = new RedisSessionStore(connection, `races-${process.pid}`)
  })
  afterAll(() => connection.close())

  races(() => store, { wide: true })
})

describe('on a cluster of three primaries', { timeout: 60_000 }, () => {
  let cluster: RedisCluster
  let connection: Connection
  let store: RedisSessionStore

  beforeAll(async () => {
    cluster = await RedisCluster.start()
    const settings = { url: cluster.url, cluster: true, commandTimeout: 5, connectTimeout: '5s' } as const
    connection = new Connection(resolveSettings(settings, {}), silentLogger)
    await connection.connect()
    store = new RedisSessionStore(connection, 'races')
  }, 60_000)
  afterAll(async () => {
    await connection.close()
    await cluster.close()
  })

  storeContract({ store: () => store, wait: (ms) => sleep(ms), isSpread: true })
  races(() => store, { wide: false })

  test('sessions and subjects are spread over all primaries', async () => {
    for (const node of await cluster.primaries())
      expect(await cluster.ask(node, '--scan', '--pattern', 'races:subject:*')).not.toBe('')
  })
})
