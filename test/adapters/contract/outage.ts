import { expect, test } from 'vitest'
import { chaos, type ChaosStore, memoryStores } from '../../../src/testing/index.js'
import { recordingLogger } from '../../support/logger.js'
import { freePort, RedisServer, startRedis } from '../../support/redis-server.js'
import type { Bed } from '../contract.js'
import type { Route } from '../host.js'

function versions(): Route[] {
  let version = 1
  return [
    { method: 'GET', path: '/x', cache: { ttl: 60, group: 'g' }, handler: () => `version ${version}` },
    { method: 'PUT', path: '/x', cacheEvict: { group: 'g' }, handler: () => `version ${++version}` },
    { method: 'PATCH', path: '/x', cachePut: { ttl: 60, group: 'g' }, handler: () => `version ${++version}` },
  ]
}

export function outage(bed: Bed): void {
  if (bed.store === 'memory') withChaos(bed)
  else withServers(bed)
}

function withChaos({ start }: Bed): void {
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
      const { client } = await start(versions(), { redis: { store } })
      const ask = () => client.get('/x')
      await ask()
      stores[0]?.[fault]()
      for (const method of ['PUT', 'PATCH']) expect((await client.ask('/x', { method })).status).toBe(200)
      expect(await ask()).toMatchObject({ status: 200, text: 'version 3' })
      stores[0]?.healthy()
      for (let round = 0; round < 10; round += 1) expect((await ask()).text).toBe('version 3')
      await expect.poll(async () => (await ask()).cache).toBe('HIT')
      expect((await client.ask('/x', { method: 'PUT' })).status).toBe(200)
      expect((await ask()).text).toBe('version 4')
    },
  )
}

function withServers({ start, after }: Bed): void {
  test('Redis missing at start: the application starts and answers, and caches as soon as Redis is there', async () => {
    const port = await freePort()
    const logger = recordingLogger()
    const { client, redis } = await start(versions(), {
      redis: { url: `redis://127.0.0.1:${port}`, logger },
      connect: false,
    })
    expect(await client.get('/x')).toMatchObject({ status: 200, cache: 'BYPASS', text: 'version 1' })
    expect(redis.status).toBe('unavailable')
    const server = new RedisServer(port, {})
    after(() => server.close())
    const ready = new Promise<void>((resolve) => {
      redis.onStatus((status) => status === 'ready' && resolve())
    })
    await server.start()
    await ready
    expect([(await client.get('/x')).cache, (await client.get('/x')).cache]).toEqual(['MISS', 'HIT'])
    expect(logger.lines.filter((line) => line.startsWith('warn'))).toHaveLength(1)
  })

  test('Redis killed later: every request is answered, nothing old is served, and the cache comes back by itself', async () => {
    const server = await startRedis()
    after(() => server.close())
    const { client, redis } = await start(versions(), { redis: { url: server.url } })
    expect([(await client.get('/x')).cache, (await client.get('/x')).cache]).toEqual(['MISS', 'HIT'])
    await server.kill()
    for (let round = 0; round < 10; round += 1)
      expect(await client.get('/x')).toMatchObject({ status: 200, text: 'version 1' })
    expect((await client.ask('/x', { method: 'PUT' })).text).toBe('version 2')
    expect((await client.ask('/x', { method: 'PATCH' })).text).toBe('version 3')
    expect((await client.get('/x')).text).toBe('version 3')
    const ready = new Promise<void>((resolve) => {
      redis.onStatus((status) => status === 'ready' && resolve())
    })
    await server.start()
    await ready
    await expect.poll(async () => (await client.get('/x')).cache).toBe('HIT')
    expect((await client.get('/x')).text).toBe('version 3')
  })

  test('Redis hanging later: every request is answered, and what was written meanwhile is what is read afterwards', async () => {
    const server = await startRedis()
    after(() => server.close())
    const { client, redis } = await start(versions(), { redis: { url: server.url, commandTimeout: '50ms' } })
    await client.get('/x')
    expect((await client.get('/x')).cache).toBe('HIT')
    server.pause()
    expect((await client.ask('/x', { method: 'PUT' })).status).toBe(200)
    const ready = new Promise<void>((resolve) => {
      redis.onStatus((status) => status === 'ready' && resolve())
    })
    expect((await client.get('/x')).text).toBe('version 2')
    server.resume()
    if (redis.status !== 'ready') await ready
    for (let round = 0; round < 20; round += 1) expect((await client.get('/x')).text).toBe('version 2')
    await expect.poll(async () => (await client.get('/x')).cache).toBe('HIT')
  })
}
