import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RedisCluster } from '../support/redis-cluster.js'
import { sharedRedis } from '../support/redis-server.js'
import { inMemory, onRedis } from './crossing-stores.js'
import { openSubject } from './crossing-subjects.js'
import { cellsOf, failures, HOSTS, type Place, rowsOf } from './crossings.js'

const TIMEOUT_MS = 600_000

describe.each(['memory', 'redis', 'cluster', 'near', 'near cluster'] as const)('on %s', (where) => {
  let place: Place
  let closing = async (): Promise<void> => {}

  beforeAll(async () => {
    if (where === 'memory') place = inMemory()
    else if (where === 'redis' || where === 'near') {
      const server = await sharedRedis()
      place = await onRedis(server.url, false, where === 'near')
      closing = () => server.close()
    } else {
      const cluster = await RedisCluster.start()
      place = await onRedis(cluster.url, true, where === 'near cluster')
      closing = () => cluster.close()
    }
  }, 60_000)

  afterAll(async () => {
    await place.close()
    await closing()
  })

  // What lies below the hosts is where a near cache is.
  describe.each(where.startsWith('near') ? (['scope'] as const) : HOSTS)(
    '%s: at every moment, with every command lost',
    (host) => {
      test.each(rowsOf(host))('%s: %s', { timeout: TIMEOUT_MS }, async (kind, change) => {
        const cells = cellsOf(
          host,
          kind,
          change,
          where === 'memory' ? 'all' : where === 'near cluster' ? 'none' : 'some',
        )
        expect(await failures(cells, place, openSubject)).toEqual([])
      })
    },
  )
})
