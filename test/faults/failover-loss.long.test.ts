import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { redisCli } from '../support/redis-cluster.js'
import { connect, failOver, INVALIDATED, setUp, whatIsOld } from './fail-over.js'

test('believed, a replica that lagged brings back all that was invalidated meanwhile', async () => {
  const { confirmed, stale } = await failOver({ trustRestarts: true })
  expect(confirmed).toHaveLength(INVALIDATED)
  expect(stale).toBe(INVALIDATED)
})

test(
  'with waitForReplicas an invalidation that a failover would lose is not called confirmed',
  { timeout: 60_000 },
  async () => {
    const { confirmed, writer, primary, replica } = await failOver({ trustRestarts: true, waitForReplicas: 1 })
    expect(confirmed).toEqual([])
    // The process that could not be sure serves none of it, whoever is the primary now.
    expect(await whatIsOld(writer, [0, 1, 2])).toBe(0)
    await primary.start()
    await redisCli('-p', String(primary.port), 'REPLICAOF', '127.0.0.1', String(replica.port))
    // Once there is a replica again it is told, and the cache is used again.
    const cached = async (): Promise<unknown> => {
      await writer.cache.getOrSet('key-0', () => 'new', { ttl: 600 })
      return writer.cache.get('key-0')
    }
    await expect.poll(cached, { timeout: 20_000 }).toBe('new')
    expect(
      await whatIsOld(
        writer,
        Array.from({ length: INVALIDATED }, (_, index) => index),
      ),
    ).toBe(0)
  },
)

test('with a replica that keeps up, waiting for it confirms', async () => {
  const { address } = await setUp()
  const redis = await connect(address, { prefix: randomUUID(), waitForReplicas: 1, commandTimeout: '5s' })
  await redis.cache.set('a', 1, { ttl: 60, group: 'g' })
  expect(await redis.cache.get('a')).toBe(1)
  expect(await redis.cache.deleteGroup('g')).toMatchObject({ confirmed: true })
  expect(await redis.cache.delete('b')).toMatchObject({ confirmed: true })
  expect(await redis.cache.get('a')).toBeUndefined()
})
