import { expect, test } from 'vitest'
import { failOver, INVALIDATED } from './fail-over.js'

test('by default nothing from before a failover is believed, so nothing comes back', async () => {
  const { confirmed, stale, reader, writer } = await failOver({})
  expect(confirmed).toHaveLength(INVALIDATED)
  expect(stale).toBe(0)
  // And the cache goes on, cold; the second process does not begin once more.
  await reader.cache.getOrSet('key-0', () => 'new', { ttl: 600 })
  await writer.connect()
  expect(await writer.cache.get('key-0')).toBe('new')
})
