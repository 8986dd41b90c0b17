import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CacheScope } from '../../src/cache/cache-scope.js'
import type { EntryRef } from '../../src/cache/lookup.js'
import type { Entry } from '../../src/store/entry.js'
import { pathGroup } from '../../src/store/keyspace.js'
import { Memory, MemoryStore } from '../../src/store/memory-store.js'
import { type ControlledStore, controlled } from '../support/controlled-store.js'
import { makeEntry } from '../support/entries.js'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

interface Setup {
  readonly scope: CacheScope
  readonly store: ControlledStore
  readonly memory: Memory
  readonly lines: string[]
}

function setUp(): Setup {
  const memory = new Memory()
  const store = controlled(new MemoryStore(memory, 'test'))
  const lines: string[] = []
  const log = (message: string): void => void lines.push(message)
  const scope = new CacheScope(store, { now: Date.now, logger: { info: log, warn: log, error: log } })
  return { scope, store, memory, lines }
}

function ref(key = '/a', groups: readonly string[] = ['']): EntryRef {
  return { key, path: key, groups }
}

function variant(name: string): EntryRef {
  return { key: `/a|accept=${name}`, path: '/a', groups: ['', pathGroup('/a')] }
}

/** Fills an entry as a request would. */
async function fill(scope: CacheScope, at: EntryRef, more: Partial<Entry> = {}): Promise<string> {
  const found = await scope.lookup(at)
  if (found.state !== 'absent') throw new Error(`expected nothing, found ${found.state}`)
  const acquired = await scope.fills.acquire(at, found, { accept: () => true, groupTtlMs: 60_000 })
  if (acquired.state !== 'fill') throw new Error(`expected a fill, got ${acquired.state}`)
  return acquired.fill.publish(makeEntry({ groups: at.groups, ...more }), 60_000)
}

async function state(scope: CacheScope, at: EntryRef): Promise<string> {
  const found = await scope.lookup(at)
  return found.state === 'valid' && found.softened ? 'softened' : found.state
}

describe('an entry is valid', () => {
  test('only while every one of its groups has a stamp that is not newer: a lost group is doubt, and doubt is a miss', async () => {
    const { scope, memory } = setUp()
    const at = ref('/a', ['', 'g'])
    await fill(scope, at)
    expect(await state(scope, at)).toBe('valid')
    memory.groups.delete('test:group:g')
    expect(await state(scope, at)).toBe('absent')
    expect(await scope.lookupMany([at])).toMatchObject([{ state: 'absent', absentGroups: ['g'] }])
  })

  test('only under the clock that it was stored by', async () => {
    const { scope, memory } = setUp()
    const at = ref('/a', ['', 'g'])
    await fill(scope, at)
    memory.groups.set('test:group:g', { incarnation: 2, hard: 1, soft: 0 })
    expect(await state(scope, at)).toBe('absent')
  })

  test('only where it carries the groups that its reader asks for', async () => {
    const { scope } = setUp()
    await fill(scope, ref('/a', ['', 'g']))
    expect(await state(scope, ref('/a', ['']))).toBe('valid')
    expect(await state(scope, ref('/a', ['', 'h']))).toBe('absent')
  })

  test('only while the groups that its handler named allow it, which the reader did not know', async () => {
    const { scope } = setUp()
    await fill(scope, ref(), { groups: ['', 'named'] })
    expect(await state(scope, ref())).toBe('valid')
    await scope.evict({ groups: ['named'] })
    expect(await state(scope, ref())).toBe('absent')
  })

  test('in a batch as alone; all groups that handlers named are read in one more trip', async () => {
    const { scope, store } = setUp()
    await fill(scope, ref('/a'), { groups: ['', 'x'] })
    await fill(scope, ref('/b'), { groups: ['', 'y'] })
    await fill(scope, ref('/c', ['', 'g']))
    await scope.evict({ groups: ['y'] })
    await scope.evict({ groups: ['g'], mode: 'soft' })
    const reads = store.calls.read
    const found = await scope.lookupMany([ref('/a'), ref('/b'), ref('/c', ['', 'g']), ref('/d')])
    expect(found.map((one) => (one.state === 'valid' && one.softened ? 'softened' : one.state))).toEqual([
      'valid',
      'absent',
      'softened',
      'absent',
    ])
    expect(store.calls.read - reads).toBe(2)
  })

  test('as long as it is of use, though it is stale', async () => {
    const { scope } = setUp()
    const now = Date.now()
    await fill(scope, ref(), { freshUntil: now + 1000, staleUntil: now + 2000, errorUntil: now + 3000 })
    vi.advanceTimersByTime(2500)
    expect(await state(scope, ref())).toBe('valid')
    vi.advanceTimersByTime(500)
    expect(await state(scope, ref())).toBe('absent')
  })

  test('from the memory of this process as from the store', async () => {
    const { memory } = setUp()
    const scope = new CacheScope(new MemoryStore(memory, 'test'), { now: Date.now, logger: console })
    const at = ref('/a', ['', 'g'])
    await fill(scope, at)
    expect(scope.lookup(at)).toMatchObject({ state: 'valid', softened: false })
    await scope.evict({ groups: ['g'], mode: 'soft' })
    expect(scope.lookup(at)).toMatchObject({ state: 'valid', softened: true })
    await scope.evict({ groups: ['g'] })
    expect(scope.lookup(at)).toMatchObject({ state: 'absent' })
    memory.groups.delete('test:group:g')
    expect(scope.lookup(at)).toMatchObject({ state: 'absent', absentGroups: ['g'] })
  })
})

describe('a path is a group', () => {
  test('evicting it ends all of its variants', async () => {
    const { scope } = setUp()
    await fill(scope, variant('json'))
    await fill(scope, variant('html'))
    await scope.evict({ paths: ['/a'] })
    expect([await state(scope, variant('json')), await state(scope, variant('html'))]).toEqual(['absent', 'absent'])
  })

  test('softly, they are stale', async () => {
    const { scope } = setUp()
    await fill(scope, variant('json'))
    await fill(scope, ref('/b'))
    expect(await scope.evict({ paths: ['/a', '/b'], mode: 'soft' })).toMatchObject({ entries: 1, confirmed: true })
    expect([await state(scope, variant('json')), await state(scope, ref('/b'))]).toEqual(['softened', 'softened'])
  })
})

describe('a write-through', () => {
  async function begin(scope: CacheScope, at: EntryRef, groups: readonly string[] = []) {
    const write = await scope.beginWrite(at, { groups, groupTtlMs: 60_000 })
    if (write === undefined) throw new Error('the store is away')
    return write
  }
  const storable = (at: EntryRef) => ({ entry: makeEntry({ groups: at.groups, status: 203 }), ttlMs: 60_000 })

  test.each([
    ['hard', 'the store'],
    ['soft', 'the store'],
    ['hard', 'the memory of this process'],
    ['soft', 'the memory of this process'],
  ] as const)(
    'stores what it wrote, though it evicts a group of its entry (%s), as seen from %s',
    async (mode, from) => {
      const { scope: stored, memory } = setUp()
      const local = new CacheScope(new MemoryStore(memory, 'test'), { now: Date.now, logger: console })
      const scope = from === 'the store' ? stored : local
      const at = ref('/a', ['', 'g'])
      await fill(scope, at)
      const write = await begin(scope, at, ['g'])
      expect(await scope.commit(write, storable(at), { groups: ['g'], mode })).toMatchObject({
        published: 'stored',
        confirmed: true,
      })
      expect(await scope.lookup(at)).toMatchObject({ state: 'valid', softened: false, entry: { status: 203 } })
    },
  )

  test.each(['hard', 'soft'] as const)(
    'is refused where a group of its entry was invalidated since (%s)',
    async (mode) => {
      const { scope } = setUp()
      const at = ref('/a', ['', 'g'])
      const write = await begin(scope, at, ['g'])
      await scope.evict({ groups: ['g'], mode })
      expect(await scope.commit(write, storable(at), { groups: ['g'] })).toMatchObject({ published: 'fenced' })
      expect(await state(scope, at)).toBe('absent')
    },
  )

  test('of another variant that ended meanwhile refuses it', async () => {
    const { scope } = setUp()
    const write = await begin(scope, variant('json'))
    const other = await begin(scope, variant('html'))
    expect(await scope.commit(other, storable(variant('html')), {})).toMatchObject({ published: 'stored' })
    expect(await scope.commit(write, storable(variant('json')), {})).toMatchObject({ published: 'fenced' })
    expect([await state(scope, variant('json')), await state(scope, variant('html'))]).toEqual(['absent', 'absent'])
  })

  test('that is not committed leaves what was there, and no reader waits behind it', async () => {
    const { scope, store } = setUp()
    await fill(scope, ref())
    await begin(scope, ref())
    expect(await state(scope, ref())).toBe('valid')
    expect(await store.isLeased('/a')).toBe(false)
  })

  test('begins without the store, and says so', async () => {
    const { scope, store } = setUp()
    store.lose('beginWrite', 'command')
    expect(await scope.beginWrite(ref())).toBeUndefined()
  })

  test.each(['command', 'reply'] as const)(
    'whose commit is not confirmed (%s) is answered; its invalidations are queued',
    async (what) => {
      const { scope, store, lines } = setUp()
      const [at, other, tagged] = [ref(), ref('/other'), ref('/tagged', ['', 'g'])]
      for (const one of [at, other, tagged]) await fill(scope, one)
      const write = await begin(scope, at, ['g'])
      store.lose('commitWrite', what)
      const committed = await scope.commit(write, storable(at), { paths: ['/other', '/a'], groups: ['g'] })
      expect(committed).toEqual({ published: 'fenced', entries: 0, groups: 0, confirmed: false })
      expect(lines.join()).toContain('the invalidation of key /a')
      expect(await state(scope, at)).toBe('outage')
      await vi.advanceTimersByTimeAsync(50)
      expect([await state(scope, at), await state(scope, other), await state(scope, tagged)]).toEqual([
        'absent',
        'absent',
        'absent',
      ])
    },
  )
})

describe('an invalidation that the store does not confirm', () => {
  test('suspends the cache in this process, is retried, and is logged with what it names', async () => {
    const { scope, store, lines } = setUp()
    await fill(scope, ref())
    store.lose('evict', 'command')
    expect(await scope.evict({ paths: ['/a'], groups: ['g'] })).toEqual({ entries: 0, groups: 0, confirmed: false })
    expect(await state(scope, ref())).toBe('outage')
    expect(await scope.lookupMany([ref()])).toMatchObject([{ state: 'outage' }])
    expect(lines).toEqual([
      'redwell: Redis did not confirm the invalidation of key /a; it will be retried; until then this process serves nothing under test',
    ])
    store.lose('evict', 'command')
    await vi.advanceTimersByTimeAsync(50)
    expect(await state(scope, ref())).toBe('outage')
    await vi.advanceTimersByTimeAsync(100)
    expect(await state(scope, ref())).toBe('absent')
    expect(lines.at(-1)).toBe('redwell: all invalidations under test are confirmed')
  })

  test('is never weakened by a soft one that comes later', async () => {
    const { scope, store } = setUp()
    const at = ref('/a', ['', 'g'])
    await fill(scope, at)
    store.lose('invalidate', 'command')
    await scope.evict({ groups: ['g'] })
    store.lose('invalidate', 'command')
    await scope.evict({ groups: ['g'], mode: 'soft' })
    await vi.advanceTimersByTimeAsync(50)
    expect(await state(scope, at)).toBe('absent')
  })

  test('that comes again while it is sent stays queued until that is confirmed as well', async () => {
    const { scope, store } = setUp()
    store.lose('evict', 'command')
    await scope.evict({ paths: ['/a'] })
    const sending = store.hold('evict', 'before')
    scope.retry()
    await sending.reached
    store.lose('evict', 'command')
    await scope.evict({ paths: ['/a'] })
    sending.release()
    await vi.advanceTimersByTimeAsync(1)
    expect(await state(scope, ref())).toBe('outage')
    await vi.advanceTimersByTimeAsync(50)
    expect(await state(scope, ref())).toBe('absent')
  })

  test.each([
    [1000, 'valid', [2, 0]],
    [1001, 'absent', [1, 1]],
  ])('of %i keys becomes one of everything when there are too many', async (count, unrelated, calls) => {
    const { scope, store } = setUp()
    await fill(scope, ref('/unrelated'))
    store.lose('evict', 'command')
    await scope.evict({ paths: Array.from({ length: count }, (_, index) => `/p${index}`) })
    await vi.advanceTimersByTimeAsync(50)
    expect(await state(scope, ref('/unrelated'))).toBe(unrelated)
    expect([store.calls.evict, store.calls.invalidate]).toEqual(calls)
  })

  test('that names many is logged with a few of them', async () => {
    const { scope, store, lines } = setUp()
    store.lose('evict', 'command')
    await scope.evict({ paths: Array.from({ length: 9 }, (_, index) => `/p${index}`) })
    expect(lines[0]).toContain('keys /p0, /p1, /p2, /p3, /p4 and 4 more;')
  })

  test('is an error in the log when the application closes before that', async () => {
    const { scope, store, lines } = setUp()
    store.lose('invalidate', 'command')
    await scope.evict({ groups: ['g'] })
    scope.close()
    expect(lines.at(-1)).toBe('redwell: closed before Redis confirmed the invalidation of group g under test')
    expect(vi.getTimerCount()).toBe(0)
  })

  test('by `set` rejects, and what was there before does not come back', async () => {
    const { scope, store } = setUp()
    await fill(scope, ref())
    store.lose('set', 'command')
    await expect(scope.set('/a', makeEntry(), 60_000)).rejects.toThrow('lost')
    await vi.advanceTimersByTimeAsync(50)
    expect(await state(scope, ref())).toBe('absent')
  })
})

describe('variants', () => {
  test('over the limit are evicted, those that end first', async () => {
    const { scope } = setUp()
    for (const name of ['one', 'two', 'three']) await fill(scope, variant(name))
    await scope.addVariant({ path: '/a', key: variant('one').key }, 3000, 2)
    await scope.addVariant({ path: '/a', key: variant('two').key }, 1000, 2)
    await scope.addVariant({ path: '/a', key: variant('three').key }, 2000, 2)
    const groups = variant('one').groups
    expect(await scope.variants({ path: '/a', groups })).toHaveLength(2)
    expect(await state(scope, variant('two'))).toBe('absent')
  })
})

describe('work in the background', () => {
  test('is bounded, and awaited up to a limit', async () => {
    const { scope } = setUp()
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    let started = 0
    const run = (): boolean =>
      scope.background.run(() => {
        started += 1
        return gate
      })
    const results = Array.from({ length: 101 }, run)
    await nextTurn()
    expect([results.filter(Boolean).length, started, scope.background.full]).toEqual([100, 100, true])
    const limited = scope.background.settled(1000)
    await vi.advanceTimersByTimeAsync(1000)
    await limited
    release()
    await scope.background.settled(1000)
    expect([scope.background.full, run()]).toEqual([false, true])
  })

  test('may fail, also at once', async () => {
    const { scope } = setUp()
    scope.background.run(async () => {
      throw new Error('background')
    })
    await scope.background.settled(1000)
    expect(scope.background.full).toBe(false)
  })
})
