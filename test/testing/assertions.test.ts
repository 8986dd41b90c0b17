import { AssertionError } from 'node:assert'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createRedis } from '../../src/index.js'
import {
  assertCached,
  assertCacheOutcome,
  assertNotCached,
  assertStale,
  type CacheMatchers,
  cacheMatchers,
  chaos,
  memoryStores,
  testClock,
} from '../../src/testing/index.js'
import { silentLogger } from '../support/logger.js'

declare module 'vitest' {
  interface Matchers<T> extends CacheMatchers<T> {}
}

expect.extend(cacheMatchers)

async function filled() {
  const clock = testClock()
  const redis = createRedis({ url: 'memory:', now: clock.now })
  await redis.cache.set('fresh', { a: 1 })
  await redis.cache.set('stale', 1, { ttl: 1, staleIfError: 10 })
  clock.advance(2000)
  return redis
}

test('assertions say nothing when they hold', async () => {
  await using redis = await filled()
  await assertCached(redis.cache, 'fresh')
  await assertCached(redis.cache, 'fresh', { a: 1 })
  await assertStale(redis.cache, 'stale')
  await assertNotCached(redis.cache, 'none')
  await assertCached(redis.cache.namespace('n', { ttl: 1 }), 'k').catch(() => {})
  assertCacheOutcome(new Response('', { headers: { 'X-Redis-Cache': 'HIT' } }), 'HIT')
  assertCacheOutcome({ headers: { 'x-redis-cache': 'MISS' } }, 'MISS')
})

test('and tell what was found when they do not', async () => {
  await using redis = await filled()
  const said = (asserting: Promise<void>) =>
    asserting.then(
      () => 'nothing',
      (error: unknown) => (error instanceof AssertionError ? error.message : 'another error'),
    )
  expect(await said(assertCached(redis.cache, 'none'))).toBe(
    'expected a fresh value at key "none", found a miss (absent)',
  )
  expect(await said(assertCached(redis.cache, 'fresh', { a: 2 }))).toBe(
    'expected the fresh value {"a":2} at key "fresh", found a fresh value, {"a":1}',
  )
  expect(await said(assertCached(redis.cache, 'fresh', undefined))).toContain('the fresh value given')
  expect(await said(assertCached(redis.cache, 'stale'))).toContain('found a stale value, 1')
  expect(await said(assertStale(redis.cache, 'fresh'))).toContain('expected a stale value at key "fresh"')
  expect(await said(assertNotCached(redis.cache, 'fresh'))).toContain('expected nothing at key "fresh"')
  expect(() => assertCacheOutcome({ headers: {} }, 'HIT')).toThrow('expected X-Redis-Cache: HIT, found no such field')
})

test('an outage is not taken for "not cached"', async () => {
  const stores = memoryStores()
  await using redis = createRedis({ store: (prefix) => chaos(stores(prefix)).failing(), logger: silentLogger })
  await expect(assertNotCached(redis.cache, 'k')).rejects.toThrow('found a miss (outage)')
})

test('matchers for Vitest, and their negation', async () => {
  await using redis = await filled()
  await expect(redis.cache).toHaveCached('fresh')
  await expect(redis.cache).toHaveCached('fresh', { a: 1 })
  await expect(redis.cache).not.toHaveCached('none')
  await expect(redis.cache).toHaveStale('stale')
  const hit = { headers: { 'x-redis-cache': 'HIT' } }
  expect(hit).toBeCacheHit()
  expect(hit).not.toBeCacheMiss()
  expect(hit).not.toBeCacheBypass()
  await expect(async () => expect(redis.cache).toHaveCached('none')).rejects.toThrow('found a miss (absent)')
  expect(() => expect(hit).toBeCacheMiss()).toThrow('expected X-Redis-Cache: MISS, found HIT')
})

test('they work in node:test', () => {
  const file = join(import.meta.dirname, 'node-test.ts')
  const { stdout, status } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--test', '--test-reporter', 'tap', file],
    {
      encoding: 'utf8',
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: '' },
    },
  )
  expect(stdout).toContain('ok 1 - a value that is there')
  expect(stdout).toContain('not ok 2 - a value that is not there')
  expect(stdout).toContain('found a miss (absent)')
  expect(status).toBe(1)
})
