import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Entry } from '../../src/store/entry.js'
import type { Claim, Store } from '../../src/store/store.js'
import { makeEntry } from '../support/entries.js'

export interface StoreUnderTest {
  readonly store: Store
  /** Another process' view of the same entries. */
  readonly other: Store
  /** Loses a group's stamps, as an eviction by the server would. */
  loseGroup(group: string): Promise<void>
  /** Loses the logical clock. */
  loseClock(): Promise<void>
  /** Waits until the lease of a key has run out. */
  outlive(leaseMs: number): Promise<void>
  close(): Promise<void>
}

const LEASE_MS = 5000

/** What every store must do. Groups always begin with the prefix's own, ''. */
export function storeContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`store contract: ${name}`, () => {
    let under: StoreUnderTest
    let store: Store

    beforeEach(async () => {
      under = await open()
      store = under.store
    })

    afterEach(() => under.close())

    async function find(
      key: string,
      groups: readonly string[] = [''],
    ): Promise<{ entry: Entry | undefined; hard: (number | undefined)[] }> {
      const found = await store.read([key], groups)
      return { entry: found.entries[0], hard: found.stamps.map((stamp) => stamp?.hard) }
    }

    function claim(
      key: string,
      token = 'token',
      more: Partial<Claim> = {},
      on: Store = store,
    ): ReturnType<Store['claim']> {
      return on.claim(key, {
        token,
        leaseMs: LEASE_MS,
        seen: undefined,
        absentGroups: [''],
        groupTtlMs: 60_000,
        ...more,
      })
    }

    async function fill(key: string, more: Partial<Entry> = {}, token = 'token'): Promise<Entry> {
      const claimed = await claim(key, token, { absentGroups: more.groups ?? [''] })
      if (claimed.state !== 'granted') throw new Error(`not granted: ${claimed.state}`)
      const entry = makeEntry({ ...more, stamp: claimed.stamp })
      expect(await store.publish(key, { token, entry, ttlMs: 60_000, verify: true })).toBe('stored')
      return entry
    }

    test('what is published is read back, to the byte and field', async () => {
      const body = Buffer.from([0, 255, 10, 13, 128])
      const entry = await fill('/a', {
        body,
        headers: ['X-A', '1', 'set-x', '', 'X-A', 'é'],
        status: 404,
        flags: 513,
        groups: ['', 'g'],
      })
      const { entry: found } = await find('/a', ['', 'g'])
      expect({ ...found, memo: undefined }).toEqual({ ...entry, memo: undefined })
    })

    test('a key never stored has no entry, and a group never named has no stamp', async () => {
      expect(await find('/nothing', ['', 'g'])).toEqual({ entry: undefined, hard: [undefined, undefined] })
    })

    test('several keys are read at once, in order', async () => {
      await fill('/1', { status: 201 })
      await fill('/3', { status: 203 })
      const { entries } = await store.read(['/1', '/2', '/3'], [])
      expect(entries.map((entry) => entry?.status)).toEqual([201, undefined, 203])
    })

    test('only one claim on a key is granted until it is released', async () => {
      expect((await claim('/a')).state).toBe('granted')
      const second = await claim('/a', 'second', {}, under.other)
      expect(second.state).toBe('held')
      await store.release('/a', 'token')
      expect((await claim('/a', 'third', {}, under.other)).state).toBe('granted')
    })

    test("a release with somebody else's token changes nothing", async () => {
      await claim('/a')
      await store.release('/a', 'stranger')
      expect((await claim('/a', 'second')).state).toBe('held')
    })

    test('a claim ends by itself when its holder is gone', async () => {
      await claim('/a', 'dead', { leaseMs: 30 })
      await under.outlive(30)
      expect((await claim('/a', 'next')).state).toBe('granted')
    })

    test('a renewed claim outlives its first limit; a lost one cannot be renewed', async () => {
      await claim('/a', 'token', { leaseMs: 30 })
      expect(await store.renew('/a', 'token', LEASE_MS)).toBe(true)
      await under.outlive(30)
      expect((await claim('/a', 'next')).state).toBe('held')
      expect(await store.renew('/a', 'stranger', LEASE_MS)).toBe(false)
    })

    test('a claim on a key that changed since it was read is not granted', async () => {
      await fill('/a')
      expect((await claim('/a', 'late')).state).toBe('changed')
      expect((await claim('/a', 'late', { seen: (await find('/a')).entry })).state).toBe('granted')
    })

    test('a claim may ask to ignore what stands at the key', async () => {
      await fill('/a')
      expect((await claim('/a', 'any', { seen: 'any' })).state).toBe('granted')
    })

    test('a fill whose lease was taken over is fenced', async () => {
      const slow = await claim('/a', 'slow', { leaseMs: 30 })
      await under.outlive(30)
      await fill('/a', { status: 201 }, 'fast')
      const entry = makeEntry({ stamp: slow.state === 'granted' ? slow.stamp : 0, status: 200 })
      expect(await store.publish('/a', { token: 'slow', entry, ttlMs: 1000, verify: false })).toBe('fenced')
      expect((await find('/a')).entry?.status).toBe(201)
    })

    test('evicting a key removes its entry and fences the fill in flight', async () => {
      await fill('/a')
      const claimed = await claim('/a', 'slow', { seen: (await find('/a')).entry })
      expect(await under.other.evict(['/a', '/b'])).toBe(1)
      const entry = makeEntry({ stamp: claimed.state === 'granted' ? claimed.stamp : 0 })
      expect(await store.publish('/a', { token: 'slow', entry, ttlMs: 1000, verify: false })).toBe('fenced')
      expect((await find('/a')).entry).toBeUndefined()
    })

    test('invalidating a group leaves its entries with an older stamp than the group', async () => {
      const entry = await fill('/a', { groups: ['', 'g'] })
      const { stamp, before } = await under.other.invalidate(['g'], 'hard')
      const { hard } = await find('/a', ['', 'g'])
      expect(hard[1]).toBe(stamp)
      expect(stamp).toBeGreaterThan(entry.stamp)
      expect(before[0]?.hard).toBeLessThanOrEqual(entry.stamp)
      expect(hard[0]).toBeLessThanOrEqual(entry.stamp)
    })

    test('a fill that began before its group was invalidated is fenced when it asks, and never valid', async () => {
      const claimed = await claim('/a', 'slow', { absentGroups: ['', 'g'] })
      await under.other.invalidate(['g'], 'hard')
      const entry = makeEntry({ stamp: claimed.state === 'granted' ? claimed.stamp : 0, groups: ['', 'g'] })
      expect(await store.publish('/a', { token: 'slow', entry, ttlMs: 1000, verify: true })).toBe('fenced')
      const { entry: found, hard } = await find('/a', ['g'])
      expect(found === undefined || (hard[0] ?? Infinity) > found.stamp).toBe(true)
    })

    test('a fill that begins after an invalidation is not fenced by it', async () => {
      await fill('/a', { groups: ['', 'g'] })
      const { stamp } = await store.invalidate(['g'], 'hard')
      const claimed = await claim('/b', 'token', { absentGroups: [] })
      expect(claimed.state === 'granted' && claimed.stamp >= stamp).toBe(true)
    })

    test('every invalidation moves the clock on, also when the clock was lost', async () => {
      await fill('/a', { groups: ['', 'g'] })
      const first = await store.invalidate(['g'], 'hard')
      await under.loseClock()
      const second = await under.other.invalidate(['g'], 'hard')
      const third = await store.invalidate(['g'], 'hard')
      expect(second.stamp).toBeGreaterThan(first.stamp)
      expect(third.stamp).toBeGreaterThan(second.stamp)
    })

    test('a group that was lost after an invalidation does not make an older fill valid', async () => {
      const claimed = await claim('/a', 'slow', { absentGroups: ['', 'g'] })
      await under.other.invalidate(['g'], 'hard')
      await under.loseGroup('g')
      const entry = makeEntry({ stamp: claimed.state === 'granted' ? claimed.stamp : 0, groups: ['', 'g'] })
      await store.publish('/a', { token: 'slow', entry, ttlMs: 1000, verify: true })
      const again = await claim('/b', 'next', { absentGroups: ['', 'g'] })
      const { entry: found, hard } = await find('/a', ['g'])
      expect(again.state).toBe('granted')
      expect(found === undefined || (hard[0] ?? Infinity) > found.stamp).toBe(true)
    })

    test('a group that its handler named first is created when the entry is stored', async () => {
      const claimed = await claim('/a')
      const entry = makeEntry({ stamp: claimed.state === 'granted' ? claimed.stamp : 0, groups: ['', 'new'] })
      expect(await store.publish('/a', { token: 'token', entry, ttlMs: 1000, verify: true })).toBe('stored')
      expect((await find('/a', ['new'])).hard[0]).toBeLessThanOrEqual(entry.stamp)
    })

    test('a soft invalidation leaves entries valid and tells that they are not fresh', async () => {
      const entry = await fill('/a', { groups: ['', 'g'] })
      await store.invalidate(['g'], 'soft')
      const { stamps } = await store.read(['/a'], ['g'])
      expect(stamps[0]?.hard).toBeLessThanOrEqual(entry.stamp)
      expect(stamps[0]?.soft).toBeGreaterThan(entry.stamp)
      const { stamp } = await store.invalidate(['g'], 'hard')
      expect((await store.read([], ['g'])).stamps[0]?.hard).toBe(stamp)
    })

    test('of the variants of a path the ones that end first make room', async () => {
      const now = Date.now()
      expect(await store.enrol('path', 'a', now + 3000, 2, now)).toEqual([])
      expect(await store.enrol('path', 'b', Infinity, 2, now)).toEqual([])
      expect(await store.enrol('path', 'a', now + 4000, 2, now)).toEqual([])
      expect(await store.enrol('path', 'c', now + 5000, 2, now)).toEqual(['a'])
      expect((await store.enrolled('path', now)).toSorted()).toEqual(['b', 'c'])
      expect(await store.enrolled('path', now + 5000)).toEqual(['b'])
      expect(await store.enrol('path', 'd', now + 9000, 2, now + 5000)).toEqual([])
      expect(await store.enrolled('other', now)).toEqual([])
    })

    test('prolonging lengthens a life, never shortens it, and does not bring anything back', async () => {
      await store.set('/a', makeEntry(), 40)
      await store.prolong('/a', 60_000)
      await store.prolong('/a', 20)
      await store.prolong('/b', 60_000)
      await under.outlive(40)
      expect((await find('/a')).entry?.status).toBe(200)
      expect((await find('/b')).entry).toBeUndefined()
    })

    test('softening a key makes its entry stale at once', async () => {
      const now = Date.now()
      await fill('/a', { freshUntil: now + 60_000 })
      expect(await store.soften(['/a', '/b'], now - 1)).toBe(1)
      expect((await find('/a')).entry?.freshUntil).toBe(now - 1)
    })

    test('a lone writer stores; readers find nothing in between and no fill is granted', async () => {
      await fill('/a', { status: 201 })
      const stamp = await store.announce('/a', 'writer', LEASE_MS)
      expect((await find('/a')).entry).toBeUndefined()
      expect((await claim('/a', 'reader', {}, under.other)).state).toBe('held')
      const written = { entry: makeEntry({ stamp, status: 202 }), ttlMs: 1000 }
      expect(await store.complete('/a', 'writer', written)).toBe('stored')
      expect((await find('/a')).entry?.status).toBe(202)
    })

    test.each([
      ['the first ends first', ['one', 'two']],
      ['the second ends first', ['two', 'one']],
    ])('of two overlapping writers none stores: %s', async (_, order) => {
      const stamp = await store.announce('/a', 'one', LEASE_MS)
      await under.other.announce('/a', 'two', LEASE_MS)
      for (const token of order) {
        const write = { entry: makeEntry({ stamp }), ttlMs: 1000 }
        expect(await store.complete('/a', token, write)).toBe('fenced')
        expect((await find('/a')).entry).toBeUndefined()
      }
      expect((await claim('/a', 'reader')).state).toBe('granted')
    })

    test('a writer that ends without a value leaves nothing behind', async () => {
      await store.announce('/a', 'writer', LEASE_MS)
      expect(await store.complete('/a', 'writer', undefined)).toBe('fenced')
      expect((await claim('/a', 'reader')).state).toBe('granted')
    })

    test('a writer that keeps the entry lets it be read until it stores another', async () => {
      await fill('/a', { status: 201 })
      const stamp = await store.announce('/a', 'writer', LEASE_MS, true)
      expect((await find('/a')).entry?.status).toBe(201)
      expect((await claim('/a', 'reader', {}, under.other)).state).toBe('held')
      const written = { entry: makeEntry({ stamp, status: 202 }), ttlMs: 1000 }
      expect(await store.complete('/a', 'writer', written)).toBe('stored')
      expect((await find('/a')).entry?.status).toBe(202)
    })

    test('a writer that keeps the entry and changed nothing leaves it, and everybody else as they are', async () => {
      await fill('/a', { status: 201 })
      await store.announce('/a', 'one', LEASE_MS, true)
      expect(await store.complete('/a', 'one', undefined, true)).toBe('fenced')
      expect((await find('/a')).entry?.status).toBe(201)
      await store.announce('/b', 'late', 30, true)
      await under.outlive(30)
      const reader = await claim('/b', 'reader')
      await store.complete('/b', 'late', undefined, true)
      const entry = makeEntry({ stamp: reader.state === 'granted' ? reader.stamp : 0 })
      expect(await store.publish('/b', { token: 'reader', entry, ttlMs: 1000, verify: false })).toBe('stored')
    })

    test('a writer that kept the entry and stores nothing ends it; two of them end it as well', async () => {
      await fill('/a')
      await store.announce('/a', 'one', LEASE_MS, true)
      expect(await store.complete('/a', 'one', undefined)).toBe('fenced')
      expect((await find('/a')).entry).toBeUndefined()
      await fill('/a')
      const stamp = await store.announce('/a', 'one', LEASE_MS, true)
      await under.other.announce('/a', 'two', LEASE_MS, true)
      expect(await store.complete('/a', 'one', { entry: makeEntry({ stamp }), ttlMs: 1000 })).toBe('fenced')
      expect((await find('/a')).entry).toBeUndefined()
      await under.other.complete('/a', 'two', undefined, true)
      expect((await claim('/a', 'reader')).state).toBe('granted')
    })

    test('a writer whose lease ran out does not store, and ends the fill that began meanwhile', async () => {
      const stamp = await store.announce('/a', 'writer', 30)
      await under.outlive(30)
      const reader = await claim('/a', 'reader')
      const write = { entry: makeEntry({ stamp }), ttlMs: 1000 }
      expect(await store.complete('/a', 'writer', write)).toBe('fenced')
      const entry = makeEntry({ stamp: reader.state === 'granted' ? reader.stamp : 0 })
      expect(await store.publish('/a', { token: 'reader', entry, ttlMs: 1000, verify: false })).toBe('fenced')
    })

    test('an eviction while a writer is active keeps the writer from storing', async () => {
      const stamp = await store.announce('/a', 'writer', LEASE_MS)
      await under.other.evict(['/a'])
      expect(await store.complete('/a', 'writer', { entry: makeEntry({ stamp }), ttlMs: 1000 })).toBe('fenced')
      expect((await claim('/a', 'reader')).state).toBe('granted')
    })

    test('set stores at once and fences the fill in flight', async () => {
      const claimed = await claim('/a', 'slow')
      const stamp = await store.set('/a', makeEntry({ status: 299 }), 60_000)
      expect(stamp).toBeGreaterThan(0)
      const entry = makeEntry({ stamp: claimed.state === 'granted' ? claimed.stamp : 0 })
      expect(await store.publish('/a', { token: 'slow', entry, ttlMs: 1000, verify: false })).toBe('fenced')
      const found = await find('/a')
      expect(found.entry?.status).toBe(299)
      expect(found.hard[0]).toBeLessThanOrEqual(found.entry?.stamp ?? 0)
    })

    test('set and a writer at the same time: neither is stored', async () => {
      const stamp = await store.announce('/a', 'writer', LEASE_MS)
      expect(await store.set('/a', makeEntry(), 60_000)).toBeUndefined()
      expect(await store.complete('/a', 'writer', { entry: makeEntry({ stamp }), ttlMs: 1000 })).toBe('fenced')
      expect((await find('/a')).entry).toBeUndefined()
    })

    test.each([
      [
        'publish',
        async (token: string) =>
          void (await store.publish('/a', { token, entry: makeEntry({ stamp: 1e18 }), ttlMs: 1000, verify: false })),
      ],
      ['release', (token: string) => store.release('/a', token)],
      ['evict', async () => void (await store.evict(['/a']))],
      ['set', async () => void (await store.set('/a', makeEntry(), 1000))],
    ])('who waits for a lease is woken by %s', async (_, end) => {
      await claim('/a', 'holder')
      await under.other.listen()
      const woken = new Promise<void>((resolve) => {
        under.other.onWake('/a', resolve)
      })
      expect((await claim('/a', 'waiter', {}, under.other)).state).toBe('held')
      await end('holder')
      await woken
    })

    test('a stopped wait is not called back', async () => {
      await claim('/a', 'holder')
      await store.listen()
      let calls = 0
      const stop = store.onWake('/a', () => (calls += 1))
      await claim('/a', 'waiter')
      stop()
      const woken = new Promise<void>((resolve) => {
        store.onWake('/a', resolve)
      })
      await store.release('/a', 'holder')
      await woken
      expect(calls).toBe(0)
    })

    test('a sweep removes what no reader can accept, and nothing else', async () => {
      await fill('/dead', { groups: ['', 'g'], freshUntil: Infinity, staleUntil: Infinity, errorUntil: Infinity })
      await fill('/live', { groups: [''], freshUntil: Infinity, staleUntil: Infinity, errorUntil: Infinity })
      await store.invalidate(['g'], 'hard')
      let removed = 0
      let cursor = '0'
      do {
        const step = await store.sweep(cursor, 100, Date.now())
        removed += step.removed
        cursor = step.cursor
      } while (cursor !== '0')
      expect(removed).toBe(1)
      const { entries } = await store.read(['/dead', '/live'], [])
      expect(entries.map((entry) => entry === undefined)).toEqual([true, false])
    })

    test('finds entries and leases by a pattern, and only those of its prefix', async () => {
      const keys = ['value:a:1', 'value:a:2', 'value:ab:1', 'value:a!2A:1']
      for (const key of keys) await store.set(key, makeEntry(), 60_000)
      await claim('value:a:3')
      const match = async (kind: 'entries' | 'leases', pattern: string) => {
        const found = new Set<string>()
        let cursor = '0'
        do {
          const step = await store.match(kind, pattern, cursor, 1)
          for (const key of step.keys) found.add(key)
          cursor = step.cursor
        } while (cursor !== '0')
        return [...found].toSorted()
      }
      expect(await match('entries', 'value:a:*')).toEqual(['value:a:1', 'value:a:2'])
      expect(await match('entries', '*:1')).toEqual(['value:a!2A:1', 'value:a:1', 'value:ab:1'])
      expect(await match('entries', 'value:a:1')).toEqual(['value:a:1'])
      expect(await match('leases', '*')).toEqual(['value:a:3'])
      expect(await match('entries', 'value:(a')).toEqual([])
    })

    test('what is read without a promise is what read gives', async () => {
      if (store.local === undefined) return
      const spot = { key: '/a' }
      expect(store.local.entry(spot)).toBeUndefined()
      for (const status of [201, 202]) {
        await store.set('/a', makeEntry({ status }), 60_000)
        expect(store.local.entry(spot)?.status).toBe(status)
        expect(store.local.entry(spot)).toBe((await find('/a')).entry)
      }
      await store.soften(['/a'], 5)
      expect(store.local.entry(spot)?.freshUntil).toBe(5)
      await store.evict(['/a'])
      expect(store.local.entry(spot)).toBeUndefined()
      expect(store.local.stamp('')).toEqual((await store.read([], [''])).stamps[0])
    })
  })
}
