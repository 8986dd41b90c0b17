import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../src/store/store.js'
import { sharedRedis } from '../support/redis-server.js'
import { inMemory, onRedis, withinReach } from './crossing-stores.js'
import { openSubject } from './crossing-subjects.js'
import {
  type Cell,
  type Change,
  cellsOf,
  failures,
  type Host,
  HOSTS,
  isOfRoutes,
  type Kind,
  type Place,
  rowsOf,
} from './crossings.js'

/** A host's own cells: what lies below the hosts is shown with `scope`, all of it in the long form. */
function quickCells(host: Host, kind: Kind, change: Change): readonly Cell[] {
  if (host === 'scope') return cellsOf(host, kind, change, 'some')
  const cells = cellsOf(host, kind, change, 'none').filter(({ by }) => by === 'other')
  if (!isOfRoutes(kind)) return cells
  return cells.filter(({ moment: [at], groups }) => at === 'handler' && groups === 'warm')
}

test('the matrix has its cells', () => {
  const counts = HOSTS.map((host) => rowsOf(host).flatMap(([kind, change]) => quickCells(host, kind, change)).length)
  expect(Math.min(...counts)).toBeGreaterThan(300)
  expect(counts[0]).toBeGreaterThan(5000)
})

describe.each(HOSTS)('%s, in memory: at every moment', (host) => {
  test.each(rowsOf(host))('%s: %s', async (kind, change) => {
    expect(await failures(quickCells(host, kind, change), inMemory(), openSubject)).toEqual([])
  })
})

describe('route, where hits are remembered: before and after a change', () => {
  const rows = rowsOf('route').filter(([kind]) => ['plain', 'named groups', 'shared: true'].includes(kind))

  test.each(rows)('%s: %s', async (kind, change) => {
    const cells = cellsOf('route', kind, change, 'none').filter(({ moment: [at] }) => at === 'nowhere')
    expect(await failures(cells, withinReach(), openSubject)).toEqual([])
  })
})

describe.each(['Redis', 'Redis behind near caches'])(
  'on %s: a change by the other process at every moment',
  (where) => {
    let server: Awaited<ReturnType<typeof sharedRedis>>
    let place: Place

    beforeAll(async () => {
      server = await sharedRedis()
      place = await onRedis(server.url, false, where !== 'Redis')
    })

    afterAll(async () => {
      await place.close()
      await server.close()
    })

    test.each(rowsOf('scope'))('%s: %s', async (kind, change) => {
      const cells = cellsOf('scope', kind, change, 'none').filter(
        ({ by, groups }) => by === 'other' && groups === 'warm',
      )
      expect(await failures(cells, place, openSubject)).toEqual([])
    })
  },
)

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
    const cells = cellsOf('scope', 'declared vary', change, wrap === forgetsLeases ? 'some' : 'none')
    const failed = await failures(
      cells.filter((cell) => cell.run === run),
      inMemory(wrap),
      openSubject,
      1,
    )
    expect(failed).not.toEqual([])
  })
})
