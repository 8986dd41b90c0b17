import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RedisCluster } from '../support/redis-cluster.js'
import { sharedRedis } from '../support/redis-server.js'
import { inMemory, onRedis, withinReach } from './crossing-stores.js'
import { openSubject } from './crossing-subjects.js'
import {
  type Cell,
  type Change,
  cellsOf,
  failures,
  hasOwnKey,
  type Host,
  HOSTS,
  isOfRoutes,
  type Kind,
  type Place,
  rowsOf,
} from './crossings.js'

const TIMEOUT_MS = 600_000

const PLACES = ['memory', 'memory within reach', 'redis', 'cluster', 'near', 'near cluster'] as const

type Where = (typeof PLACES)[number]

/** What lies below the hosts is where a near cache is; hits of routes are remembered in front of it. */
const HOSTS_OF: Readonly<Record<Where, readonly Host[]>> = {
  memory: HOSTS,
  'memory within reach': ['route'],
  redis: HOSTS,
  cluster: HOSTS,
  near: ['scope', 'route'],
  'near cluster': ['scope'],
}

/** What a key of its own leaves to the options is the same in every store. */
function rowsAt(where: Where, host: Host): ReturnType<typeof rowsOf> {
  const isOwn = where === 'memory' || where === 'redis'
  return rowsOf(host).filter(([kind]) => isOwn || !hasOwnKey(kind))
}

function cellsAt(where: Where, host: Host, kind: Kind, change: Change): readonly Cell[] {
  const losses = where === 'memory' && !isOfRoutes(kind) ? 'all' : where === 'near cluster' ? 'none' : 'some'
  if (where === 'memory') return cellsOf(host, kind, change, losses)
  const isOfRoute = isOfRoutes(kind) || where === 'memory within reach' || (where === 'near' && host === 'route')
  if (!isOfRoute) return cellsOf(host, kind, change, losses)
  // Which entries a route means does not depend on where they are.
  const cells = cellsOf(host, kind, change, 'none')
  return where === 'memory within reach' ? cells : cells.filter(({ by, groups }) => by === 'other' && groups !== 'cold')
}

describe.each(PLACES)('on %s', (where) => {
  let place: Place
  let closing = async (): Promise<void> => {}

  beforeAll(async () => {
    if (where === 'memory') place = inMemory()
    else if (where === 'memory within reach') place = withinReach()
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

  describe.each(HOSTS_OF[where])('%s: at every moment', (host) => {
    test.each(rowsAt(where, host))('%s: %s', { timeout: TIMEOUT_MS }, async (kind, change) => {
      expect(await failures(cellsAt(where, host, kind, change), place, openSubject)).toEqual([])
    })
  })
})
