import { expect, test } from 'vitest'
import { createRedis, type RedisOptions } from '../../../src/index.js'
import { memoryStores } from '../../../src/testing/index.js'
import { recordingLogger } from '../../support/logger.js'
import type { Bed } from '../contract.js'
import type { Route } from '../host.js'

const GET = (name: string): Route => ({
  method: 'GET',
  path: '/x',
  cache: { ttl: 60, group: 'g' },
  handler: () => name,
})
const PUT: Route = { method: 'PUT', path: '/x', cacheEvict: { key: 'path' }, handler: () => 'written' }

export function applications({ store, settings, start, after }: Bed): void {
  /** Two of these share their entries, as two processes do. */
  function common(): RedisOptions {
    return store === 'memory' ? { store: memoryStores(), logger: settings().logger } : settings()
  }

  test('two applications in one process that share a Redis and a prefix share their entries, and are told once', async () => {
    const logger = recordingLogger()
    const redis = { ...common(), logger }
    const a = await start([GET('a'), PUT], { redis })
    const b = await start([GET('b'), PUT], { redis })
    expect(await a.client.get('/x')).toMatchObject({ text: 'a', cache: 'MISS' })
    expect(await b.client.get('/x')).toMatchObject({ text: 'a', cache: 'HIT' })
    await b.client.ask('/x', { method: 'PUT' })
    expect(await a.client.get('/x')).toMatchObject({ text: 'a', cache: 'MISS' })
    const said = logger.lines.filter((line) => /GET \/x.*two applications.*`prefix`.*`redis`/.test(line))
    expect(said).toHaveLength(store === 'redis' ? 1 : 0)
  })

  test.each(['POST', 'PATCH'])(
    'a %s invalidates what another process has stored, before any GET here',
    async (method) => {
      const redis = common()
      const routes: Route[] = [
        GET('x'),
        { method: 'POST', path: '/x', handler: () => 'written' },
        { method: 'PATCH', path: '/x', cacheEvict: { group: 'other' }, handler: () => 'written' },
      ]
      const a = await start(routes, { redis })
      const b = await start(routes, { redis })
      for (const cache of ['MISS', 'HIT']) expect((await a.client.get('/x')).cache).toBe(cache)
      await b.client.ask('/x', { method })
      expect((await a.client.get('/x')).cache).toBe('MISS')
    },
  )

  test('two applications in one process with prefixes of their own know nothing of each other', async () => {
    const redis = common()
    const a = await start([GET('a'), PUT], { redis: { ...redis, prefix: `${redis.prefix ?? 'test'}:a` } })
    const b = await start([GET('b'), PUT], { redis: { ...redis, prefix: `${redis.prefix ?? 'test'}:b` } })
    for (const cache of ['MISS', 'HIT']) {
      expect(await a.client.get('/x')).toMatchObject({ text: 'a', cache })
      expect(await b.client.get('/x')).toMatchObject({ text: 'b', cache })
    }
    await b.client.ask('/x', { method: 'PUT' })
    await b.redis.cache.deleteGroup('g')
    expect((await a.client.get('/x')).cache).toBe('HIT')
  })

  test('the same declarations serve two applications on one handle, which stays open when they end', async () => {
    const redis = createRedis(settings())
    after(() => redis.close())
    await redis.connect()
    const a = await start([GET('a'), PUT], { redis })
    const b = await start([GET('b'), PUT], { redis })
    expect(a.redis).toBe(redis)
    expect([(await a.client.get('/x')).cache, (await b.client.get('/x')).cache]).toEqual(['MISS', 'HIT'])
    await Promise.all([a.close(), b.close()])
    expect(redis.status).toBe('ready')
    expect(await redis.cache.set('still', 'there', { ttl: 60 })).toBeDefined()
  })

  test('a connection of its own ends with the application', async () => {
    const { close, redis } = await start([GET('a')])
    await close()
    expect(redis.status).toBe('closed')
  })

  test('a prefix of a route keeps its entries apart, and is reached by what invalidates groups and everything', async () => {
    const { client, redis } = await start([
      { ...GET('plain'), path: '/x' },
      { ...GET('other'), path: '/y', cache: { ttl: 60, group: 'g', prefix: 'other', key: () => 'k' } },
      { ...GET('third'), path: '/z', cache: { ttl: 60, group: 'g', key: () => 'k' } },
      { method: 'POST', path: '/evict', cacheEvict: { group: 'g' }, handler: () => 'ok' },
      { method: 'POST', path: '/evict-key', cacheEvict: { key: ['k'], prefix: 'other' }, handler: () => 'ok' },
    ])
    for (const [path, text] of [
      ['/x', 'plain'],
      ['/y', 'other'],
      ['/z', 'third'],
    ] as const)
      expect(await client.get(path)).toMatchObject({ text, cache: 'MISS' })
    const caches = async () => [(await client.get('/y')).cache, (await client.get('/z')).cache]
    await client.ask('/evict-key', { method: 'POST' })
    expect([await caches(), await caches()]).toEqual([
      ['MISS', 'HIT'],
      ['HIT', 'HIT'],
    ])
    await client.ask('/evict', { method: 'POST' })
    expect([await caches(), await caches()]).toEqual([
      ['MISS', 'MISS'],
      ['HIT', 'HIT'],
    ])
    await redis.cache.clear()
    expect(await caches()).toEqual(['MISS', 'MISS'])
  })

  test('values beside the routes share the groups of the routes', async () => {
    const { client, redis } = await start([
      GET('a'),
      { method: 'POST', path: '/evict', cacheEvict: { group: 'g' }, handler: () => 'ok' },
    ])
    await redis.cache.set('count', 1, { ttl: 60, group: 'g' })
    expect(await redis.cache.get('count')).toBe(1)
    await client.ask('/evict', { method: 'POST' })
    expect(await redis.cache.get('count')).toBeUndefined()
  })
}
