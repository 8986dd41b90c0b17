import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, test } from 'vitest'
import redwell, { type RedwellFastifyOptions } from '../../src/adapters/fastify/index.js'
import { memoryStores, testClock } from '../../src/testing/index.js'
import { recordingLogger, silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

/** A refresh that did not come about is tried again after a second. */
const PATIENCE = { timeout: 15_000 }

const CLIENTS = 20
const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Service {
  readonly apps: readonly FastifyInstance[]
  /** Handler runs so far, over all applications. */
  runs(): number
  /** From now on the handler fails. */
  stop(): void
  /** Requests to all applications at once; gives status and X-Redis-Cache of each. */
  load(): Promise<{ status: number; cache: unknown; body: string }[]>
}

/** Two applications over one store, as two processes of one service; one handler, which can be stopped. */
async function service(options: RedwellFastifyOptions, cache: object): Promise<Service> {
  let runs = 0
  let down = false
  const make = async (): Promise<FastifyInstance> => {
    const app = Fastify()
    cleanups.push(() => app.close())
    await app.register(redwell, { logger: silentLogger, ...options })
    app.get('/x', { config: { cache } }, async () => {
      runs += 1
      await new Promise((resolve) => setTimeout(resolve, 5))
      if (down) throw new Error('the origin is down')
      return `run ${runs}`
    })
    await app.ready()
    return app
  }
  const apps = [await make(), await make()]
  return {
    apps,
    runs: () => runs,
    stop: () => {
      down = true
    },
    load: () =>
      Promise.all(
        Array.from({ length: CLIENTS }, async (_, index) => {
          const answer = await (apps[index % 2] as FastifyInstance).inject('/x')
          return { status: answer.statusCode, cache: answer.headers['x-redis-cache'], body: answer.body }
        }),
      ),
  }
}

describe.each(['memory', 'redis'])('an origin under load, on %s', (store) => {
  async function options(now: () => number): Promise<RedwellFastifyOptions> {
    if (store === 'memory') return { store: memoryStores({ now }), now }
    const server = await sharedRedis()
    cleanups.push(() => server.close())
    return { url: server.url, prefix: `test:${randomUUID()}`, connect: true, commandTimeout: 5, now }
  }

  test('stopped: no error until the span of staleIfError ends', async () => {
    const clock = testClock()
    const origin = await service(await options(clock.now), { ttl: 10, staleIfError: 100 })
    await origin.load()
    origin.stop()
    for (let second = 0; second < 100; second += 20) {
      clock.advance(20_000)
      const answers = await origin.load()
      expect(answers.map(({ status }) => status)).toEqual(Array(CLIENTS).fill(200))
      expect(new Set(answers.map(({ body }) => body))).toEqual(new Set(['run 1']))
    }
    clock.advance(20_000)
    expect((await origin.load()).map(({ status }) => status)).toEqual(Array(CLIENTS).fill(500))
  })

  test('with staleWhileRevalidate: one handler run for each period, whoever asks', async () => {
    const clock = testClock()
    const origin = await service(await options(clock.now), { ttl: 10, staleWhileRevalidate: 1000 })
    await origin.load()
    for (let period = 1; period <= 4; period += 1) {
      expect(origin.runs()).toBe(period)
      clock.advance(11_000)
      const answers = await origin.load()
      expect(answers.map(({ cache }) => cache)).toEqual(Array(CLIENTS).fill('HIT'))
      // Who asks again asks for a refresh again, should a slow machine have missed the first.
      await expect.poll(async () => (await origin.load())[0]?.body, PATIENCE).toBe(`run ${period + 1}`)
      expect(origin.runs()).toBe(period + 1)
    }
  })

  test('with earlyRefresh the entry is made anew before it expires, and nobody waits', async () => {
    const clock = testClock()
    const origin = await service(await options(clock.now), { ttl: 100, earlyRefresh: 0.5 })
    await origin.load()
    clock.advance(40_000)
    expect(new Set((await origin.load()).map(({ cache }) => cache))).toEqual(new Set(['HIT']))
    expect(origin.runs()).toBe(1)
    clock.advance(59_000)
    expect(new Set((await origin.load()).map(({ cache }) => cache))).toEqual(new Set(['HIT']))
    await expect.poll(async () => (await origin.load()) && origin.runs(), PATIENCE).toBe(2)
  })
})

test('thousands of groups on one entry are refused with a reason, and the response is served', async () => {
  const logger = recordingLogger()
  const app = Fastify()
  cleanups.push(() => app.close())
  await app.register(redwell, { url: 'memory:', logger })
  const names = Array.from({ length: 3000 }, (_, index) => `group-${index}`)
  app.get('/many', { config: { cache: { ttl: 60 } } }, async (_, reply) => reply.cacheGroups(...names).send('served'))
  app.get('/nameless', { config: { cache: { ttl: 60 } } }, async (_, reply) => reply.cacheGroups('').send('served'))
  for (let round = 0; round < 2; round += 1) {
    const answer = await app.inject('/many')
    expect([answer.statusCode, answer.body, answer.headers['x-redis-cache']]).toEqual([200, 'served', 'BYPASS'])
  }
  expect(logger.lines.filter((line) => line.includes('more groups than an entry can'))).toHaveLength(1)
  expect((await app.inject('/nameless')).statusCode).toBe(500)
  expect(() => app.get('/declared', { config: { cache: { ttl: 60, group: names } } }, async () => 'x')).toThrow()
})
