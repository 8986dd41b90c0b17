import { expect, test } from 'vitest'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import { makeEntry } from '../support/entries.js'
import { storeContract } from './contract.js'

storeContract('memory', async () => {
  let skippedMs = 0
  const memory = new Memory({ now: () => Date.now() + skippedMs })
  return {
    store: new MemoryStore(memory, 'test'),
    other: new MemoryStore(memory, 'test'),
    loseGroup: async (group) => void memory.groups.delete(`test:group:${group}`),
    outlive: async (ms) => void (skippedMs += ms + 1),
    close: async () => {},
  }
})

test('the memory store stays within its bytes', async () => {
  const memory = new Memory({ maxBytes: 100_000 })
  const store = new MemoryStore(memory, 'test')
  for (let index = 0; index < 100; index += 1)
    await store.set(`/${index}`, makeEntry({ body: Buffer.alloc(10_000) }), 60_000)
  const found = store.read(
    Array.from({ length: 100 }, (_, index) => `/${index}`),
    [],
  )
  const kept = found.entries.flatMap((entry, index) => (entry === undefined ? [] : [index]))
  expect(kept.length).toBeGreaterThan(5)
  expect(kept.length).toBeLessThanOrEqual(10)
  expect(kept.at(-1)).toBe(99)
})

test('an entry larger than the whole budget is not kept and drops nothing else', async () => {
  const store = new MemoryStore(new Memory({ maxBytes: 50_000 }), 'test')
  await store.set('/small', makeEntry(), 60_000)
  await store.set('/large', makeEntry({ body: Buffer.alloc(60_000) }), 60_000)
  expect(store.read(['/small', '/large'], []).entries.map((entry) => entry !== undefined)).toEqual([true, false])
})

test('what the handler does to its buffer afterwards does not change the entry', async () => {
  const store = new MemoryStore(new Memory(), 'test')
  const body = Buffer.from('before')
  await store.set('/a', makeEntry({ body }), 60_000)
  body.fill('x')
  expect(store.read(['/a'], []).entries[0]?.body.toString()).toBe('before')
})

test('a kept body holds no more memory than its bytes', async () => {
  const store = new MemoryStore(new Memory(), 'test')
  await store.set('/a', makeEntry({ body: Buffer.from('small') }), 60_000)
  expect(store.read(['/a'], []).entries[0]?.body.buffer.byteLength).toBe(5)
})

test('expired leases are removed, also of keys that are never requested again (5.8)', async () => {
  let now = 0
  const memory = new Memory({ now: () => now })
  const store = new MemoryStore(memory, 'test')
  const request = { token: 't', leaseMs: 10, seen: undefined, absentGroups: [''], groupTtlMs: 1000 }
  await store.acquireLease('/asked', request)
  now = 20
  expect(await store.isLeased('/asked')).toBe(false)
  expect(memory.leases.size).toBe(0)
  for (let index = 0; index < 5000; index += 1) {
    now += 1
    await store.acquireLease(`/${index}`, request)
  }
  expect(memory.leases.size).toBeLessThanOrEqual(1100)
})

test('prefixes do not see each other', async () => {
  const memory = new Memory()
  const [one, two] = [new MemoryStore(memory, 'one'), new MemoryStore(memory, 'two')]
  await one.set('/a', makeEntry(), 60_000)
  expect(two.read(['/a'], ['']).entries[0]).toBeUndefined()
})

test('groups take a quarter of the budget at most: the oldest is lost, and never the one of the whole prefix', async () => {
  const memory = new Memory({ maxBytes: 1_000_000 })
  const store = new MemoryStore(memory, 'test')
  await store.set('/a', makeEntry({ groups: ['', 'oldest'] }), 60_000)
  const before = memory.bytes
  const groups = Array.from({ length: 1000 }, (_, index) => `g${index}`)
  await store.beginWrite('/', groups)
  expect(memory.bytes - before).toBeGreaterThan(groups.length * 180)
  expect(store.read([], ['', 'oldest']).stamps).not.toContain(undefined)
  await store.beginWrite(
    '/',
    Array.from({ length: 1000 }, (_, index) => `more${index}`),
  )
  expect(memory.bytes - before).toBeLessThan(250_000)
  expect(store.read([], ['', 'oldest', 'more999']).stamps.map((stamp) => stamp !== undefined)).toEqual([
    true,
    false,
    true,
  ])
})

test('what answers have prepared is counted, and not any longer once its entry is gone', async () => {
  const memory = new Memory()
  const store = new MemoryStore(memory, 'test')
  await store.set('/a', makeEntry(), 60_000)
  const stored = memory.bytes
  const entry = store.local.entry({ key: '/a' })
  if (entry !== undefined) entry.memo = {}
  store.local.entry({ key: '/a' })
  store.local.entry({ key: '/a' })
  const prepared = memory.bytes - stored
  expect(prepared).toBeGreaterThan(0)
  await store.evict(['/a'], 'hard')
  await store.set('/a', makeEntry(), 60_000)
  expect(memory.bytes).toBe(stored)
})

test('an entry is gone at the instant of its expiry', async () => {
  let now = 1000
  const store = new MemoryStore(new Memory({ now: () => now }), 'test')
  await store.set('/a', makeEntry({ freshUntil: Infinity, staleUntil: Infinity, errorUntil: Infinity }), 40)
  now = 1039
  expect(store.read(['/a'], []).entries[0]).toBeDefined()
  now = 1040
  expect(store.read(['/a'], []).entries[0]).toBeUndefined()
})
