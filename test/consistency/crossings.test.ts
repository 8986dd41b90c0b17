import { afterAll, describe, expect, test } from 'vitest'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import type { Store } from '../../src/store/store.js'
import { CHANGES, cellsOf, failures, KINDS, type OpenStores } from './crossings.js'

let count = 0

afterAll(() => {
  // A matrix that has lost its cells must not pass.
  expect(count).toBeGreaterThan(4000)
})

/** Everything here waits for promises alone, so one turn of the event loop lets all of it happen. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function memoryStores(wrap: (store: Store) => Store = (store) => store): OpenStores {
  return () => {
    const memory = new Memory()
    return [wrap(new MemoryStore(memory, 'test')), wrap(new MemoryStore(memory, 'test'))]
  }
}

describe.each(KINDS)('%s, in memory: at every moment, with every command lost', (kind) => {
  const changes = CHANGES.filter((change) => cellsOf(kind, change, 'none').length > 0)
  test.each(changes)('%s', async (change) => {
    const cells = cellsOf(kind, change, 'some')
    count += cells.length
    expect(await failures(cells, memoryStores(), turn)).toEqual([])
  })
})

describe('the same cells fail on a store', () => {
  /** Some verbs done otherwise. */
  function naive(verbs: (store: Store) => Partial<Store>): (store: Store) => Store {
    return (store) => {
      const own = verbs(store)
      return new Proxy(store, {
        get: (target, name) => {
          const value: unknown = Reflect.get(own, name) ?? Reflect.get(target, name, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    }
  }

  const stampsWhenStoring = naive((store) => ({
    async publish(key, { token, entry, ttlMs }) {
      await store.releaseLease(key, token)
      await store.set(key, entry, ttlMs)
      return 'stored'
    },
  }))

  const ignoresGroups = naive((store) => ({
    async read(keys, groups) {
      const { entries } = await store.read(keys, groups)
      return { entries, stamps: groups.map(() => ({ incarnation: 1, hard: 0, soft: 0 })) }
    },
  }))

  const lastWriteWins = naive((store) => ({
    async commitWrite({ key, entry, ttlMs = 0, groups, paths, mode }) {
      await store.invalidate(groups, mode)
      const entries = await store.evict([...paths], mode)
      if (entry === undefined) await store.evict([key], mode)
      else await store.set(key, entry, ttlMs)
      return { stored: entry !== undefined, entries }
    },
  }))

  const forgetsLeases = naive(() => ({
    async releaseLease() {},
  }))

  test.each([
    ['that stamps an entry when it is stored', stampsWhenStoring, 'fill', 'evict group'],
    ['that stamps an entry when it is stored', stampsWhenStoring, 'fill', 'evict path'],
    ['whose reader ignores the stamps of groups', ignoresGroups, 'fill', 'evict group'],
    ['where the last write wins', lastWriteWins, 'write', 'write-through'],
    ['where the last write wins', lastWriteWins, 'write', 'evict group'],
    ['that does not give a lease back', forgetsLeases, 'fill', 'evict group'],
  ] as const)('%s', async (_, wrap, run, change) => {
    const cells = cellsOf('declared vary', change, wrap === forgetsLeases ? 'some' : 'none')
    const failed = await failures(
      cells.filter((cell) => cell.run === run),
      memoryStores(wrap),
      turn,
      1,
    )
    expect(failed).not.toEqual([])
  })
})
