import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { newId, nonce } from '../../src/session/id.js'
import { MemorySessionStore } from '../../src/session/memory-session-store.js'
import { RedisSessionStore } from '../../src/session/redis-session-store.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { creationOf, storeContract } from './store-contract.js'

describe('memory', () => {
  let now = 1_700_000_000_000
  const store = new MemorySessionStore(() => now)
  storeContract({
    store: () => store,
    async wait(ms) {
      now += ms
    },
  })

  test('what has expired does not stay', () => {
    const own = new MemorySessionStore(() => now)
    for (let turn = 0; turn < 3000; turn += 1) {
      const id = newId(undefined)
      own.create(id.handle, creationOf(id, { absoluteMs: 1000, idleMs: 1000 }))
      own.end(nonce(), undefined)
      own.revokeAll(nonce(), { epoch: nonce(), keepMs: 1000, except: undefined })
      now += 100
    }
    expect(own.size).toBeLessThan(2800)
  })
})

describe('Redis', () => {
  let connection: Connection
  let store: RedisSessionStore
  const prefix = `sessions-${process.pid}`

  beforeAll(async () => {
    const { url } = await sharedRedis()
    connection = new Connection(resolveSettings({ url, commandTimeout: 5 }, {}), silentLogger)
    await connection.connect()
    store = new RedisSessionStore(connection, prefix)
  })
  afterAll(() => connection.close())

  storeContract({ store: () => store, wait: (ms) => sleep(ms) })

  describe('of which subjects are on another node', () => {
    storeContract({
      store: () => new RedisSessionStore(spread(connection), `${prefix}-spread`),
      wait: (ms) => sleep(ms),
      isSpread: true,
    })
  })

  test('every key has an expiry, and no key or value has an id', async () => {
    const tag = nonce()
    const id = newId(tag)
    const { epoch } = await store.admit(tag, {
      ...{ handle: id.handle, lifeMs: 60_000, keepMs: 90_000, epoch: nonce(), max: Infinity },
    })
    await store.create(id.handle, creationOf(id, { epoch }))
    await store.end(nonce(), undefined)
    const keys = (await connection.execute(['KEYS', `${prefix}:*`], undefined)) as unknown as Buffer[]
    const secret = id.text.slice(44)
    for (const key of keys.map(String)) {
      expect(Number(await connection.execute(['PTTL', key], key))).toBeGreaterThan(0)
      expect(key).not.toContain(secret)
      expect(String(await connection.execute(['DUMP', key], key))).not.toContain(secret)
    }
    const index = `${prefix}:subject:{${tag}}`
    const life = async (key: string) => Number(await connection.execute(['PTTL', key], key))
    expect(Math.abs((await life(index)) - 90_000)).toBeLessThan(5000)
    expect(Math.abs((await life(`${index}:sessions`)) - 90_000)).toBeLessThan(5000)
  })

  test('a foreign key in the place of a session is an error of that session alone', async () => {
    const id = newId(undefined)
    await connection.execute(['SET', `${prefix}:session:${id.handle}`, 'x', 'PX', '1000'], undefined)
    await expect(store.load(id, 1000)).rejects.toThrow('WRONGTYPE')
  })
})

/** As if it led to a cluster. */
function spread(connection: Connection): Connection {
  return new Proxy(connection, {
    get(target, name) {
      if (name === 'topology') return 'cluster'
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
