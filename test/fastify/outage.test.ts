import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, expect, test } from 'vitest'
import redwell from '../../src/fastify/index.js'
import { chaos, type ChaosStore, memoryStores } from '../../src/testing/index.js'
import { recordingLogger } from '../support/logger.js'
import { freePort, RedisServer, startRedis } from '../support/redis-server.js'

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Running {
  readonly app: FastifyInstance
  readonly lines: readonly string[]
  ask(): Promise<{ status: number; cache: unknown; body: string }>
  write(): Promise<number>
}

async function start(options: object): Promise<Running> {
  const logger = recordingLogger()
  const app = Fastify()
  cleanups.push(() => app.close())
  await app.register(redwell, { prefix: `test:${randomUUID()}`, logger, ...options })
  let version = 1
  app.get('/x', { config: { cache: { ttl: 60, group: 'g' } } }, async () => `version ${version}`)
  app.put('/x', { config: { cacheEvict: { group: 'g' } } }, async () => `version ${++version}`)
  app.patch('/x', { config: { cachePut: { ttl: 60, group: 'g' } } }, async () => `version ${++version}`)
  await app.ready()
  return {
    app,
    lines: logger.lines,
    async ask() {
      const answer = await app.inject('/x')
      return { status: answer.statusCode, cache: answer.headers['x-redis-cache'], body: answer.body }
    },
    write: async () => (await app.inject({ method: 'PUT', url: '/x' })).statusCode,
  }
}

test('Redis missing at start: the application starts and answers, and caches as soon as Redis is there', async () => {
  const port = await freePort()
  const { app, ask, lines } = await start({ url: `redis://127.0.0.1:${port}` })
  expect(await ask()).toEqual({ status: 200, cache: 'BYPASS', body: 'version 1' })
  expect(app.redis.status).toBe('unavailable')
  const server = new RedisServer(port, {})
  cleanups.push(() => server.close())
  const ready = new Promise<void>((resolve) => {
    app.redis.onStatus((status) => status === 'ready' && resolve())
  })
  await server.start()
  await ready
  expect([(await ask()).cache, (await ask()).cache]).toEqual(['MISS', 'HIT'])
  expect(lines.filter((line) => line.startsWith('warn'))).toHaveLength(1)
})

test('insisting on Redis at start fails with its address, and without the password', async () => {
  const port = await freePort()
  const app = Fastify()
  app.register(redwell, { url: `redis://user:secret@127.0.0.1:${port}`, connect: true, connectTimeout: '100ms' })
  const error = await app.ready().then(
    () => undefined,
    (reason: Error) => reason,
  )
  expect(error?.message).toContain(`127.0.0.1:${port}`)
  expect(JSON.stringify([error?.message, error?.stack])).not.toContain('secret')
  await app.close().catch(() => {})
})

test.each([
  ['killed', (server: RedisServer) => server.kill(), (server: RedisServer) => server.start()],
  ['hanging', async (server: RedisServer) => server.pause(), async (server: RedisServer) => server.resume()],
])('Redis %s later: every request is answered, and the cache comes back by itself', async (_, fail, recover) => {
  const server = await startRedis()
  cleanups.push(() => server.close())
  const { app, ask, lines } = await start({ url: server.url, connect: true })
  expect([(await ask()).cache, (await ask()).cache]).toEqual(['MISS', 'HIT'])
  await fail(server)
  for (let round = 0; round < 20; round += 1) {
    expect(await ask()).toMatchObject({ status: 200, body: 'version 1' })
  }
  expect(app.redis.status).not.toBe('ready')
  const ready = new Promise<void>((resolve) => {
    app.redis.onStatus((status) => status === 'ready' && resolve())
  })
  await recover(server)
  await ready
  await expect.poll(async () => (await ask()).cache).toBe('HIT')
  expect(lines.filter((line) => line.startsWith('warn'))).toHaveLength(1)
  expect(lines.filter((line) => line.includes('is back'))).toHaveLength(1)
})

test('I2 over an outage: what was written while Redis was away is not answered with the old entry afterwards', async () => {
  const server = await startRedis()
  cleanups.push(() => server.close())
  const { app, ask, write } = await start({ url: server.url, connect: true })
  await ask()
  expect((await ask()).cache).toBe('HIT')
  server.pause()
  expect(await write()).toBe(200)
  const ready = new Promise<void>((resolve) => {
    app.redis.onStatus((status) => status === 'ready' && resolve())
  })
  expect((await ask()).body).toBe('version 2')
  server.resume()
  if (app.redis.status !== 'ready') await ready
  for (let round = 0; round < 50; round += 1) expect((await ask()).body).toBe('version 2')
  await expect.poll(async () => (await ask()).cache).toBe('HIT')
})

test.each(['failing', 'losingReplies'] as const)(
  'a store whose calls are %s never breaks a request and never serves what a write replaced',
  async (fault) => {
    const stores: ChaosStore[] = []
    const inner = memoryStores()
    const store = (prefix: string): ChaosStore => {
      const wrapped = chaos(inner(prefix))
      stores.push(wrapped)
      return wrapped
    }
    const { app, ask, write } = await start({ store })
    await ask()
    stores[0]?.[fault]()
    for (const method of ['PUT', 'PATCH'] as const)
      expect((await app.inject({ method, url: '/x' })).statusCode).toBe(200)
    expect(await ask()).toMatchObject({ status: 200, body: 'version 3' })
    stores[0]?.healthy()
    for (let round = 0; round < 10; round += 1) expect((await ask()).body).toBe('version 3')
    await expect.poll(async () => (await ask()).cache).toBe('HIT')
    expect(await write()).toBe(200)
    expect((await ask()).body).toBe('version 4')
  },
)
