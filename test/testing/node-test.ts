// Run by assertions.test.ts under node:test; the second test is meant to fail.
import { test } from 'node:test'
import { createRedis } from '../../src/index.js'
import { assertCached } from '../../src/testing/index.js'

void test('a value that is there', async () => {
  await using redis = createRedis({ url: 'memory:' })
  await redis.cache.set('k', 1)
  await assertCached(redis.cache, 'k', 1)
})

void test('a value that is not there', async () => {
  await using redis = createRedis({ url: 'memory:' })
  await assertCached(redis.cache, 'k')
})
