import { Readable } from 'node:stream'
import Fastify from 'fastify'
import { expect, test } from 'vitest'
import redwell from '../../src/adapters/fastify/index.js'
import { freePort } from '../support/redis-server.js'

// What is Fastify's alone; the behaviour of its routes is in test/adapters.

test('a route declared before the plugin was loaded names the fix', async () => {
  const app = Fastify()
  app.register(redwell, { url: 'memory:' })
  app.get('/early', { config: { cache: { ttl: 60 } } }, async () => 'x')
  await expect(app.ready()).rejects.toThrow(/GET \/early.*await app\.register/s)
})

test('registered twice, the plugin says so', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  app.register(redwell, { url: 'memory:' })
  await expect(app.ready()).rejects.toThrow(/register redwell once/)
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

test('app.inject goes through the cache as a request from outside does', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => 'x')
  const answers = [await app.inject('/x'), await app.inject('/x')]
  expect(answers.map(({ headers }) => headers['x-redis-cache'])).toEqual(['MISS', 'HIT'])
  await app.close()
})

test('a stored answer that stands in for a failure keeps the fields that were set before the handler ran', async () => {
  const app = Fastify()
  let now = Date.now()
  let fails = false
  await app.register(redwell, { url: 'memory:', now: () => now })
  app.addHook('onRequest', async (_, reply) => void reply.header('access-control-allow-origin', '*'))
  app.get('/x', { config: { cache: { ttl: 1, staleIfError: 60 } } }, async () => {
    if (fails) throw new Error('down')
    return 'x'
  })
  await app.inject('/x')
  fails = true
  now += 2000
  const { statusCode, headers, body } = await app.inject('/x')
  expect([statusCode, body, headers['access-control-allow-origin']]).toEqual([200, 'x', '*'])
  await app.close()
})

test('a streamed answer has no ETag of ours, on the miss and on the hit', async () => {
  const app = Fastify()
  await app.register(redwell, { url: 'memory:' })
  app.get('/x', { config: { cache: { ttl: 60 } } }, async () => Readable.from(['a', 'b']))
  const answers = [await app.inject('/x'), await app.inject('/x')]
  expect(answers.map(({ headers }) => [headers['x-redis-cache'], headers.etag])).toEqual([
    ['MISS', undefined],
    ['HIT', undefined],
  ])
  await app.close()
})
