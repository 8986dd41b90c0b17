import { randomUUID } from 'node:crypto'
import type { RedisClientType } from '@redis/client'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type EntryRef, lookupEntry } from '../../src/cache/lookup.js'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import type { Entry, GroupStamp } from '../../src/store/entry.js'
import { Keyspace, pathGroup } from '../../src/store/keyspace.js'
import { NearCache } from '../../src/store/near-cache.js'
import { nearStore, trackingOf } from '../../src/store/near-store.js'
import { RedisStore } from '../../src/store/redis-store.js'
import { makeEntry } from '../support/entries.js'
import { controlled } from '../support/controlled-store.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, sharedRedis, startRedis } from '../support/redis-server.js'
import type { Store } from '../../src/store/store.js'
import { Steps, storeContract, under } from './contract.js'

const MIB = 1024 * 1024

let server: Awaited<ReturnType<typeof sharedRedis>>
let lines: readonly [Connection, Connection]

async function connect(url: string): Promise<Connection> {
  const connection = new Connection(
    resolveSettings({ url, commandTimeout: '5s', invalidationTimeout: '5s' }, {}),
    silentLogger,
  )
  await connection.connect()
  return connection
}

beforeAll(async () => {
  server = await sharedRedis()
  lines = [await connect(server.url), await connect(server.url)]
})

afterAll(async () => {
  await Promise.all(lines.map((line) => line.close()))
  await server.close()
})

/** A near cache in front of Redis, trusted; what it was told can be awaited. */
async function nearOn(line: Connection, prefix: string, maxBytes = 4 * MIB) {
  const near = new NearCache(maxBytes, Date.now)
  const keys = new Keyspace(prefix)
  const tracking = line.track(keys.groups, trackingOf(near, keys))
  onTestFinished(() => tracking.close())
  await expect.poll(() => near.trusted).toBe(true)
  return { near, tracking, store: nearStore(new RedisStore(line, prefix), near) }
}

storeContract('near', async () => {
  const prefix = `near:${randomUUID()}`
  const { store, tracking } = await nearOn(lines[0], prefix)
  return {
    store,
    other: new RedisStore(lines[1], prefix),
    loseGroup: async (group) =>
      void (await lines[0].execute(['DEL', ...new Keyspace(prefix).copies(group)], undefined)),
    loseClock: async () => void (await lines[0].execute(['DEL', `${prefix}:clock`], undefined)),
    told: () => tracking.caughtUp(),
    outlive: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 5)),
    close: () => tracking.close(),
  }
})

describe('two processes', () => {
  const ref = (key = '/a', groups: readonly string[] = ['']): EntryRef => ({ key, path: key, groups })

  async function processes() {
    const prefix = `near:${randomUUID()}`
    const [one, two] = [await nearOn(lines[0], prefix), await nearOn(lines[1], prefix)]
    const status = async ({ store }: typeof one, at = ref()): Promise<number | undefined> => {
      const found = await lookupEntry(store, at, Date.now())
      return found.state === 'valid' ? found.entry.status : undefined
    }
    return { prefix, one, two, status }
  }

  test('a hit asks Redis nothing', async () => {
    const { one, status } = await processes()
    await new Steps(one.store).fill('/a', { status: 201 })
    expect(await status(one)).toBe(201)
    // Not a promise: no command was awaited.
    expect(lookupEntry(one.store, ref(), Date.now())).toMatchObject({ state: 'valid', entry: { status: 201 } })
    expect(one.near.hits).toBe(1)
  })

  test.each([
    ['its group is invalidated', (store: Store) => store.invalidate([''], 'hard')],
    ['its path is evicted', (store: Store) => store.evict(['/a'], 'hard')],
    ['another value is set', (store: Store) => store.set('/a', makeEntry({ status: 202 }), 60_000)],
    [
      'it is written through',
      async (store: Store) => {
        const stamp = await store.beginWrite('/a', [''], 60_000)
        const entry = makeEntry({ status: 202, ...under(stamp) })
        return store.commitWrite({
          path: '/a',
          key: '/a',
          stamp,
          groups: [],
          paths: [],
          mode: 'hard',
          entry,
          ttlMs: 60_000,
        })
      },
    ],
  ])('the other process is told when %s, and the own one knows', async (_, change) => {
    const { one, two, status } = await processes()
    await new Steps(one.store).fill('/a', { status: 201 })
    expect([await status(one), await status(two)]).toEqual([201, 201])
    await change(one.store)
    expect(one.near.entry({ key: '/a' }) === undefined || one.near.stamp('') === undefined).toBe(true)
    expect(await status(one)).not.toBe(201)
    await two.tracking.caughtUp()
    expect(await status(two)).not.toBe(201)
  })

  test.each([
    ['its group is invalidated', (store: Store) => store.invalidate([''], 'hard')],
    ['its path is evicted', (store: Store) => store.evict(['/a'], 'hard')],
    ['another value is set', (store: Store) => store.set('/a', makeEntry({ status: 202 }), 60_000)],
  ])('a reply that is under way when %s is given to its reader and not kept', async (_, change) => {
    const { prefix, one, two, status } = await processes()
    await new Steps(one.store).fill('/a', { status: 201 })
    const slow = controlled(new RedisStore(lines[0], prefix))
    const reader = { ...one, store: nearStore(slow, one.near) }
    const held = slow.hold('read', 'after')
    const reading = status(reader)
    await held.reached
    await change(two.store)
    await one.tracking.caughtUp()
    held.release()
    expect(await reading).toBe(201)
    expect(await status(reader)).not.toBe(201)
  })

  test('a soft eviction makes the entry stale in both', async () => {
    const { one, two } = await processes()
    await new Steps(one.store).fill('/a')
    const softened = async ({ store }: typeof one) => lookupEntry(store, ref(), Date.now())
    await Promise.all([softened(one), softened(two)])
    await one.store.evict(['/a'], 'soft')
    await two.tracking.caughtUp()
    expect(await softened(one)).toMatchObject({ state: 'valid', softened: true })
    expect(await softened(two)).toMatchObject({ state: 'valid', softened: true })
  })

  test('a fill is told to nobody', async () => {
    const { one, two, status } = await processes()
    await new Steps(one.store).fill('/a')
    await status(two)
    await two.tracking.caughtUp()
    const { bumps } = two.near
    await new Steps(one.store).fill('/b')
    await two.tracking.caughtUp()
    expect(two.near.bumps).toBe(bumps)
  })

  test('FLUSHALL, a lost group and an expired one are told', async () => {
    const own = await startRedis()
    onTestFinished(() => own.close())
    const line = await connect(own.url)
    onTestFinished(() => line.close())
    const { store, near, tracking } = await nearOn(line, 'p')
    const fill = async (): Promise<void> => {
      await new Steps(store).fill('/a', {}, { seen: 'any' })
      await lookupEntry(store, ref(), Date.now())
      expect(near.stamp('')).toBeDefined()
    }
    for (const command of [['DEL', 'p:group:'], ['PEXPIRE', 'p:group:', '0'], ['FLUSHALL']]) {
      await fill()
      await line.execute(command, undefined)
      await tracking.caughtUp()
      expect(near.stamp('')).toBeUndefined()
    }
    expect(near.entries).toBe(0)
  })
})

describe('the connection that tells of changes', () => {
  let own: RedisServer
  let line: Connection

  beforeAll(async () => {
    own = await startRedis()
    line = await connect(own.url)
  })

  afterAll(async () => {
    await line.close()
    await own.close()
  })

  /** Ends all connections that track. */
  async function kill(): Promise<number> {
    const list = String(await line.execute(['CLIENT', 'LIST'], undefined)).split('\n')
    const ids = list.filter((text) => / flags=\w*B/.test(text)).map((text) => /^id=(\d+)/.exec(text)?.[1] ?? '')
    for (const id of ids) await line.execute(['CLIENT', 'KILL', 'ID', id], undefined)
    return ids.length
  }

  test('is one, in broadcast mode, for groups alone', async () => {
    const { tracking } = await nearOn(line, 'one')
    expect(tracking.connections).toBe(1)
    const list = String(await line.execute(['CLIENT', 'LIST'], undefined))
    expect(list.match(/ flags=\w*B/g)).toHaveLength(1)
  })

  test('that is lost empties the near cache at once, which is trusted again when the next one is armed', async () => {
    const { store, near } = await nearOn(line, 'lost')
    await new Steps(store).fill('/a')
    await lookupEntry(store, { key: '/a', path: '/a', groups: [''] }, Date.now())
    expect(near.entries).toBe(1)
    expect(await kill()).toBe(1)
    await expect.poll(() => near.trusted).toBe(false)
    expect(near.entries).toBe(0)
    await expect.poll(() => near.trusted).toBe(true)
    await lookupEntry(store, { key: '/a', path: '/a', groups: [''] }, Date.now())
    expect(near.entries).toBe(1)
    await (line.client as RedisClientType).sendCommand(['DEL', 'lost:group:'])
    await expect.poll(() => near.stamp('')).toBeUndefined()
  })

  test('that hangs with its server is given up', async () => {
    const { near } = await nearOn(line, 'hangs')
    own.pause()
    await expect.poll(() => near.trusted, { timeout: 5000 }).toBe(false)
    own.resume()
    await expect.poll(() => near.trusted, { timeout: 10_000 }).toBe(true)
  })
})

describe('a reply that is under way when a change is told', () => {
  const STAMP: GroupStamp = { incarnation: 1, hard: 0, soft: 0 }

  function trusted(maxBytes = 4 * MIB): NearCache {
    const near = new NearCache(maxBytes, Date.now)
    near.trust(true)
    return near
  }

  const reply = (entry: Entry = makeEntry()) => ({ entries: [entry], stamps: [STAMP] })

  test.each([
    ['its group', [''], false, true],
    ['its path', [pathGroup('/a')], true, false],
    ['something else', ['other', pathGroup('/b')], true, true],
  ])('is kept where the change is not of what it holds: %s', (_, changed, keepsStamp, keepsEntry) => {
    const near = trusted()
    const since = near.begin()
    near.changed(changed)
    near.keep(since, ['/a'], [''], reply())
    expect([near.stamp('') !== undefined, near.entry({ key: '/a' }) !== undefined]).toEqual([keepsStamp, keepsEntry])
  })

  test.each([
    ['everything is forgotten', (near: NearCache) => near.clear()],
    ['trust was lost and is back', (near: NearCache) => [false, true].forEach((one) => near.trust(one))],
    [
      'more changes come than are remembered',
      (near: NearCache) => near.changed(Array.from({ length: 20_000 }, (__, index) => String(index))),
    ],
  ])('is not kept where %s', (_, change) => {
    const near = trusted()
    const since = near.begin()
    change(near)
    near.keep(since, ['/a'], [''], reply())
    expect([near.stamp(''), near.entry({ key: '/a' })]).toEqual([undefined, undefined])
    near.keep(near.begin(), ['/a'], [''], reply())
    expect(near.entry({ key: '/a' })).toBeDefined()
  })

  test('what is read while nothing is told is not kept', () => {
    const near = new NearCache(4 * MIB, Date.now)
    const since = near.begin()
    near.trust(true)
    near.keep(since, ['/a'], [''], reply())
    expect(near.entries).toBe(0)
  })
})

describe('bytes', () => {
  const BODY = Buffer.alloc(2000)

  function ask(near: NearCache, key: string): boolean {
    if (near.entry({ key }) !== undefined) return true
    const own = pathGroup(key)
    const result = { entries: [makeEntry({ body: BODY })], stamps: [{ incarnation: 1, hard: 0, soft: 0 }] }
    near.keep(near.begin(), [key], [own], result)
    return false
  }

  test('stay below the limit, stamps included', () => {
    const near = new NearCache(MIB, Date.now)
    near.trust(true)
    for (let index = 0; index < 20_000; index += 1) {
      ask(near, `/cold/${index}`)
      expect(near.bytes).toBeLessThanOrEqual(MIB)
    }
    expect(near.bytes).toBeGreaterThan(0.9 * MIB)
  })

  test('a scan of cold keys does not flush the hot ones', () => {
    const near = new NearCache(MIB, Date.now)
    near.trust(true)
    const hot = Array.from({ length: 100 }, (_, index) => `/hot/${index}`)
    for (let round = 0; round < 5; round += 1) for (const key of hot) ask(near, key)
    for (let index = 0; index < 10_000; index += 1) {
      ask(near, `/cold/${index}`)
      if (index % 5 === 0) ask(near, hot[(index / 5) % hot.length] ?? '')
    }
    expect(hot.filter((key) => ask(near, key)).length).toBeGreaterThan(95)
    expect(near.refused).toBeGreaterThan(9000)
  })

  test('what was hot and is not any longer makes room', () => {
    const near = new NearCache(MIB, Date.now)
    near.trust(true)
    const ages = ['/old/', '/new/'].map((age) => Array.from({ length: 250 }, (_, index) => age + index))
    for (const keys of ages) for (let round = 0; round < 60; round += 1) for (const key of keys) ask(near, key)
    expect(ages[1]?.filter((key) => ask(near, key)).length).toBeGreaterThan(200)
  })
})
