import { randomUUID } from 'node:crypto'
import { createClient } from '@redis/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRedis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { Database } from './database.js'
import { type Outcome, runProcesses, startProcess } from './processes.js'
import type { ProtocolName } from './protocols.js'

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})

afterAll(() => server.close())

const PROCESSES = 3
const TIMEOUT_MS = 120_000

function prefix(): string {
  return `race:${randomUUID()}`
}

function race(protocol: ProtocolName, own = prefix()): Promise<Outcome> {
  return runProcesses(PROCESSES, {
    task: 'race',
    url: server.url,
    prefix: own,
    protocol,
    keys: 6,
    readers: 10,
    writers: 2,
    writes: 150,
  })
}

describe('I2: no read that began after a completed invalidation sees an older value', () => {
  test.each(['redwell-key', 'redwell-group', 'redwell-mixed'] as const)(
    '%s: never, over three processes',
    { timeout: TIMEOUT_MS },
    async (protocol) => {
      const outcome = await race(protocol)
      expect(outcome.stale).toBe(0)
      // The race is only one where entries are really used between the writes.
      expect(outcome.loads).toBeLessThan(outcome.reads)
    },
  )

  test.each(['delete-then-set', 'counter-when-storing', 'timestamp-when-storing'] as const)(
    'the naive protocol %s is caught by the same race',
    { timeout: TIMEOUT_MS },
    async (protocol) => {
      expect((await race(protocol)).stale).toBeGreaterThan(0)
    },
  )

  test(
    'redwell-group: never, while group keys and the clock are deleted at random',
    { timeout: TIMEOUT_MS },
    async () => {
      const own = prefix()
      const client = createClient({ url: server.url })
      await client.connect()
      const racing = new AbortController()
      const losing = (async () => {
        const names = [
          'clock',
          'group:',
          'group:all',
          ...Array.from({ length: 6 }, (_, index) => `group:group-of-k${index}`),
        ]
        let lost = 0
        while (!racing.signal.aborted) {
          lost += await client.del(`${own}:${names[Math.floor(Math.random() * names.length)]}`)
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 6))
        }
        return lost
      })()
      const outcome = await race('redwell-group', own)
      racing.abort()
      expect(await losing).toBeGreaterThan(100)
      expect(outcome.stale).toBe(0)
      await client.close()
    },
  )

  test('write, then read through another process: 10,000 times, 0 stale', { timeout: TIMEOUT_MS }, async () => {
    const own = prefix()
    const connect = () =>
      createRedis({ url: server.url, prefix: own, commandTimeout: 10, logger: silentLogger }).connect()
    const [writer, reader] = [await connect(), await connect()]
    let value = 0
    let stale = 0
    const load = async (): Promise<number> => value
    for (let index = 0; index < 10_000; index += 1) {
      value = index
      await writer.cache.deleteGroup('g')
      if ((await reader.cache.getOrSet('k', load, { ttl: 60, group: 'g' })) !== index) stale += 1
    }
    expect(stale).toBe(0)
    await Promise.all([writer.close(), reader.close()])
  })
})

describe('overlapping write-throughs of one key from several processes', () => {
  async function older(naive: boolean): Promise<number> {
    const own = prefix()
    const rounds = 150
    await runProcesses(PROCESSES, {
      task: 'write-through',
      url: server.url,
      prefix: own,
      naive,
      rounds,
      processes: PROCESSES,
    })
    const redis = await createRedis({
      url: server.url,
      prefix: own,
      logger: silentLogger,
      commandTimeout: 10,
    }).connect()
    const client = createClient({ url: server.url })
    await client.connect()
    const database = new Database(client, own)
    let count = 0
    for (let index = 0; index < rounds; index += 1) {
      const key = `w${index}`
      const cached = naive ? await client.get(`${own}:naive:${key}`) : await redis.cache.get<number>(key)
      if (cached !== undefined && cached !== null && Number(cached) < (await database.current(key))) count += 1
    }
    await Promise.all([redis.close(), client.close()])
    return count
  }

  test('never leave an older value', { timeout: TIMEOUT_MS }, async () => {
    expect(await older(false)).toBe(0)
  })

  test('do so when the last store simply wins', { timeout: TIMEOUT_MS }, async () => {
    expect(await older(true)).toBeGreaterThan(0)
  })
})

describe('I3: one computation', () => {
  const CALLERS = 200

  function stampede(more: { storable?: boolean; handlerMs?: number } = {}) {
    const startAt = Date.now() + 2500
    return {
      task: 'stampede',
      url: server.url,
      prefix: prefix(),
      callers: CALLERS,
      handlerMs: 200,
      storable: true,
      startAt,
      ...more,
    } as const
  }

  test(
    '4 processes x 200 concurrent requests on one cold key: exactly one handler run',
    { timeout: TIMEOUT_MS },
    async () => {
      const order = stampede()
      const outcomes = await Promise.all(Array.from({ length: 4 }, () => startProcess(order).outcome))
      expect(Math.max(...outcomes.map(({ loads }) => loads))).toBe(1)
    },
  )

  test(
    'a holder that is killed delays the others by its lease and no more: then all of them run, side by side',
    { timeout: TIMEOUT_MS },
    async () => {
      const order = stampede({ handlerMs: 1000 })
      let killed = false
      const processes = Array.from({ length: 4 }, () =>
        startProcess(order, (child) => {
          if (!killed) child.kill('SIGKILL')
          killed = true
        }),
      )
      const outcomes = await Promise.allSettled(processes.map(({ outcome }) => outcome))
      const survivors = outcomes.filter((one) => one.status === 'fulfilled').map((one) => one.value)
      expect(survivors).toHaveLength(3)
      expect(Math.max(...survivors.map(({ loads }) => loads))).toBeLessThanOrEqual(1 + 3 * CALLERS)
      // Behind one another they would take up to 600 times the handler's second.
      expect(Math.max(...survivors.flatMap(({ waitedMs }) => waitedMs))).toBeLessThan(30_000)
    },
  )

  test('a response that may not be stored makes nobody queue', { timeout: TIMEOUT_MS }, async () => {
    const order = stampede({ storable: false, handlerMs: 100 })
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => startProcess(order).outcome))
    const waits = outcomes.flatMap(({ waitedMs }) => waitedMs)
    expect(waits).toHaveLength(4 * CALLERS)
    expect(Math.max(...outcomes.map(({ loads }) => loads))).toBe(4 * CALLERS)
    // Behind one another they would take up to 800 times the handler's 100 ms.
    expect(Math.max(...waits)).toBeLessThan(5000)
  })
})
