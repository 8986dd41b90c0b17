import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Entry, isSoftened, isValid, type Stamp } from '../../src/store/entry.js'
import { pathGroup } from '../../src/store/keyspace.js'
import type { LeaseReply, LeaseRequest, MatchKind, Store, WriteCommit } from '../../src/store/store.js'
import { makeEntry } from '../support/entries.js'

export interface StoreUnderTest {
  readonly store: Store
  /** Another process' view of the same entries. */
  readonly other: Store
  /** Loses a group's stamp, as an eviction by the server would. */
  loseGroup(group: string): Promise<void>
  /** Loses the logical clock. Absent where that cannot happen. */
  readonly loseClock?: () => Promise<void>
  /** Resolves when all that this process is told about changes has come. Absent where nothing is told. */
  readonly told?: () => Promise<void>
  /** Waits until a lease, a note or an entry of this lifetime has run out. */
  outlive(ms: number): Promise<void>
  close(): Promise<void>
}

const LEASE_MS = 5000
const TTL_MS = 60_000

/** A life to be outlived, and far longer than a few commands take on a busy machine. */
const SHORT_MS = 600

/** Short ways to say what happens to a store. */
export class Steps {
  constructor(readonly store: Store) {}

  /** The entry that a reader may use now, fresh or not. */
  async find(key: string, groups: readonly string[] = ['']): Promise<{ entry?: Entry; softened?: boolean }> {
    const { entries, stamps } = await this.store.read([key], groups)
    const [entry] = entries
    if (entry === undefined || !isValid(entry, groups, stamps, Date.now())) return {}
    return { entry, softened: isSoftened(entry, groups, stamps) }
  }

  async status(key: string, groups?: readonly string[]): Promise<number | undefined> {
    return (await this.find(key, groups)).entry?.status
  }

  acquire(key: string, more: Partial<LeaseRequest> = {}): Promise<LeaseReply> {
    const request = { token: 'token', leaseMs: LEASE_MS, seen: undefined, absentGroups: [''], groupTtlMs: TTL_MS }
    return this.store.acquireLease(key, { ...request, ...more })
  }

  /** Begins a fill; returns the function that ends it and reports what became of it. */
  async begin(
    key: string,
    more: Partial<Entry> = {},
    request: Partial<LeaseRequest> = {},
  ): Promise<() => Promise<string>> {
    const token = request.token ?? 'token'
    const reply = await this.acquire(key, { absentGroups: more.groups ?? [''], ...request, token })
    if (reply.state !== 'granted') throw new Error(`not granted: ${reply.state}`)
    const entry = makeEntry({ ...under(reply.stamp), ...more })
    return () => this.store.publish(key, { token, entry, ttlMs: TTL_MS })
  }

  async fill(key: string, more: Partial<Entry> = {}, request: Partial<LeaseRequest> = {}): Promise<void> {
    const end = await this.begin(key, more, request)
    const published = await end()
    if (published !== 'stored') throw new Error(`not stored: ${published}`)
  }

  /** Begins a write-through; returns the function that commits it. */
  async write(
    path: string,
    groups: readonly string[] = [''],
  ): Promise<(entry?: Partial<Entry>, more?: Partial<WriteCommit>) => Promise<boolean>> {
    const stamp = await this.store.beginWrite(path, groups, TTL_MS)
    return async (entry, more = {}) => {
      const stored = entry === undefined ? undefined : makeEntry({ groups, ...entry })
      const target = { path, key: path, groups: [], paths: [], mode: 'hard' as const }
      return (await this.store.commitWrite({ ...target, stamp, entry: stored, ttlMs: TTL_MS, ...more })).stored
    }
  }
}

export function under({ incarnation, at }: Stamp): Partial<Entry> {
  return { incarnation, stamp: at, writeStamp: at }
}

/** What every store must do. Groups always begin with the prefix's own, ''. */
export function storeContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`store contract: ${name}`, () => {
    let box: StoreUnderTest
    let store: Store
    let one: Steps
    let two: Steps

    beforeEach(async () => {
      box = await open()
      store = box.store
      one = new Steps(store)
      two = new Steps(box.other)
    })

    afterEach(() => box.close())

    test('what is published is read back, to the byte and field', async () => {
      const entry = { status: 404, flags: 513, body: Buffer.from([0, 255, 10, 13, 128]), groups: ['', 'g'] }
      await one.fill('/a', { ...entry, headers: ['X-A', '1', 'set-x', '', 'X-A', 'é'] })
      const { entry: found } = await two.find('/a', ['', 'g'])
      expect(found).toMatchObject({ ...entry, kind: 'response', headers: ['X-A', '1', 'set-x', '', 'X-A', 'é'] })
    })

    test('a key never stored has no entry, and a group never named has no stamp', async () => {
      expect(await store.read(['/nothing'], ['', 'g'])).toEqual({
        entries: [undefined],
        stamps: [undefined, undefined],
      })
    })

    test('more keys than fit into one part are read in order', async () => {
      const keys = Array.from({ length: 230 }, (_, index) => `/${index}`)
      await one.fill('/3', { status: 203 })
      await one.fill('/229', { status: 404 })
      const { entries } = await store.read(keys, [])
      expect(entries.map((entry) => entry?.status ?? 0)).toEqual(
        keys.map((key) => ({ '/3': 203, '/229': 404 })[key] ?? 0),
      )
    })

    test('reading the clock returns the same point until an invalidation advances it', async () => {
      const first = await store.clock()
      await box.outlive(2)
      expect(await box.other.clock()).toEqual(first)
      await store.invalidate(['g'], 'hard')
      const second = await box.other.clock()
      expect(second.incarnation).toBe(first.incarnation)
      expect(second.at).toBeGreaterThan(first.at)
    })

    describe('leases', () => {
      test('only one fill of a key holds its lease until it is released', async () => {
        expect((await one.acquire('/a')).state).toBe('granted')
        expect(await two.acquire('/a', { token: 'second' })).toMatchObject({ state: 'held' })
        expect(await box.other.isLeased('/a')).toBe(true)
        await store.releaseLease('/a', 'token')
        expect(await box.other.isLeased('/a')).toBe(false)
        expect((await two.acquire('/a', { token: 'third' })).state).toBe('granted')
      })

      test('a release with another token changes nothing', async () => {
        await one.acquire('/a')
        await store.releaseLease('/a', 'stranger', 5000)
        expect((await one.acquire('/a', { token: 'second' })).state).toBe('held')
      })

      test('a lease ends by itself when its holder is gone', async () => {
        await one.acquire('/a', { leaseMs: 30 })
        await box.outlive(30)
        expect(await store.isLeased('/a')).toBe(false)
        expect((await one.acquire('/a', { token: 'next' })).state).toBe('granted')
      })

      test('a renewed lease outlives its first limit; a lost one cannot be renewed', async () => {
        await one.acquire('/a', { leaseMs: SHORT_MS })
        expect(await store.renewLease('/a', 'token', LEASE_MS)).toBe(true)
        await box.outlive(SHORT_MS)
        expect((await one.acquire('/a', { token: 'next' })).state).toBe('held')
        expect(await store.renewLease('/a', 'stranger', LEASE_MS)).toBe(false)
        await store.evict(['/a'], 'hard')
        expect(await store.renewLease('/a', 'token', LEASE_MS)).toBe(false)
      })

      test('the lease of a key that changed since the lookup is not granted', async () => {
        await one.fill('/a')
        expect((await two.acquire('/a', { token: 'late' })).state).toBe('changed')
        const { entry } = await two.find('/a')
        expect((await two.acquire('/a', { token: 'late', seen: entry })).state).toBe('granted')
      })

      test('a fill that is forced by a client ignores what stands at the key', async () => {
        await one.fill('/a')
        expect((await one.acquire('/a', { token: 'any', seen: 'any' })).state).toBe('granted')
      })

      test('a fill whose lease was taken over is fenced', async () => {
        const slow = await one.begin('/a', { status: 200 }, { token: 'slow', leaseMs: 30 })
        await box.outlive(30)
        await two.fill('/a', { status: 201 }, { token: 'fast' })
        expect(await slow()).toBe('fenced')
        expect(await one.status('/a')).toBe(201)
      })

      test('a note lets requests run without a lease until it expires', async () => {
        await one.acquire('/a')
        await store.releaseLease('/a', 'token', SHORT_MS)
        expect((await two.acquire('/a', { token: 'next' })).state).toBe('noted')
        expect((await two.acquire('/a', { token: 'forced', seen: 'any' })).state).toBe('noted')
        expect(await store.isLeased('/a')).toBe(false)
        await box.outlive(SHORT_MS)
        expect((await two.acquire('/a', { token: 'next' })).state).toBe('granted')
      })

      test('a note never replaces a usable entry (F9)', async () => {
        await one.fill('/a', { status: 201 })
        await one.acquire('/a', { seen: 'any' })
        await store.releaseLease('/a', 'token', 5000)
        expect(await two.status('/a')).toBe(201)
      })

      test.each([
        ['publish', async (end: () => Promise<string>) => void (await end())],
        ['release', () => store.releaseLease('/a', 'holder')],
        ['a note', () => store.releaseLease('/a', 'holder', 1000)],
        ['evict', async () => void (await store.evict(['/a'], 'hard'))],
        ['a soft eviction', async () => void (await store.evict(['/a'], 'soft'))],
        ['set', async () => void (await store.set('/a', makeEntry(), 1000))],
        ['put', async () => void (await store.put('/a', makeEntry(), 1000))],
        ['wake', () => store.wake('/a', 'holder')],
        ['a write', async () => void (await (await one.write('/a'))({}))],
      ])('a waiting process is woken by %s', async (_, end) => {
        const publish = await one.begin('/a', {}, { token: 'holder' })
        await box.other.listen()
        const woken = new Promise<void>((resolve) => {
          box.other.onWake('/a', resolve)
        })
        expect((await two.acquire('/a', { token: 'waiter' })).state).toBe('held')
        await end(publish)
        await woken
      })

      test('a lease that was woken is kept, and no request waits for it', async () => {
        const end = await one.begin('/a')
        await store.wake('/a', 'stranger')
        expect((await two.acquire('/a', { token: 'next' })).state).toBe('held')
        await store.wake('/a', 'token')
        expect(await store.isLeased('/a')).toBe(false)
        expect((await two.acquire('/a', { token: 'next' })).state).toBe('noted')
        expect(await store.renewLease('/a', 'token', LEASE_MS)).toBe(true)
        expect(await end()).toBe('stored')
      })

      test('a stopped wait is not called back', async () => {
        await one.acquire('/a', { token: 'holder' })
        await store.listen()
        let calls = 0
        const stop = store.onWake('/a', () => (calls += 1))
        await one.acquire('/a', { token: 'waiter' })
        stop()
        const woken = new Promise<void>((resolve) => {
          store.onWake('/a', resolve)
        })
        await store.releaseLease('/a', 'holder')
        await woken
        expect(calls).toBe(0)
      })
    })

    describe('groups', () => {
      test('invalidating a group ends its entries and no others', async () => {
        await one.fill('/a', { groups: ['', 'g'] })
        await one.fill('/b', { groups: ['', 'h'] })
        await box.other.invalidate(['g'], 'hard')
        expect(await one.status('/a', ['', 'g'])).toBeUndefined()
        expect(await one.status('/b', ['', 'h'])).toBe(200)
      })

      test('more groups than fit into one part are invalidated', async () => {
        const groups = Array.from({ length: 230 }, (_, index) => `g${index}`)
        await one.fill('/a', { groups: ['', 'g229'] })
        await one.fill('/b', { groups: ['', 'g0'] })
        await store.invalidate(groups, 'hard')
        expect([await one.status('/a', ['', 'g229']), await one.status('/b', ['', 'g0'])]).toEqual([
          undefined,
          undefined,
        ])
      })

      test('a fill that began before its group was invalidated is fenced', async () => {
        const end = await one.begin('/a', { groups: ['', 'g'] })
        await box.other.invalidate(['g'], 'hard')
        expect(await end()).toBe('fenced')
        expect(await two.status('/a', ['', 'g'])).toBeUndefined()
      })

      test('a fill that begins after an invalidation is stored', async () => {
        await one.fill('/a', { groups: ['', 'g'] })
        await store.invalidate(['g'], 'hard')
        const { entries } = await store.read(['/a'], [])
        await two.fill('/a', { groups: ['', 'g'], status: 201 }, { seen: entries[0] ?? undefined })
        expect(await one.status('/a', ['', 'g'])).toBe(201)
      })

      test('an entry and a group created together are valid: an equal stamp allows', async () => {
        await one.fill('/a', { groups: ['', 'new'] })
        const { entries, stamps } = await store.read(['/a'], ['new'])
        expect(stamps[0]?.hard).toBe(entries[0]?.stamp)
      })

      test('a group that is lost is a miss, and lost for older fills even when it is created again (F1)', async () => {
        const end = await one.begin('/a', { groups: ['', 'g'] })
        await box.other.invalidate(['g'], 'hard')
        await box.loseGroup('g')
        await end()
        expect(await one.status('/a', ['', 'g'])).toBeUndefined()
        await two.fill('/b', { groups: ['', 'g'] })
        expect(await one.status('/a', ['', 'g'])).toBeUndefined()
        expect(await one.status('/b', ['', 'g'])).toBe(200)
      })

      test('an invalidation of a group without a stamp leaves none, and fences what was loaded before (F2)', async () => {
        const end = await one.begin('/a', { groups: ['', 'g'] }, { absentGroups: [''] })
        await box.other.invalidate(['g'], 'hard')
        expect((await store.read([], ['g'])).stamps).toEqual([undefined])
        expect(await end()).toBe('fenced')
        expect(await two.status('/a', ['', 'g'])).toBeUndefined()
      })

      test('a group that the handler named is created when the entry is stored', async () => {
        await one.fill('/a', { groups: ['', 'new'] }, { absentGroups: [''] })
        expect(await two.status('/a', ['', 'new'])).toBe(200)
      })

      test('a soft invalidation leaves entries valid, and they are not fresh', async () => {
        await one.fill('/a', { groups: ['', 'g'] })
        await store.invalidate(['g'], 'soft')
        expect(await two.find('/a', ['', 'g'])).toMatchObject({ softened: true })
        await store.invalidate(['g'], 'hard')
        expect(await two.find('/a', ['', 'g'])).toEqual({})
      })

      test('a soft invalidation after a hard one does not weaken it', async () => {
        await one.fill('/a', { groups: ['', 'g'] })
        await store.invalidate(['g'], 'hard')
        const [before] = (await store.read([], ['g'])).stamps
        await store.invalidate(['g'], 'soft')
        const [after] = (await store.read([], ['g'])).stamps
        expect(after?.hard).toBe(before?.hard)
        expect(after?.soft).toBeGreaterThan(before?.hard ?? Infinity)
        expect(await two.find('/a', ['', 'g'])).toEqual({})
      })

      test('a fill that loaded before a soft invalidation and stores after it is not fresh (F10)', async () => {
        await one.fill('/other', { groups: ['', 'g'] })
        const end = await one.begin('/a', { groups: ['', 'g'] })
        await box.other.invalidate(['g'], 'soft')
        await end()
        expect((await two.find('/a', ['', 'g'])).softened).not.toBe(false)
      })

      test('everything can be invalidated by the one group of the prefix, fills in flight included', async () => {
        await one.fill('/a')
        const end = await one.begin('/b')
        await box.other.invalidate([''], 'hard')
        await end()
        expect([await one.status('/a'), await one.status('/b')]).toEqual([undefined, undefined])
      })
    })

    describe('paths', () => {
      const variant = { groups: ['', pathGroup('/a')] }

      test('evicting a path removes its entry and fences the fill in flight', async () => {
        await one.fill('/a')
        const { entry } = await one.find('/a')
        const end = await one.begin('/a', {}, { token: 'slow', seen: entry })
        expect(await box.other.evict(['/a', '/b'], 'hard')).toBe(1)
        expect(await end()).toBe('fenced')
        expect(await one.status('/a')).toBeUndefined()
      })

      test('more paths than fit into one part are evicted', async () => {
        await one.fill('/0')
        await one.fill('/229')
        const paths = Array.from({ length: 230 }, (_, index) => `/${index}`)
        expect(await store.evict(paths, 'hard')).toBe(2)
        expect(await one.status('/229')).toBeUndefined()
      })

      test.each(['stored', 'in flight'])('evicting a path ends its variants: %s', async (phase) => {
        await one.fill('/a|first', variant)
        const end = await one.begin('/a|v', variant)
        const before = phase === 'stored' ? await end() : 'stored'
        await box.other.evict(['/a'], 'hard')
        const after = phase === 'in flight' ? await end() : 'fenced'
        expect([before, after]).toEqual(['stored', 'fenced'])
        expect(await one.status('/a|v', variant.groups)).toBeUndefined()
      })

      test('evicting a path without a variant leaves no group, and fences a variant that is being learned', async () => {
        const end = await one.begin('/a')
        const clock = await store.clock()
        await box.other.evict(['/a'], 'hard')
        expect((await store.read([], [pathGroup('/a')])).stamps).toEqual([undefined])
        await store.put('/a|v', makeEntry({ ...variant, ...under(clock) }), TTL_MS)
        expect(await end()).toBe('fenced')
        expect(await one.status('/a|v', variant.groups)).toBeUndefined()
      })

      test('a learned variant is stored under the stamp of the fill that learned it', async () => {
        const clock = await store.clock()
        await store.put('/a|v', makeEntry({ ...variant, ...under(clock) }), TTL_MS)
        expect(await two.status('/a|v', variant.groups)).toBe(200)
      })

      test.each(['found', 'in flight'])('a soft eviction makes a plain entry stale: %s (F10)', async (phase) => {
        await one.fill('/a')
        const { entry } = await one.find('/a')
        const end = await one.begin('/a', {}, { token: 'slow', seen: entry })
        expect(await box.other.evict(['/a'], 'soft')).toBe(1)
        expect(phase === 'in flight' ? await end() : 'fenced').toBe('fenced')
        expect(await two.find('/a')).toMatchObject({ entry: { status: 200 }, softened: true })
      })

      test('a soft eviction makes variants stale by the logical clock, and a later fill is fresh again', async () => {
        await one.fill('/a|v', variant)
        await box.other.evict(['/a'], 'soft')
        const { entry, softened } = await two.find('/a|v', variant.groups)
        expect(softened).toBe(true)
        await one.fill('/a|v', variant, { seen: entry })
        expect(await two.find('/a|v', variant.groups)).toMatchObject({ softened: false })
      })

      test('the oldest variants of a path make room for a new one', async () => {
        const add = (key: string, expiresAt: number) => store.addVariant('/a', 'vary', { key, expiresAt }, 2, 1000)
        expect(await add('/a|1', 9000)).toEqual([])
        expect(await add('/a|2', 8000)).toEqual([])
        expect(await add('/a|2', 8500)).toEqual([])
        expect(await add('/a|3', Infinity)).toEqual(['/a|2'])
        expect(await store.variants('/a', 'vary', 1000)).toEqual(['/a|1', '/a|3'])
        expect(await store.variants('/a', 'vary', 9000)).toEqual(['/a|3'])
        expect(await store.variants('/a', 'other', 1000)).toEqual([])
      })
    })

    describe('write-through', () => {
      const variant = { groups: ['', pathGroup('/a')] }

      test('a first write of a cold path and a cold group is stored', async () => {
        const commit = await one.write('/a', ['', 'g'])
        expect(await commit({ status: 202 })).toBe(true)
        expect(await two.status('/a', ['', 'g'])).toBe(202)
      })

      test('a write replaces the entry and fences the fill in flight', async () => {
        await one.fill('/a', { status: 200 })
        const { entry } = await one.find('/a')
        const end = await two.begin('/a', { status: 203 }, { token: 'reader', seen: entry })
        const commit = await one.write('/a')
        expect(await one.status('/a')).toBe(200)
        expect(await commit({ status: 202 })).toBe(true)
        expect(await end()).toBe('fenced')
        expect(await two.status('/a')).toBe(202)
      })

      test('a write of one variant ends the others, stored and in flight (F5a)', async () => {
        await one.fill('/a|1', variant)
        const end = await two.begin('/a|2', variant)
        const commit = await one.write('/a', variant.groups)
        expect(await commit({ status: 202 }, { key: '/a|3' })).toBe(true)
        expect(await end()).toBe('fenced')
        expect(await two.status('/a|1', variant.groups)).toBeUndefined()
        expect(await two.status('/a|2', variant.groups)).toBeUndefined()
        expect(await two.status('/a|3', variant.groups)).toBe(202)
      })

      test('a write of a variant ends the plain entry, and keeps the record of variants', async () => {
        await one.fill('/a')
        await (
          await one.write('/a', variant.groups)
        )({}, { key: '/a|v' })
        expect(await two.status('/a')).toBeUndefined()
        await store.put('/a', makeEntry({ kind: 'variants', status: 0, ...under(await store.clock()) }), TTL_MS)
        await (
          await one.write('/a', variant.groups)
        )({}, { key: '/a|v' })
        expect((await two.find('/a')).entry?.kind).toBe('variants')
      })

      test.each([
        ['the first ends first', ['one', 'two']],
        ['the second ends first', ['two', 'one']],
      ])('of two writes that overlap none is stored in the end: %s (F5c)', async (_, order) => {
        const commits = { one: await one.write('/a'), two: await two.write('/a') }
        expect(await commits[order[0] === 'one' ? 'one' : 'two']({ status: 201 })).toBe(true)
        expect(await commits[order[1] === 'one' ? 'one' : 'two']({ status: 202 })).toBe(false)
        expect(await one.status('/a')).toBeUndefined()
      })

      test('two writes of two variants that overlap meet in their path (F5c)', async () => {
        const [first, second] = [await one.write('/a', variant.groups), await two.write('/a', variant.groups)]
        expect(await first({}, { key: '/a|1' })).toBe(true)
        expect(await second({}, { key: '/a|2' })).toBe(false)
        expect(await one.status('/a|1', variant.groups)).toBeUndefined()
        expect(await one.status('/a|2', variant.groups)).toBeUndefined()
      })

      test.each([
        ['a group that it carries', () => box.other.invalidate(['g'], 'hard')],
        ['a group that it carries, softly', () => box.other.invalidate(['g'], 'soft')],
        ['its path', async () => void (await box.other.evict(['/a'], 'hard'))],
        ['its path, softly', async () => void (await box.other.evict(['/a'], 'soft'))],
        ['everything', () => box.other.invalidate([''], 'hard')],
        ['a set of its key', async () => void (await box.other.set('/a', makeEntry({ status: 299 }), TTL_MS))],
        ['the loss of its path', () => box.loseGroup(pathGroup('/a'))],
        ['the loss of a group that it carries', () => box.loseGroup('g')],
      ])('a write does not store after %s (F5b, F5e)', async (_, happens) => {
        const commit = await one.write('/a', ['', 'g'])
        await happens()
        expect(await commit({ status: 202 })).toBe(false)
        expect(await two.status('/a', ['', 'g'])).toBeUndefined()
        expect((await two.acquire('/a')).state).toBe('granted')
      })

      test('a write that evicts a group which its own entry carries is stored, and ends all others of that group', async () => {
        await one.fill('/b', { groups: ['', 'g'] })
        const commit = await one.write('/a', ['', 'g'])
        expect(await commit({ status: 202 }, { groups: ['g', 'g', pathGroup('/a')] })).toBe(true)
        expect(await two.status('/a', ['', 'g'])).toBe(202)
        expect(await two.status('/b', ['', 'g'])).toBeUndefined()
      })

      test('a write that evicts its own group does not store when another process invalidated it meanwhile', async () => {
        const commit = await one.write('/a', ['', 'g'])
        await box.other.invalidate(['g'], 'hard')
        expect(await commit({ status: 202 }, { groups: ['g'] })).toBe(false)
        expect(await two.status('/a', ['', 'g'])).toBeUndefined()
      })

      test('an invalidation of its own group after a write ends what it stored', async () => {
        const commit = await one.write('/a', ['', 'g'])
        await commit({ status: 202 }, { groups: ['g'] })
        await box.other.invalidate(['g'], 'soft')
        expect(await two.find('/a', ['', 'g'])).toMatchObject({ softened: true })
        await box.other.invalidate(['g'], 'hard')
        expect(await two.status('/a', ['', 'g'])).toBeUndefined()
      })

      test('groups that a write evicts and its entry does not carry do not keep it from storing', async () => {
        await one.fill('/b', { groups: ['', 'h'] })
        const commit = await one.write('/a')
        await box.other.invalidate(['h'], 'hard')
        expect(await commit({ status: 202 }, { groups: ['h', 'never-used'] })).toBe(true)
        expect(await two.status('/b', ['', 'h'])).toBeUndefined()
      })

      test('other paths are evicted with it; one whose group its entry carries does not end the entry', async () => {
        const personal = { groups: ['', pathGroup('/a')] }
        await one.fill('/a')
        await one.fill('/b')
        await one.fill('/a|other', personal)
        const stamp = await store.beginWrite('/a|mine', personal.groups, TTL_MS)
        const reply = await store.commitWrite({
          path: '/a|mine',
          key: '/a|mine',
          stamp,
          groups: [],
          paths: ['/a', '/b', '/b', '/a|mine'],
          mode: 'hard',
          entry: makeEntry({ ...personal, status: 202 }),
          ttlMs: TTL_MS,
        })
        expect(reply).toEqual({ stored: true, entries: 2 })
        expect(await two.status('/a|mine', personal.groups)).toBe(202)
        expect(await two.status('/a|other', personal.groups)).toBeUndefined()
        expect([await two.status('/a'), await two.status('/b')]).toEqual([undefined, undefined])
      })

      test('a write whose response may not be stored ends the entry, the variants and the fill in flight', async () => {
        await one.fill('/a|v', variant)
        const end = await two.begin('/a')
        expect(await (await one.write('/a'))()).toBe(false)
        expect(await end()).toBe('fenced')
        expect(await two.status('/a|v', variant.groups)).toBeUndefined()
      })

      test('a write whose handler named a new group is not stored', async () => {
        const commit = await one.write('/a', [''])
        expect(await commit({ groups: ['', 'late'] })).toBe(false)
      })

      test('a write that fails touches nothing', async () => {
        await one.fill('/a')
        await one.write('/a')
        expect(await two.status('/a')).toBe(200)
        expect((await two.acquire('/b')).state).toBe('granted')
      })
    })

    describe('set', () => {
      test('set stores at once and fences the fill in flight', async () => {
        const end = await one.begin('/a')
        const stamp = await box.other.set('/a', makeEntry({ status: 299, groups: ['', 'g'] }), TTL_MS)
        expect(await end()).toBe('fenced')
        expect(await one.find('/a', ['', 'g'])).toMatchObject({ entry: { status: 299, stamp: stamp.at } })
      })

      test('of two sets the later one stays (F11)', async () => {
        await one.store.set('/a', makeEntry({ status: 201 }), TTL_MS)
        await two.store.set('/a', makeEntry({ status: 202 }), TTL_MS)
        expect(await one.status('/a')).toBe(202)
      })

      test('an entry can be given a longer life, and not a shorter one', async () => {
        const long = { freshUntil: Infinity, staleUntil: Infinity, errorUntil: Infinity }
        await store.set('/a', makeEntry(long), SHORT_MS)
        await store.set('/b', makeEntry(long), TTL_MS)
        await store.extend('/a', TTL_MS)
        await store.extend('/b', 1)
        await store.extend('/absent', TTL_MS)
        await box.outlive(SHORT_MS)
        expect([await one.status('/a'), await one.status('/b')]).toEqual([200, 200])
        expect(await one.status('/absent')).toBeUndefined()
      })
    })

    describe('upkeep', () => {
      const endless = { freshUntil: Infinity, staleUntil: Infinity, errorUntil: Infinity }

      test('a sweep removes what no reader can accept, and nothing else', async () => {
        await one.fill('/dead', { ...endless, groups: ['', 'g'] })
        await one.fill('/live', endless)
        const commit = await one.write('/own', ['', 'h'])
        await commit(endless, { groups: ['h'] })
        await store.invalidate(['g'], 'hard')
        let removed = 0
        let cursor = '0'
        do {
          const step = await store.sweep(cursor, 100, Date.now())
          removed += step.removed
          cursor = step.cursor
        } while (cursor !== '0')
        expect(removed).toBe(1)
        const { entries } = await store.read(['/dead', '/live', '/own'], [])
        expect(entries.map((entry) => entry === undefined)).toEqual([true, false, false])
      })

      test('finds entries and leases by a pattern, and only those of its prefix', async () => {
        const keys = ['value:a:1', 'value:a:2', 'value:ab:1', 'value:a!2A:1']
        for (const key of keys) await store.set(key, makeEntry(), TTL_MS)
        await one.acquire('value:a:3', { leaseMs: TTL_MS })
        const match = async (kind: MatchKind, pattern: string) => {
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
        await store.beginWrite('/p', ['one', 'other'], 60_000)
        expect(await match('groups', 'o*')).toEqual(['one', 'other'])
        expect(await match('entries', 'value:(a')).toEqual([])
      })

      test('heads are entries without their bodies, however many header fields there are', async () => {
        const many = Array.from({ length: 400 }, (_, index) => [`x-${index}`, 'a value of some length']).flat()
        await store.set('/a', makeEntry({ status: 201, body: Buffer.alloc(10_000) }), TTL_MS)
        await store.set('/b', makeEntry({ headers: many, groups: ['', 'g'] }), TTL_MS)
        const [a, b, none] = await store.heads(['/a', '/b', '/c'])
        expect(a?.head).toMatchObject({ kind: 'response', status: 201, bodyBytes: 10_000 })
        expect(a?.head).not.toHaveProperty('body')
        expect(b?.head).toMatchObject({ headers: many, groups: ['', 'g'], bodyBytes: 5 })
        expect(b?.stamps).toEqual((await store.read(['/b'], ['', 'g'])).stamps)
        expect(b?.stamps).not.toContain(undefined)
        expect(none).toBeUndefined()
      })

      test('what is read without a promise is what read returns', async () => {
        if (store.local === undefined) return
        const slot = { key: '/a' }
        expect(store.local.entry(slot)).toBeUndefined()
        for (const status of [201, 202]) {
          await store.set('/a', makeEntry({ status }), TTL_MS)
          await box.told?.()
          const { entry } = await one.find('/a')
          expect(entry?.status).toBe(status)
          expect(store.local.entry(slot)).toEqual(entry)
        }
        await store.evict(['/a'], 'soft')
        await box.told?.()
        await one.find('/a')
        expect(store.local.entry(slot)?.softened).toBe(true)
        await store.evict(['/a'], 'hard')
        expect(store.local.entry(slot)).toBeUndefined()
        expect(store.local.stamp('')).toEqual((await store.read([], [''])).stamps[0])
      })
    })

    test('a lost clock begins a new incarnation: what it stamped counts as missing for what comes next (F3)', async () => {
      if (box.loseClock === undefined) return
      await one.fill('/a', { groups: ['', 'g'] })
      const end = await one.begin('/b', { groups: ['', 'g'] })
      const commit = await one.write('/c', ['', 'g'])
      await box.loseClock()
      await box.other.invalidate(['g'], 'hard')
      expect(await one.status('/a', ['', 'g'])).toBeUndefined()
      expect(await end()).toBe('fenced')
      expect(await commit({})).toBe(false)
      for (const key of ['/b', '/c']) expect(await one.status(key, ['', 'g'])).toBeUndefined()
      const { entries } = await store.read(['/a'], [])
      await two.begin('/a', { groups: ['', 'g'] }, { seen: entries[0] }).then((publish) => publish())
      const again = await store.read(['/a'], [])
      await two.fill('/a', { groups: ['', 'g'], status: 201 }, { token: 'again', seen: again.entries[0] })
      expect(await one.status('/a', ['', 'g'])).toBe(201)
    })
  })
}
