import { LRUCache } from 'lru-cache'
import type { Bench } from '../harness/bench.js'
import { tunedClient } from '../harness/client.js'
import { compared, interleave } from '../harness/compare.js'
import { ITEM_COUNT, type Item, makeItem, SMALL_BYTES, TTL, TTL_SECONDS } from '../harness/items.js'
import { loop } from '../harness/loop.js'
import type { Outcome, Row, Running, Subject } from '../harness/row.js'
import { importedPeer, installPeers, peer } from '../peers/index.js'

type Where = 'memory' | 'redis' | 'both'

/** Gets the value of a key, or loads it: what all of these libraries do. */
type GetOrSet = (key: string, load: () => Promise<Item>) => Promise<unknown>

const TTL_MS = TTL_SECONDS * 1000

/** Hits of a thousand keys, or misses of keys that were never there. The answer tells whether all callers get one object. */
async function looping(getOrSet: GetOrSet, isMiss: boolean): Promise<Running> {
  let loads = 0
  const get = (n: number): Promise<unknown> =>
    getOrSet(`item-${isMiss ? `new-${n}` : n % ITEM_COUNT}`, async () => {
      loads += 1
      return makeItem(String(n), SMALL_BYTES)
    })
  if (!isMiss) for (let n = 0; n < ITEM_COUNT; n++) await get(n)
  const isShared = !isMiss && (await get(0)) === (await get(0))
  return { ...loop(get), answer: () => ({ loads, isShared }) }
}

type Making = (where: Where, redisUrl: string) => Promise<GetOrSet>

const redwell =
  (shared: boolean): Making =>
  async (where, redisUrl) => {
    const { createRedis } = await import('redwell')
    const near = where === 'both' ? { near: { maxBytes: 64 * 1024 * 1024 } } : {}
    const { cache } = await createRedis({ url: where === 'memory' ? 'memory:' : redisUrl, ...near }).connect()
    const options = shared ? ({ ttl: TTL, shared: true } as const) : ({ ttl: TTL } as const)
    return (key, load) => cache.getOrSet(key, load, options)
  }

const bentocache: Making = async (where, redisUrl) => {
  const { BentoCache, bentostore } = (await importedPeer('bentocache')) as {
    BentoCache: new (options: object) => { getOrSet(options: object): Promise<unknown> }
    bentostore: () => Layers
  }
  interface Layers {
    useL1Layer(driver: never): Layers
    useL2Layer(driver: never): Layers
  }
  const { memoryDriver } = (await importedPeer('bentocache/drivers/memory')) as {
    memoryDriver: (options: object) => never
  }
  const { redisDriver } = (await importedPeer('bentocache/drivers/redis')) as {
    redisDriver: (options: object) => never
  }
  const { port } = new URL(redisUrl)
  let store = bentostore()
  if (where !== 'redis') store = store.useL1Layer(memoryDriver({ maxSize: '64mb' }))
  if (where !== 'memory')
    store = store.useL2Layer(redisDriver({ connection: { host: '127.0.0.1', port: Number(port) } }))
  const cache = new BentoCache({ default: 'items', stores: { items: store } })
  return (key, factory) => cache.getOrSet({ key, factory, ttl: '1h' })
}

const cacheManager: Making = async (where, redisUrl) => {
  const { createCache } = (await importedPeer('cache-manager')) as {
    createCache: (options: object) => { wrap(key: string, load: () => Promise<unknown>, ttl: number): Promise<unknown> }
  }
  const { createKeyv } = (await importedPeer('@keyv/redis')) as { createKeyv: (url: string) => object }
  const cache = createCache(where === 'memory' ? {} : { stores: [createKeyv(redisUrl)] })
  return (key, load) => cache.wrap(key, load, TTL_MS)
}

const asyncCacheDedupe: Making = async (where, redisUrl) => {
  const { createCache } = peer('async-cache-dedupe') as {
    createCache: (options: object) => {
      define(name: string, load: (key: string) => Promise<unknown>): { item: (key: string) => Promise<unknown> }
    }
  }
  const { Redis } = peer('ioredis') as { Redis: new (url: string) => object }
  const storage =
    where === 'memory'
      ? { type: 'memory', options: { size: ITEM_COUNT } }
      : { type: 'redis', options: { client: new Redis(redisUrl) } }
  const loads = new Map<string, () => Promise<unknown>>()
  const cache = createCache({ ttl: TTL_SECONDS, storage }).define('item', async (key) => loads.get(key)?.())
  return async (key, load) => {
    loads.set(key, load)
    const found = await cache.item(key)
    loads.delete(key)
    return found
  }
}

const cachified: Making = async (where, redisUrl) => {
  const { cachified: getOrSet } = peer('@epic-web/cachified') as {
    cachified: (options: object) => Promise<unknown>
  }
  const cache = where === 'memory' ? new LRUCache<string, object>({ max: ITEM_COUNT }) : await byHand(redisUrl)
  return (key, getFreshValue) => getOrSet({ key, cache, ttl: TTL_MS, getFreshValue })
}

/** Its adapter for Redis, on the tuned client. */
async function byHand(redisUrl: string): Promise<object> {
  const client = await tunedClient(redisUrl)
  return {
    name: 'redis',
    get: async (key: string) => {
      const found = await client.get(key)
      return found === null ? null : (JSON.parse(String(found)) as unknown)
    },
    set: (key: string, value: unknown) =>
      client.set(key, JSON.stringify(value), { expiration: { type: 'EX', value: TTL_SECONDS } }),
    delete: (key: string) => client.del(key),
  }
}

const cacheable: Making = async (where, redisUrl) => {
  const { Cacheable } = (await importedPeer('cacheable')) as {
    Cacheable: new (options: object) => {
      getOrSet(key: string, load: () => Promise<unknown>, options: object): Promise<unknown>
    }
  }
  const { createKeyv } = (await importedPeer('@keyv/redis')) as { createKeyv: (url: string) => object }
  const layers = {
    memory: () => ({}),
    redis: () => ({ primary: createKeyv(redisUrl) }),
    both: () => ({ secondary: createKeyv(redisUrl) }),
  }
  const cache = new Cacheable(layers[where]())
  return (key, load) => cache.getOrSet(key, load, { ttl: TTL_MS })
}

const PEERS = [
  ['bentocache', bentocache, ['memory', 'redis', 'both']],
  ['cache-manager with @keyv/redis', cacheManager, ['memory', 'redis']],
  ['async-cache-dedupe', asyncCacheDedupe, ['memory', 'redis']],
  ['cachified', cachified, ['memory', 'redis']],
  ['cacheable', cacheable, ['memory', 'redis', 'both']],
] as const satisfies readonly (readonly [string, Making, readonly Where[]])[]

const KINDS = ['hit', 'miss'] as const
const WHERES: readonly Where[] = ['memory', 'redis', 'both']

const subjectsOf = (name: string, making: Making): [string, Subject][] =>
  WHERES.flatMap((where) =>
    KINDS.map((kind): [string, Subject] => [
      `${name} ${where} ${kind}`,
      async ({ redisUrl }) => looping(await making(where, redisUrl), kind === 'miss'),
    ]),
  )

const STORES: Readonly<Record<Where, string>> = { memory: 'memory', redis: 'Redis', both: 'memory before Redis' }

async function against(bench: Bench, name: string, where: Where, kind: (typeof KINDS)[number]): Promise<Outcome> {
  await bench.flush()
  const base = await bench.start(`${name} ${where} ${kind}`)
  const { isShared } = await base.process.call<{ isShared: boolean }>('ask')
  // Who gives all callers one object is compared with who does the same.
  const ours = await bench.start(`${isShared ? 'shared' : 'redwell'} ${where} ${kind}`)
  const samples = await interleave(bench, { ours: () => bench.loopSample(ours), base: () => bench.loopSample(base) })
  const { loads } = await base.process.call<{ loads: number }>('ask')
  if (kind === 'hit' && loads > ITEM_COUNT) throw new Error(`${name}: ${loads} loads in a row of hits`)
  await Promise.all([ours.process.close(), base.process.close()])
  const shared = isShared ? ', one object for everybody' : ''
  const what = `getOrSet: ${kind} ${kind === 'hit' ? 'from' : 'on'} ${STORES[where]}${shared}, against ${name}`
  return compared({ id: 'B19-data', what, ours: samples.ours, base: samples.base, atLeast: 1 })
}

export default {
  id: 'B19-data',
  subjects: Object.fromEntries([
    ...subjectsOf('redwell', redwell(false)),
    ...subjectsOf('shared', redwell(true)),
    ...PEERS.flatMap(([name, making]) => subjectsOf(name, making)),
  ]),
  async run(bench: Bench) {
    installPeers()
    const outcomes: Outcome[] = []
    for (const [name, , wheres] of PEERS) {
      for (const where of wheres) outcomes.push(await against(bench, name, where, 'hit'))
      outcomes.push(await against(bench, name, 'redis', 'miss'))
    }
    return outcomes
  },
} satisfies Row
