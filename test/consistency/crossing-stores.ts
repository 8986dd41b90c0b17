import { randomUUID } from 'node:crypto'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import { RedisStore } from '../../src/store/redis-store.js'
import type { Store } from '../../src/store/store.js'
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

/** Trips that a request makes after it was started until it waits for another: lookup, lease, listening, lease again. */
const TRIPS = 5

/** On a Redis server or cluster, with a connection for each of the two processes. */
export async function onRedis(url: string, cluster = false): Promise<Place> {
  const settings = resolveSettings({ url, cluster, commandTimeout: '5s', connectTimeout: '5s' }, {})
  const connections = [new Connection(settings, silentLogger), new Connection(settings, silentLogger)] as const
  await Promise.all(connections.map((connection) => connection.connect()))
  const trip = (): Promise<unknown> =>
    Promise.all(connections.map((connection) => connection.execute(['EXISTS', 'turn'], 'turn')))
  return {
    open: () => {
      const prefix = `crossing:${randomUUID()}`
      const [one, two] = connections
      return [new RedisStore(one, prefix), new RedisStore(two, prefix)]
    },
    turn: async () => {
      for (let trips = 0; trips < TRIPS; trips += 1) {
        await trip()
        await nextTurn()
      }
    },
    close: async () => void (await Promise.all(connections.map((connection) => connection.close()))),
  }
}
