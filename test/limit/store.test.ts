import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LimitCall, type LimitStore, MemoryLimitStore, RedisLimitStore } from '../../src/limit/limit-store.js'
import { scripts } from '../../src/limit/scripts.js'
import type { Algorithm } from '../../src/limit/window.js'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

let connection: Connection
let at = 1_700_000_000_000_000
let keys = 0

beforeAll(async () => {
  const { url } = await sharedRedis()
  connection = new Connection(resolveSettings({ url, commandTimeout: 5 }, {}), silentLogger)
  await connection.connect()
})

afterAll(() => connection.close())

const call = (more: Partial<LimitCall> = {}): LimitCall => ({
  operation: 'hit',
  algorithm: 'sliding-window',
  rates: [{ name: 'minute', limit: 5, windowMs: 60_000, burst: 5 }],
  cost: 1,
  ban: { after: 0, forMs: 0 },
  ...more,
})

/** The script with a clock that a test moves. */
const source = scripts.limit.source.replace(
  "redis.call('TIME')",
  "{ redis.call('GET', 'limits:clock:s'), redis.call('GET', 'limits:clock:us') }",
)
const clocked = { ...scripts.limit, source, sha1: createHash('sha1').update(source).digest('hex') }

/** Redis' store at the time of the test. */
function withClock(): LimitStore {
  const store = new RedisLimitStore(connection, clocked)
  return {
    async run(name, asked) {
      const [seconds, micros] = [Math.floor(at / 1e6), at % 1e6].map(String) as [string, string]
      const clock = ['MSET', 'limits:clock:s', seconds, 'limits:clock:us', micros]
      const [, reply] = await Promise.all([connection.execute(clock, undefined), store.run(name, asked)])
      return reply
    },
    reset: (name) => store.reset(name),
  }
}

const key = () => `limits:${(keys += 1)}`

const operations = fc.array(
  fc.record({
    operation: fc.constantFrom('hit' as const, 'hit' as const, 'hit' as const, 'peek' as const, 'refund' as const),
    cost: fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 4 })),
    waitUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 500_000 }), fc.integer({ min: 0, max: 70_000_000 })),
    which: fc.integer({ min: 0, max: 2 }),
    back: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
)

const algorithms: Algorithm[] = ['sliding-window', 'fixed-window', 'token-bucket']

test.each(algorithms)('%s: Redis decides what memory decides, step by step', async (algorithm) => {
  const redis = withClock()
  // Long, because keys expire by the real time.
  const sets = [
    [{ name: 'a', limit: 7, windowMs: 50_000, burst: 7 }],
    [
      { name: 'a', limit: 7, windowMs: 50_000, burst: 7 },
      { name: 'b', limit: 40, windowMs: 300_000, burst: 40 },
    ],
    [{ name: 'c', limit: 33, windowMs: 99_700, burst: 20 }],
  ]
  await fc.assert(
    fc.asyncProperty(
      operations,
      fc.constantFrom({ after: 0, forMs: 0 }, { after: 2, forMs: 90_000 }),
      async (all, ban) => {
        const memory = new MemoryLimitStore(() => at / 1000)
        const name = key()
        let hitAt: number | undefined
        for (const { operation, cost, waitUs, which, back } of all) {
          at += waitUs
          const asked = call({
            operation,
            algorithm,
            cost,
            ban,
            rates: sets[which] ?? [],
            at: back ? hitAt : undefined,
          })
          const [ours, theirs] = [await redis.run(name, asked), memory.run(name, asked)]
          expect({ asked, reply: ours }).toEqual({ asked, reply: theirs })
          if (operation === 'hit' && ours.allowed) hitAt = ours.now
        }
      },
    ),
    { numRuns: 60 },
  )
})

test("Redis' own clock decides where no other is given", async () => {
  const redis = new RedisLimitStore(connection)
  const { now } = await redis.run(key(), call())
  const [seconds] = (await connection.execute(['TIME'], undefined)) as unknown as [Buffer]
  expect(Math.abs(now / 1000 - Number(String(seconds)))).toBeLessThan(5)
})

test('of many hits at once exactly the limit passes', async () => {
  const redis = new RedisLimitStore(connection)
  const name = key()
  for (const algorithm of algorithms) {
    const replies = await Promise.all(
      Array.from({ length: 50 }, () => redis.run(`${name}${algorithm}`, call({ algorithm }))),
    )
    expect(replies.filter((reply) => reply.allowed)).toHaveLength(5)
  }
})

test('a refusal writes nothing, and moves no expiry', async () => {
  const redis = withClock()
  const name = key()
  for (let hit = 0; hit < 5; hit += 1) await redis.run(name, call())
  const before = await connection.execute(['GET', name], name)
  at += 1_000_000
  expect((await redis.run(name, call())).allowed).toBe(false)
  expect(await connection.execute(['GET', name], name)).toEqual(before)
})

test('a state of another format starts anew and fails nothing', async () => {
  const redis = new RedisLimitStore(connection)
  const name = key()
  for (const state of ['x', '\u0009\u0000abc', '']) {
    await connection.execute(['SET', name, state], name)
    expect((await redis.run(name, call())).allowed).toBe(true)
  }
})

test('the state stays within its bytes', async () => {
  const redis = withClock()
  const bytes = async (limit: number, hits: number, algorithm: Algorithm) => {
    const name = key()
    const rates = [{ name: 'minute', limit, windowMs: 60_000, burst: limit }]
    for (let hit = 0; hit < hits; hit += 1) {
      at += 3_000_000
      await redis.run(name, call({ algorithm, rates }))
    }
    return Number(await connection.execute(['MEMORY', 'USAGE', name], name)) - name.length
  }
  expect(await bytes(100, 5, 'sliding-window')).toBeLessThanOrEqual(120)
  expect(await bytes(1000, 40, 'sliding-window')).toBeLessThanOrEqual(220)
  expect(await bytes(100, 5, 'fixed-window')).toBeLessThanOrEqual(90)
  expect(await bytes(100, 5, 'token-bucket')).toBeLessThanOrEqual(90)
})
