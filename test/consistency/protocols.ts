import type { RedisClientType } from '@redis/client'
import type { Redis } from '../../src/create-redis.js'
import { ScopeSubject } from './crossing-subjects.js'
import { type Kind, KINDS, rowsOf } from './crossings.js'
import { pause } from './database.js'

/** A way to keep values beside a database: ours, or one of those that look right. */
export interface Protocol {
  /** The cached value of a key, loaded when there is none. */
  read(key: string, load: () => Promise<number>): Promise<number>
  /** Called after a commit. When it resolves, nobody may be given the value before. */
  invalidate(key: string): Promise<void>
  /** Commits and invalidates in one, where the protocol has to begin before the commit. */
  write?(key: string, commit: () => Promise<number>): Promise<number>
}

export type ProtocolName =
  | 'redwell-key'
  | 'redwell-group'
  | 'redwell-mixed'
  | 'delete-then-set'
  | 'counter-when-storing'
  | 'timestamp-when-storing'

const TTL_MS = 60_000

export function makeProtocol(name: ProtocolName, redis: Redis, prefix: string): Protocol {
  const client = redis.client as RedisClientType
  const at = (kind: string, key: string): string => `${prefix}:naive:${kind}:${key}`
  switch (name) {
    case 'redwell-key':
      return {
        read: (key, load) => redis.cache.getOrSet(key, load, { ttl: 60 }),
        invalidate: async (key) => void (await redis.cache.delete(key)),
      }
    case 'redwell-group':
      return {
        read: (key, load) => redis.cache.getOrSet(key, load, { ttl: 60, group: [`group-of-${key}`, 'all'] }),
        invalidate: async (key) => void (await redis.cache.deleteGroup(`group-of-${key}`)),
      }
    case 'redwell-mixed':
      return mixed(redis)
    // What most services do: a fill that began before the delete stores after it.
    case 'delete-then-set':
      return {
        async read(key, load) {
          const cached = await client.get(at('value', key))
          if (cached !== null) return Number(cached)
          const value = await load()
          await client.set(at('value', key), String(value), { expiration: { type: 'PX', value: TTL_MS } })
          return value
        },
        invalidate: async (key) => void (await client.del(at('value', key))),
      }
    // A generation in the key, read when the value is stored: the old value is stored under the new generation.
    case 'counter-when-storing':
      return {
        async read(key, load) {
          const generation = (await client.get(at('generation', key))) ?? '0'
          const cached = await client.get(at(`value:${generation}`, key))
          if (cached !== null) return Number(cached)
          const value = await load()
          const now = (await client.get(at('generation', key))) ?? '0'
          await client.set(at(`value:${now}`, key), String(value), { expiration: { type: 'PX', value: TTL_MS } })
          return value
        },
        invalidate: async (key) => void (await client.incr(at('generation', key))),
      }
    // Tags with times: the value was loaded before the invalidation and is stamped after it.
    case 'timestamp-when-storing':
      return {
        async read(key, load) {
          const [cached, invalidatedAt] = await Promise.all([
            client.get(at('value', key)),
            client.get(at('invalidated', key)),
          ])
          const [value, storedAt] = (cached ?? '').split('@').map(Number)
          if (cached !== null && (storedAt ?? 0) > Number(invalidatedAt ?? 0)) return value ?? Number.NaN
          const loaded = await load()
          await client.set(at('value', key), `${loaded}@${Date.now()}`, { expiration: { type: 'PX', value: TTL_MS } })
          return loaded
        },
        invalidate: async (key) => void (await client.set(at('invalidated', key), String(Date.now()))),
      }
  }
}

/** Every kind of entry under every kind of change, as they come. */
function mixed(redis: Redis): Protocol {
  const unused = async (): Promise<number> => Number.NaN
  const kindOf = (key: string): Kind => KINDS[Number(key.slice(1)) % KINDS.length] ?? 'plain'
  return {
    read: (key, load) => new ScopeSubject(redis.scope, kindOf(key), { read: load, write: unused }, `/${key}`).read(),
    invalidate: async () => {},
    async write(key, commit) {
      const changes = rowsOf('scope').flatMap(([kind, change]) => {
        // Of two racing `set`s the later call wins, whatever its value: that is not for races.
        return kind === kindOf(key) && change !== 'set' ? [change] : []
      })
      const change = changes[Math.floor(Math.random() * changes.length)] ?? 'evict path'
      let version = Number.NaN
      const write = async (): Promise<number> => {
        await pause(4)
        version = await commit()
        await pause(8)
        return version
      }
      await new ScopeSubject(redis.scope, kindOf(key), { read: unused, write }, `/${key}`).change(change)
      return version
    },
  }
}
