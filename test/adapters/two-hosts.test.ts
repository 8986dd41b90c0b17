import { Hono } from 'hono'
import { expect, onTestFinished, test } from 'vitest'
import { cache, redwell } from '../../src/adapters/hono/index.js'
import { Client } from './client.js'
import type { Host, Route } from './host.js'
import { fastifyOver } from './hosts/fastify.js'
import { honoOver } from './hosts/hono.js'
import { nestHost } from './hosts/nest.js'

const hosts: readonly Host[] = [fastifyOver('h2c'), honoOver('h2c'), nestHost('fastify', 'h2c')]

/** The client names one host as `:authority` and another one as `Host`. */
const two = (authority: string, host: string) => ({ ':authority': authority, Host: host })

const routes: readonly Route[] = [
  {
    method: 'GET',
    path: '/host',
    cache: { ttl: 60, host: true },
    handler: (call) => `${call.origin()} ${call.header('host') ?? ''}`,
  },
  { method: 'GET', path: '/vary', cache: { ttl: 60, vary: 'host' }, handler: (call) => call.origin() },
  {
    method: 'PUT',
    path: '/host',
    cachePut: { ttl: 60, host: true },
    handler: (call) => `${call.origin()} ${call.header('host') ?? ''}`,
  },
]

test.each(hosts)('$name: a request for two hosts neither makes nor gets the entry of one of them', async (host) => {
  const app = await host.start({ redis: { url: 'memory:' }, routes })
  onTestFinished(() => app.close())
  const client = new Client(app.port, app.protocol)
  for (const path of ['/host', '/vary'])
    for (const [authority, field] of [
      ['evil.test', 'shop.test'],
      ['shop.test', 'evil.test'],
    ] as const) {
      for (const method of path === '/host' ? ['GET', 'PUT'] : ['GET'])
        expect((await client.ask(path, { method, headers: two(authority, field) })).cache).toBe('BYPASS')
      await app.redis.cache.settled()
      const first = await client.get(path, { host: 'shop.test' })
      expect(first).toMatchObject({ cache: 'MISS', text: expect.not.stringContaining('evil') as string })
      await app.redis.cache.settled()
      for (let round = 0; round < 2; round += 1)
        expect(await client.get(path, { host: 'shop.test' })).toMatchObject({ cache: 'HIT', text: first.text })
      expect((await client.get(path, two(authority, field))).cache).toBe('BYPASS')
      // The same host twice is one.
      expect((await client.get(path, two('shop.test', 'shop.test'))).cache).toBe('HIT')
      await app.redis.cache.clear()
    }
})

test('a web Request whose URL and Host differ neither makes nor gets an entry of a host', async () => {
  const app = new Hono()
  const connected = redwell({ url: 'memory:' })
  onTestFinished(() => connected.close())
  app.use(connected)
  app.get('/x', cache({ ttl: 60, host: true }), (c) => c.text(new URL(c.req.url).host))
  const ask = async (url: string, host?: string): Promise<string> => {
    const response = await app.request(url, host === undefined ? {} : { headers: { host } })
    const text = await response.text()
    await connected.redis.cache.settled()
    return `${response.headers.get('x-redis-cache')} ${text}`
  }
  expect(await ask('http://evil.test/x', 'shop.test')).toBe('BYPASS evil.test')
  expect(await ask('http://shop.test/x')).toBe('MISS shop.test')
  expect(await ask('http://shop.test/x', 'shop.test')).toBe('HIT shop.test')
})
