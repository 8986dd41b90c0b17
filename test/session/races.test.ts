import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { MemorySessionStore } from '../../src/session/memory-session-store.js'
import { RedisSessionStore } from '../../src/session/redis-session-store.js'
import type { Admission, Change, Owned, SubjectEntry } from '../../src/session/session-store.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'
import { Browser, everyOrder } from './orders.js'
import { races } from './races.js'

const now = () => performance.timeOrigin + performance.now()

describe('memory', () => {
  const store = new MemorySessionStore(now)
  races(() => store, { wide: false })
})

describe('Redis', () => {
  let connection: Connection
  let store: RedisSessionStore

  beforeAll(async () => {
    const { url } = await sharedRedis()
    connection = new Connection(resolveSettings({ url, commandTimeout: 5 }, {}), silentLogger)
    await connection.connect()
    store = new RedisSessionStore(connection, `races-${process.pid}`)
  })
  afterAll(() => connection.close())

  races(() => store, { wide: false })
})

describe('the orders find what is wrong', () => {
  test('a save that makes the record where it is not there brings a session back', async () => {
    class Resurrecting extends MemorySessionStore {
      readonly #made = new Map<string, Parameters<MemorySessionStore['create']>[1]>()
      override create(handle: string, creation: Parameters<MemorySessionStore['create']>[1]) {
        this.#made.set(handle, creation)
        return super.create(handle, creation)
      }
      override save(handle: string, from: Owned, change: Change) {
        const result = super.save(handle, from, change)
        const made = this.#made.get(handle)
        if (result === 'ended' && made !== undefined) super.create(handle, made)
        return result === 'ended' ? 'saved' : result
      }
    }
    expect(await brought(new Resurrecting(now), 'end')).toBeGreaterThan(0)
    expect(await brought(new MemorySessionStore(now), 'end')).toBe(0)
  })

  test('an admission that does not tell of a revocation lets a sign-in slip past', async () => {
    class Unfenced extends MemorySessionStore {
      override admit(tag: string, entry: SubjectEntry): Admission {
        return { ...super.admit(tag, entry), revokedAt: 0 }
      }
    }
    expect(await brought(new Unfenced(now), 'revokeAll')).toBeGreaterThan(0)
    expect(await brought(new MemorySessionStore(now), 'revokeAll')).toBe(0)
  })
})

/** In how many orders a user is signed in afterwards. */
async function brought(store: MemorySessionStore, by: 'end' | 'revokeAll'): Promise<number> {
  let found = 0
  await everyOrder({
    store,
    async setUp(sessions) {
      const browser = new Browser()
      if (by === 'end') await browser.ask(sessions, ({ data }) => void (data.userId = 'ann'))
      return browser
    },
    actors: [
      (browser, process) =>
        browser.visit(process, ({ data }) => void (by === 'end' ? (data.count = 1) : (data.userId = 'ann'))),
      (browser, process) =>
        by === 'end' ? browser.visit(process, (session) => session.end()) : process.sessions.revokeAll('ann'),
    ],
    async check(browser, sessions) {
      const all = await Promise.all([...browser.seen].map(async (cookie) => (await sessions.load(cookie)).subject))
      if (all.includes('ann')) found += 1
    },
  })
  return found
}
