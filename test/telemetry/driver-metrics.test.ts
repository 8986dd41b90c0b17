import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRedis } from '../../src/index.js'
import { recordingLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { Sdk } from './sdk.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
let sdk: Sdk

beforeAll(async () => {
  server = await sharedRedis()
  sdk = new Sdk()
  await sdk.reset()
})

afterAll(async () => {
  await sdk.shutdown()
  await server.close()
})

test("otelRedis switches on the driver's own metrics, once, without keys", async () => {
  const logger = recordingLogger()
  const options = { url: server.url, prefix: `test:${randomUUID()}`, otelRedis: true, commandTimeout: 5, logger }
  await using redis = await createRedis(options).connect()
  await using other = await createRedis(options).connect()
  await redis.cache.set('a-key-of-its-own', 1, { ttl: '1m' })
  await other.cache.get('a-key-of-its-own')
  const all = await sdk.metrics()
  const names = (all.get('db.client.operation.duration') ?? []).map(({ attributes }) => attributes['db.operation.name'])
  expect(names).toEqual(expect.arrayContaining(['GET', 'EVALSHA']))
  expect([...all.keys()]).toContain('redis.client.connection.count')
  expect(JSON.stringify([...all])).not.toContain('a-key-of-its-own')
  expect(logger.lines.filter((line) => line.includes('metrics'))).toEqual([])
})
