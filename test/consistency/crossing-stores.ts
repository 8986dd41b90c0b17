import { randomUUID } from 'node:crypto'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import type { TrackingListener } from '../../src/redis/tracking.js'
import { Keyspace } from '../../src/store/keyspace.js'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import { NearCache } from '../../src/store/near-cache.js'
import { nearStore, trackingOf } from '../../src/store/near-store.js'
import { RedisStore } from '../../src/store/redis-store.js'
import type { Store } from '../../src/store/store.js'
import { signal } from '../support/controlled-store.js'
import { silentLogger } from '../support/logger.js'
import type { Place } from './crossings.js'

/** Everything waits for promises alone, so one turn of the event loop is enough. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export function inMemory(wrap: (store: Store) => Store = (store) => store): Place {
  return {
    open: () => {
      const memory = new Memory()
      return [wrap(new MemoryStore(memory, 'test')), wrap(new MemoryStore(memory, 'test'))]
    },
    turn: nextTurn,
    close: async () => {},
  }
}

/** In memory, where hits are found without the store's verbs, and those of usual requests are remembered by their URL. */
export function withinReach(): Place {
  const place = inMemory()
  let stores: ReturnType<Place['open']> | undefined
  return {
    ...place,
    open: () => (stores = place.open()),
    before: (store, process) =>
      new Proxy(store, {
        get: (target, name) => (name === 'local' ? stores?.[process].local : (Reflect.get(target, name) as unknown)),
      }),
  }
}

/** Trips that a request makes after it was started until it waits for another: lookup, lease, listening, lease again. */
const TRIPS = 5

const NEAR_BYTES = 1024 * 1024

/** On a Redis server or cluster, with a connection for each of the two processes, and near caches where asked for. */
export async function onRedis(url: string, cluster = false, near = false): Promise<Place> {
  const settings = resolveSettings({ url, cluster, commandTimeout: '5s', connectTimeout: '5s' }, {})
  const connections = [new Connection(settings, silentLogger), new Connection(settings, silentLogger)] as const
  await Promise.all(connections.map((connection) => connection.connect()))
  const trip = (): Promise<unknown> =>
    Promise.all(connections.map((connection) => connection.execute(['EXISTS', 'turn'], 'turn')))
  const fronts = near ? await Promise.all(connections.map(nearFront)) : undefined
  return {
    open: () => {
      const prefix = `crossing:${randomUUID()}`
      const [one, two] = connections
      return [new RedisStore(one, prefix), new RedisStore(two, prefix)]
    },
    ...(fronts && {
      before: (store, process) => (fronts[process] as NearFront).before(store),
      told: async () => void (await Promise.all(fronts.map(({ told }) => told()))),
    }),
    turn: async () => {
      for (let trips = 0; trips < TRIPS; trips += 1) {
        await trip()
        await nextTurn()
      }
    },
    close: async () => void (await Promise.all(connections.map((connection) => connection.close()))),
  }
}

interface NearFront {
  before(store: Store): Store
  told(): Promise<void>
}

/** The near cache of one process. One connection tells about the prefixes of all cells; each has its own near cache. */
async function nearFront(connection: Connection): Promise<NearFront> {
  let current: TrackingListener | undefined
  const trusted = signal()
  const tracking = connection.track('crossing:', {
    changed: (keys) => current?.changed(keys),
    changedAll: () => current?.changedAll(),
    trust: (isTrusted) => {
      current?.trust(isTrusted)
      if (isTrusted) trusted.resolve()
    },
  })
  await trusted.promise
  return {
    before(store) {
      const near = new NearCache(NEAR_BYTES, Date.now)
      current = trackingOf(near, new Keyspace(store.prefix))
      near.trust(true)
      return nearStore(store, near)
    },
    told: () => tracking.caughtUp(),
  }
}
