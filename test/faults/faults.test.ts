import { describe, expect, onTestFinished, test } from 'vitest'
import { createRedis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import { redisCli } from '../support/redis-cluster.js'
import { type RedisServerOptions, startRedis } from '../support/redis-server.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import { FAULTS, type Place } from './faults.js'
import { type AtEnd, problemsIn, Traffic } from './traffic.js'

async function setUp(atEnd: AtEnd, options?: RedisServerOptions): Promise<Place & { traffic: Traffic }> {
  const server = await startRedis(options)
  atEnd(() => server.close())
  const proxy = await TcpProxy.to(server.port)
  atEnd(() => proxy.close())
  const settings = { url: proxy.url, socketTimeout: '600ms', connectTimeout: '600ms' } as const
  const traffic = await Traffic.start(settings, atEnd)
  await traffic.cached()
  return { server, proxy, traffic, cli: (...command) => redisCli('-p', String(server.port), ...command) }
}

describe.concurrent('under each fault no request fails, no answer is old, and the cache comes back', () => {
  test.for(FAULTS.map((fault) => [fault.name, fault] as const))(
    '%s',
    { timeout: 60_000 },
    async ([, fault], context) => {
      const { server, happens, ends, away, says } = fault
      const place = await setUp(context.onTestFinished, server)
      const { traffic } = place
      await happens(place)
      if (away) {
        const { app } = traffic.services[0] as (typeof traffic.services)[number]
        await traffic.more(200)
        if (ends !== undefined) context.expect(await isHit(app)).toBe(false)
      }
      await ends?.(place)
      await traffic.cached()
      const findings = await traffic.stop()
      context.expect(problemsIn(findings)).toEqual([])
      for (const { lines } of traffic.services) {
        context.expect(lines.filter((line) => line.startsWith('error'))).toEqual([])
        // The fault was one, and the operator was told which.
        if (says !== undefined) context.expect(lines.join('\n')).toMatch(says)
      }
    },
  )
})

async function isHit(app: Traffic['services'][number]['app']): Promise<boolean> {
  await app.inject('/probe')
  const second = await app.inject('/probe')
  return second.headers['x-redis-cache'] === 'HIT'
}

test.each([
  ['by default nothing that a restarted server still has is believed', {}, 0],
  ['believed, it brings back what was invalidated after its last snapshot', { trustRestarts: true }, 8],
])('%s', async (_, settings, old) => {
  const server = await startRedis()
  onTestFinished(() => server.close())
  const redis = createRedis({ url: server.url, commandTimeout: '5s', logger: silentLogger, ...settings })
  onTestFinished(() => redis.close())
  await redis.connect()
  const keys = Array.from({ length: 8 }, (__, index) => `key-${index}`)
  for (const key of keys) await redis.cache.set(key, 'old', { ttl: 600, group: 'g' })
  await redisCli('-p', String(server.port), 'SAVE')
  expect(await redis.cache.deleteGroup('g')).toMatchObject({ confirmed: true })
  await server.restart()
  await expect.poll(() => redis.status).toBe('ready')
  const values = await Promise.all(keys.map((key) => redis.cache.get(key)))
  expect(values.filter((value) => value === 'old')).toHaveLength(old)
})
