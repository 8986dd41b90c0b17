import { describe, expect, onTestFinished, test } from 'vitest'
import { createRedis } from '../../src/create-redis.js'
import { silentLogger } from '../support/logger.js'
import { redisCli } from '../support/redis-cluster.js'
import { startRedis } from '../support/redis-server.js'
import { FAULTS } from './faults.js'
import { underFault } from './under-fault.js'

/** One of each kind; faults.long.test.ts has all. */
const SOME = FAULTS.filter(({ name }) => /^(SIGSTOP|connections are cut|FLUSHALL)/.test(name))

describe.concurrent('under each fault no request fails, no answer is old, and the cache comes back', () => {
  test.for(SOME.map((fault) => [fault.name, fault] as const))('%s', { timeout: 60_000 }, ([, fault], context) =>
    underFault(fault, context),
  )
})

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
