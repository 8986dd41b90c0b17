import { expect, test } from 'vitest'
import type { FillLease } from '../../src/cache/fill.js'
import { type Acquired, FillCoordinator } from '../../src/cache/fill.js'
import type { Absent, EntryRef } from '../../src/cache/entry-ref.js'
import { chaos } from '../../src/testing/index.js'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import type { Store } from '../../src/store/store.js'
import { makeEntry } from '../support/entries.js'

const ABSENT: Absent = { state: 'absent', seen: undefined, marker: undefined, absentGroups: [''] }
const PLACE: EntryRef = { key: '/a', groups: [''] }

interface Processes {
  readonly store: Store
  readonly one: FillCoordinator
  readonly two: FillCoordinator
}

/** Two processes' fills over one store. */
function processes(timing = { leaseMs: 5000, waitMs: 5000 }): Processes {
  const memory = new Memory()
  const store = new MemoryStore(memory, 'test')
  return {
    store,
    one: new FillCoordinator(store, Date.now, timing),
    two: new FillCoordinator(new MemoryStore(memory, 'test'), Date.now, timing),
  }
}

function acquire(
  fills: FillCoordinator,
  more: { waitMs?: number; signal?: AbortSignal; accept?: () => boolean } = {},
): Promise<Acquired> {
  return fills.acquire(PLACE, ABSENT, { accept: () => true, groupTtlMs: 60_000, ...more })
}

async function lead(fills: FillCoordinator): Promise<FillLease> {
  const acquired = await acquire(fills)
  if (acquired.state !== 'fill') throw new Error(`expected a fill, got ${acquired.state}`)
  return acquired.fill
}

test('one caller fills, the others of its process and of another are given the same entry', async () => {
  const { one, two } = processes()
  const fill = await lead(one)
  const waiting = [acquire(one), acquire(one), acquire(two), acquire(two)]
  const entry = makeEntry({ stamp: fill.stamp, status: 299 })
  expect(await fill.publish(entry, 60_000)).toBe('stored')
  const ends = await Promise.all(waiting)
  expect(ends.map((end) => end.state === 'found' && end.entry.status)).toEqual([299, 299, 299, 299])
  expect([one.size, two.size]).toEqual([0, 0])
})

test('when a fill is given up, exactly one waiter takes it over', async () => {
  const { one, two } = processes()
  const fill = await lead(one)
  const waiting = [acquire(one), acquire(two), acquire(two)]
  await fill.release()
  const next = await Promise.race(waiting)
  if (next.state !== 'fill') throw new Error(`expected a fill, got ${next.state}`)
  await next.fill.publish(makeEntry({ stamp: next.fill.stamp, status: 298 }), 60_000)
  const states = (await Promise.all(waiting)).map((end) => end.state).sort()
  expect(states).toEqual(['fill', 'found', 'found'])
})

test('a response that may not be stored lets all waiters run side by side', async () => {
  const { one, two } = processes()
  const fill = await lead(one)
  const waiting = [acquire(one), acquire(one), acquire(two)]
  await fill.publish(makeEntry({ kind: 'pass', stamp: fill.stamp }), 1000)
  expect(await Promise.all(waiting)).toEqual(Array(3).fill({ state: 'alone', reason: 'hit-for-pass' }))
})

test('a waiter of this process is never given what was invalidated before it came', async () => {
  const { store, one } = processes()
  const fill = await lead(one)
  await store.evict(['/a'])
  const late = acquire(one)
  expect(await fill.publish(makeEntry({ stamp: fill.stamp }), 60_000)).toBe('fenced')
  expect((await late).state).toBe('fill')
})

test('the same for a group, though the lease was not touched', async () => {
  const { store, one } = processes()
  const fill = await lead(one)
  await store.invalidate([''], 'hard')
  const late = acquire(one)
  expect(await fill.publish(makeEntry({ stamp: fill.stamp }), 60_000)).toBe('fenced')
  expect((await late).state).toBe('fill')
})

test('a wait ends at its limit, and the caller runs alone', async () => {
  const { one, two } = processes({ leaseMs: 60_000, waitMs: 20 })
  await lead(one)
  expect(await acquire(one)).toEqual({ state: 'alone', reason: 'wait-limit' })
  expect(await acquire(two)).toEqual({ state: 'alone', reason: 'wait-limit' })
})

test("a caller that goes away ends its own wait and nobody else's", async () => {
  const { one } = processes()
  const fill = await lead(one)
  const leaving = new AbortController()
  const gone = acquire(one, { signal: leaving.signal })
  const staying = acquire(one)
  leaving.abort()
  expect(await gone).toEqual({ state: 'alone', reason: 'aborted' })
  await fill.publish(makeEntry({ stamp: fill.stamp }), 60_000)
  expect((await staying).state).toBe('found')
})

test('who does not want to wait is told at once', async () => {
  const { one, two } = processes()
  await lead(one)
  expect(await acquire(one, { waitMs: 0 })).toEqual({ state: 'alone', reason: 'busy' })
  expect(await acquire(two, { waitMs: 0 })).toEqual({ state: 'alone', reason: 'busy' })
})

test('a holder that died delays the others by its lease and no more', async () => {
  const memory = new Memory()
  const dead = new MemoryStore(memory, 'test')
  await dead.claim('/a', { token: 'dead', leaseMs: 30, seen: undefined, absentGroups: [''], groupTtlMs: 60_000 })
  const alive = new FillCoordinator(new MemoryStore(memory, 'test'), Date.now, { leaseMs: 5000, waitMs: 5000 })
  expect((await acquire(alive)).state).toBe('fill')
})

test('a fill is renewed while its handler runs', async () => {
  const { one, two } = processes({ leaseMs: 60, waitMs: 400 })
  const fill = await lead(one)
  expect(await acquire(two)).toEqual({ state: 'alone', reason: 'wait-limit' })
  expect(await fill.publish(makeEntry({ stamp: fill.stamp }), 60_000)).toBe('stored')
})

test('an entry that a waiter may not use sends it to its own handler', async () => {
  const { one } = processes()
  const fill = await lead(one)
  const picky = acquire(one, { accept: () => false })
  await fill.publish(makeEntry({ stamp: fill.stamp }), 60_000)
  expect(await picky).toEqual({ state: 'alone', reason: 'unusable' })
})

test('a key that holds something foreign is claimed all the same', async () => {
  const { store, one } = processes()
  await store.set('/a', makeEntry(), 60_000)
  const acquired = await acquire(one, { accept: () => false })
  expect(acquired.state).toBe('fill')
})

test('when the store goes away nobody waits', async () => {
  const memory = new Memory()
  const store = chaos(new MemoryStore(memory, 'test'))
  const fills = new FillCoordinator(store, Date.now, { leaseMs: 5000, waitMs: 5000 })
  const fill = await lead(fills)
  const waiting = [acquire(fills), acquire(fills)]
  store.failing()
  await expect(fill.publish(makeEntry({ stamp: fill.stamp }), 60_000)).rejects.toThrow()
  expect(await Promise.all(waiting)).toEqual(Array(2).fill({ state: 'alone', reason: 'outage' }))
  expect(await acquire(fills)).toEqual({ state: 'alone', reason: 'outage' })
  expect(fills.size).toBe(0)
})
