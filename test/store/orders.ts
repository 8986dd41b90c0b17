import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Connection } from '../../src/redis/connection.js'
import { Keyspace, pathGroup } from '../../src/store/keyspace.js'
import { RedisStore } from '../../src/store/redis-store.js'
import { type ControlledConnection, controlled } from '../support/controlled-connection.js'
import { makeEntry } from '../support/entries.js'
import * as model from '../model/actors.js'
import type { Program, Topology } from '../model/actors.js'
import { COLD, commandsOf } from '../model/protocol.js'
import { Steps, under } from './contract.js'

const TTL_MS = 60_000

/** Later than any time of a server: with this clock only the order of events counts. */
const FAR_AHEAD = 4e15

/** A change that another process makes from its beginning to its end while a fill or a write is stopped. */
interface Change {
  readonly name: string
  readonly isSoft: boolean
  make(by: Steps, keys: Keyspace): Promise<unknown>
}

const CHANGES: readonly Change[] = [
  { name: 'its path is evicted', isSoft: false, make: ({ store }) => store.evict(['/a'], 'hard') },
  { name: 'its path is evicted softly', isSoft: true, make: ({ store }) => store.evict(['/a'], 'soft') },
  { name: 'its group is invalidated', isSoft: false, make: ({ store }) => store.invalidate(['g'], 'hard') },
  { name: 'its group is invalidated softly', isSoft: true, make: ({ store }) => store.invalidate(['g'], 'soft') },
  { name: 'everything is invalidated', isSoft: false, make: ({ store }) => store.invalidate([''], 'hard') },
  {
    name: 'its path is written',
    isSoft: false,
    make: async (by) => (await by.write('/a', ['']))({ status: 299 }),
  },
  {
    name: 'another variant of its path is written',
    isSoft: false,
    make: async (by) => (await by.write('/a', ['', pathGroup('/a')]))({ status: 299 }, { key: '/a|other' }),
  },
  {
    name: 'its group is evicted by a write of another path',
    isSoft: false,
    make: async (by) => (await by.write('/b', ['', 'g']))({ status: 299 }, { groups: ['g'] }),
  },
]

/** How a store on a server behaves in orders that a test forces by stopping single commands. */
export function storeOrders(name: string, connections: () => readonly [Connection, Connection]): void {
  describe(`orders of commands: ${name}`, () => {
    let keys: Keyspace
    let one: Steps
    let two: Steps
    let line: ControlledConnection
    let otherLine: ControlledConnection
    let isCluster: boolean

    beforeEach(async () => {
      const [first, second] = connections()
      isCluster = first.topology === 'cluster'
      const prefix = `test:${randomUUID()}`
      keys = new Keyspace(prefix, isCluster)
      line = controlled(first)
      otherLine = controlled(second)
      one = new Steps(new RedisStore(line, prefix))
      two = new Steps(new RedisStore(otherLine, prefix))
      // A server that both have met.
      await one.status('/none')
      await two.status('/none')
    })

    async function lose(group: string): Promise<void> {
      for (const copy of keys.copies(group)) await line.execute(['DEL', copy], copy)
    }

    async function setClock(at: number, server = ''): Promise<void> {
      const { incarnation } = await one.store.clock()
      await line.execute(['SET', keys.clock, `${incarnation} ${at} ${server}`], keys.clock)
    }

    /** Runs `task` up to its next command of this name, lets `meanwhile` happen, and goes on. */
    async function stoppedAt<T>(
      command: string,
      task: () => Promise<T>,
      meanwhile: () => Promise<unknown>,
    ): Promise<T> {
      const held = line.hold(command)
      const running = task()
      const isHeld = await Promise.race([held.reached.then(() => true), running.then(() => false)])
      await meanwhile()
      if (isHeld) held.release()
      return running
    }

    const PLAIN = { key: '/a', groups: ['', 'g'] }
    const VARIANT = { key: '/a|v', groups: ['', pathGroup('/a'), 'g'] }

    describe.each([
      ['plain', PLAIN],
      ['variant', VARIANT],
    ])('a fill of a %s entry', (kind, { key, groups }) => {
      const cases = CHANGES.flatMap((change) =>
        ['fill', 'publish', 'mark', 'GET', 'settle'].flatMap((command) =>
          ['known', 'named by the handler', 'lost'].map((group) => ({ change, command, group, title: change.name })),
        ),
      ).filter(({ change }) => kind === 'variant' || change.name !== 'another variant of its path is written')

      test.each(cases)('is not fresh after $title, at $command, group $group', async ({ change, command, group }) => {
        const known = groups.filter((other) => other !== 'g')
        if (group !== 'named by the handler') await one.fill('/other', { groups })
        const end = await one.begin(key, { groups, status: 200 }, { absentGroups: known })
        if (group === 'lost') await lose('g')
        await stoppedAt(command, end, () => change.make(two, keys))
        const { entry, softened } = await two.find(key, groups)
        const isAllowed = entry?.status !== 200 || (change.isSoft && softened === true)
        expect(isAllowed).toBe(true)
        expect(await two.store.isLeased(key)).toBe(false)
      })
    })

    describe.each([
      ['plain', PLAIN],
      ['variant', VARIANT],
    ])('a write of a %s entry', (kind, { key, groups }) => {
      const cases = CHANGES.flatMap((change) =>
        ['write', 'clock', 'bump', 'evict', 'GET', 'commit', 'publish'].flatMap((command) =>
          [[], ['g']].map((evicted) => ({ change, command, evicted, title: change.name })),
        ),
      ).filter(({ change }) => kind === 'variant' || change.name !== 'another variant of its path is written')

      test.each(cases)(
        'is not fresh after $title, at $command, evicting $evicted',
        async ({ change, command, evicted }) => {
          const commit = await one.write('/a', groups)
          // One server takes all but `write` for a further path alone.
          const paths = command === 'evict' || (command !== 'write' && !isCluster) ? ['/c'] : []
          const task = () => commit({ status: 200, groups }, { key, groups: evicted, paths })
          await stoppedAt(command, task, () => change.make(two, keys))
          const { entry, softened } = await two.find(key, groups)
          const isAllowed = entry?.status !== 200 || (change.isSoft && softened === true)
          expect(isAllowed).toBe(true)
          expect(await two.store.isLeased(key)).toBe(false)
        },
      )
    })

    test('a mark that a dead process has left is settled by the next fill (F1)', async () => {
      line.fail('settle')
      const beginning = one.begin('/a', { groups: ['', 'g'] })
      const isDead = await beginning.then(
        () => false,
        () => true,
      )
      expect(isDead).toBe(isCluster)
      await two.fill('/b', { groups: ['', 'g'] })
      expect(await two.status('/b', ['', 'g'])).toBe(200)
    })

    test('an invalidation that was overtaken by the loss of its group leaves no stamp of its own (F2)', async () => {
      await one.fill('/other', { groups: ['', 'g'] })
      let end = async (): Promise<string> => ''
      await stoppedAt(
        'bump',
        () => one.store.invalidate(['g'], 'hard'),
        async () => {
          end = await two.begin('/a', { groups: ['', 'g'] })
          await two.store.invalidate(['g'], 'hard')
          await lose('g')
        },
      )
      await end()
      expect(await two.status('/a', ['', 'g'])).toBeUndefined()
    })

    test.each(['g', pathGroup('/a')])(
      'what a write stored meanwhile is ended by an older invalidation of %s, which takes a newer stamp (3.3)',
      async (group) => {
        const commit = await two.write('/a', VARIANT.groups)
        const isPath = group !== 'g'
        await stoppedAt(
          isPath ? 'evict' : 'bump',
          async () => void (await (isPath ? one.store.evict(['/a'], 'hard') : one.store.invalidate(['g'], 'hard'))),
          () => commit({ status: 200 }, { key: '/a|v', groups: ['g'] }),
        )
        expect(await one.status('/a|v', VARIANT.groups)).toBeUndefined()
        const [stamp] = (await one.store.read([], [group])).stamps
        expect(stamp?.hard).toBe((await one.store.clock()).at)
      },
    )

    test.each([
      ['plain', PLAIN],
      ['variant', VARIANT],
    ])('of two writes of a %s entry that end in the other order than they advance none is served', async (_, entry) => {
      const first = await one.write('/a', entry.groups)
      const second = await two.write('/a', entry.groups)
      await stoppedAt(
        isCluster ? 'commit' : 'write',
        () => first({ status: 201 }, { key: entry.key }),
        () => second({ status: 202 }, { key: entry.key }),
      )
      expect(await two.status(entry.key, entry.groups)).toBeUndefined()
    })

    test('a soft invalidation that is overtaken by a hard one of a write still makes its entry stale', async () => {
      const commit = await two.write('/a', VARIANT.groups)
      await stoppedAt(
        'bump',
        () => one.store.invalidate(['g'], 'soft'),
        () => commit({ status: 200 }, { key: '/a|v', groups: ['g'] }),
      )
      expect((await one.find('/a|v', VARIANT.groups)).softened ?? true).toBe(true)
    })

    test('a write that ends too late and is then lost does not lower the stamp of its path', async () => {
      const commit = await one.write('/a', VARIANT.groups)
      let stamp: number | undefined
      line.fail('evict')
      await stoppedAt(
        isCluster ? 'commit' : 'write',
        () => commit({ status: 200 }, { key: '/a|v' }).catch(() => {}),
        async () => {
          await two.store.evict(['/a'], 'hard')
          stamp = (await two.store.read([], [pathGroup('/a')])).stamps[0]?.hard
        },
      )
      expect((await two.store.read([], [pathGroup('/a')])).stamps[0]?.hard).toBeGreaterThanOrEqual(stamp ?? Infinity)
    })

    test('a soft invalidation that is overtaken and then lost does not lower the stamp of its group', async () => {
      await one.fill('/other', { groups: ['', 'g'] })
      let soft: number | undefined
      await stoppedAt(
        'bump',
        () => one.store.invalidate(['g'], 'soft').catch(() => {}),
        async () => {
          line.fail('clock')
          await two.store.invalidate(['g'], 'soft')
          soft = (await two.store.read([], ['g'])).stamps[0]?.soft
        },
      )
      expect((await two.store.read([], ['g'])).stamps[0]?.soft).toBe(soft)
    })

    test.each<[string, (by: Steps) => Promise<unknown>]>([
      ['an invalidation', ({ store }) => store.invalidate(['g'], 'hard')],
      ['an eviction', ({ store }) => store.evict(['/a'], 'hard')],
      [
        'a write',
        async (by) => (await by.write('/a', VARIANT.groups))({ status: 202 }, { key: '/a|w', groups: ['g'] }),
      ],
    ])('%s rises above stamps that are ahead of the clock', async (_, happens) => {
      await setClock(FAR_AHEAD + 100)
      await one.fill('/a|v', VARIANT)
      await setClock(FAR_AHEAD)
      await happens(two)
      expect(await one.status('/a|v', VARIANT.groups)).toBeUndefined()
    })

    test('invalidations count when the time of the server is behind the clock', async () => {
      await setClock(FAR_AHEAD)
      await one.fill('/a', { groups: ['', 'g'] })
      await two.store.invalidate(['g'], 'hard')
      expect(await one.status('/a', ['', 'g'])).toBeUndefined()
      expect((await one.store.clock()).at).toBe(FAR_AHEAD + 1)
    })

    test('a clock that is lost while the time is behind its stamps is another incarnation (F3)', async () => {
      await setClock(FAR_AHEAD)
      await one.fill('/g', { groups: ['', 'g'] })
      for (let count = 0; count < 5; count += 1) await one.store.invalidate(['h'], 'hard')
      await one.fill('/a', { groups: ['', 'g'] })
      const end = await one.begin('/b', { groups: ['', 'g'] })
      await line.execute(['DEL', keys.clock], keys.clock)
      await two.store.invalidate(['g'], 'hard')
      expect(await end()).toBe('fenced')
      for (const key of ['/a', '/b']) expect(await one.status(key, ['', 'g'])).toBeUndefined()
      const { entries } = await one.store.read(['/c'], [])
      const first = await one.begin('/c', { groups: ['', 'g'] }, { seen: entries[0] })
      await first()
      expect(await two.status('/c', ['', 'g'])).toBe(200)
    })

    test('a fill whose clock was lost is compared with the groups that are there, as its readers do', async () => {
      await setClock(FAR_AHEAD)
      const end = await one.begin('/a', { groups: ['', 'g'] })
      await line.execute(['DEL', keys.clock], keys.clock)
      expect(await end()).toBe('stored')
      await two.store.invalidate(['g'], 'hard')
      expect(await two.status('/a', ['', 'g'])).toBeUndefined()
    })

    test('a clock that was rolled back by a failover jumps beyond what was stamped before, once for each server (F3)', async () => {
      line.server = otherLine.server = 'first'
      await setClock(FAR_AHEAD, 'first')
      await one.fill('/g', { groups: ['', 'g'] })
      for (let count = 0; count < 5; count += 1) await one.store.invalidate(['h'], 'hard')
      await one.fill('/a', { groups: ['', 'g'] })
      await setClock(FAR_AHEAD, 'first')
      line.server = 'second'
      await one.store.invalidate(['g'], 'hard')
      expect(await two.status('/a', ['', 'g'])).toBeUndefined()
      const { at } = await one.store.clock()
      expect(at).toBe(FAR_AHEAD + 3_600_000_001)
      otherLine.server = 'second'
      expect((await two.store.clock()).at).toBe(at)
      for (const server of ['', 'first']) {
        otherLine.server = server
        expect((await two.store.clock()).at).toBe(at)
      }
      otherLine.server = 'third'
      expect((await two.store.clock()).at).toBe(at + 3_600_000_000)
    })

    test('the clock does not jump when its server becomes known', async () => {
      await setClock(FAR_AHEAD)
      line.server = 'first'
      expect((await one.store.clock()).at).toBe(FAR_AHEAD)
      expect(String(await line.execute(['GET', keys.clock], keys.clock))).toMatch(/ first $/)
    })

    test('a lease whose reply was lost is given back', async () => {
      line.loseReply('acquire')
      await expect(one.acquire('/a')).rejects.toThrow('lost')
      expect(await two.store.isLeased('/a')).toBe(true)
      await expect.poll(() => two.store.isLeased('/a')).toBe(false)
    })

    test.each(['SET', 'GETRANGE'])(
      'a lease that was claimed is given back where the reply to %s was lost',
      async (command) => {
        line.loseReply(command)
        await expect(one.acquire('/a', { absentGroups: [] })).rejects.toThrow('lost')
        expect(await two.store.isLeased('/a')).toBe(true)
        await expect.poll(() => two.store.isLeased('/a')).toBe(false)
      },
    )

    test('what was stored between the lookup and the claim of the lease is seen, and the lease is free again', async () => {
      await one.fill('/other', { groups: ['', 'g'] })
      const held = ['SET', 'GETRANGE'].map((command) => line.hold(command))
      const acquiring = one.acquire('/a', { absentGroups: [] })
      for (const { reached } of held) await reached
      await two.fill('/a', { groups: ['', 'g'] })
      for (const { release } of held) release()
      expect(await acquiring).toEqual({ state: 'changed' })
      expect(await two.store.isLeased('/a')).toBe(false)
    })

    test('the lease of a fill that could not be stored is given back', async () => {
      const end = await one.begin('/a')
      line.fail('fill')
      await expect(end()).rejects.toThrow('not sent')
      expect(await two.store.isLeased('/a')).toBe(true)
      await expect.poll(() => two.store.isLeased('/a')).toBe(false)
    })

    test.each(['write', 'clock', 'bump', 'commit', 'publish'])(
      'a write whose reply to %s was lost rejects, and is not served after the eviction that follows',
      async (command) => {
        await one.fill('/a|w', { groups: VARIANT.groups, status: 200 })
        const commit = await one.write('/a', VARIANT.groups)
        const paths = command === 'write' ? [] : ['/c']
        line.loseReply(command)
        const committed = commit({ status: 202 }, { key: '/a|v', groups: ['g'], paths })
        const outcome = committed.then(
          () => 'stored',
          (error: Error) => error.message,
        )
        // A cluster has no `write` to lose.
        expect(await outcome).toContain(isCluster && command === 'write' ? 'stored' : 'lost')
        await two.store.evict(['/a'], 'hard')
        for (const key of ['/a|v', '/a|w']) expect(await two.status(key, VARIANT.groups)).toBeUndefined()
      },
    )

    describe('the model of test/model sends what the store sends', () => {
      const path = { path: '/a', groups: ['g'] }
      const variant = { path: '/a', key: '/a|v', groups: ['g', pathGroup('/a')] }
      const ofStore: Record<string, () => Promise<unknown>> = {
        fill: () => fillLike('/a', ['g']),
        'a fill of a variant': () => fillLike('/a|v', variant.groups),
        invalidation: () => one.store.invalidate(['g'], 'hard'),
        eviction: () => one.store.evict(['/a'], 'soft'),
        write: async () => (await one.write('/a', ['g']))({}),
        'a write of a variant that evicts its group': async () =>
          (await one.write('/a', variant.groups))({}, { key: variant.key, groups: ['g'] }),
        set: () => one.store.set('/a', makeEntry({ groups: ['g'] }), TTL_MS),
      }
      const ofModel: Record<string, (on: Topology) => Program> = {
        fill: (on) => model.fill(on, { key: '/a', groups: ['g'] }),
        'a fill of a variant': (on) => model.fill(on, variant),
        invalidation: (on) => model.invalidation(on, ['g']),
        eviction: (on) => model.eviction(on, '/a', 'soft'),
        write: (on) => model.write(on, { ...path, key: '/a' }),
        'a write of a variant that evicts its group': (on) => model.write(on, { ...variant, evicts: ['g'] }),
        set: (on) => model.set(on, '/a', ['g']),
      }

      async function fillLike(key: string, groups: readonly string[]): Promise<void> {
        const { stamps } = await one.store.read([key], groups)
        const absentGroups = groups.filter((_, index) => stamps[index] === undefined)
        await (
          await one.begin(key, { groups }, { absentGroups })
        )()
      }

      test.each(Object.keys(ofModel))('%s, cold and warm', async (title) => {
        const on = isCluster ? 'cluster' : 'server'
        let server = COLD
        for (const warmth of ['cold', 'warm']) {
          const from = line.sent.length
          await ofStore[title]?.()
          const program = ofModel[title]?.(on)
          if (program === undefined) throw new Error(`${title} is not in the model`)
          const run = commandsOf(program, server)
          server = run.server
          const sent = line.sent.slice(from).filter((command) => command !== 'GET')
          expect({ warmth, sent }).toEqual({ warmth, sent: run.sent.filter((command) => command !== 'GET') })
          await one.store.evict(['/a', '/a|v'], 'hard')
          for (const key of ['/a', '/a|v']) server = commandsOf(model.eviction(on, key), server).server
        }
      })
    })

    test('a miss of warm groups is three trips: lookup, lease with clock, store', async () => {
      await one.fill('/b', { groups: ['', 'g'] })
      await one.store.evict(['/b'], 'hard')
      const from = line.sent.length
      await one.status('/b', ['', 'g'])
      const end = await one.begin('/b', { groups: ['', 'g'] }, { absentGroups: [] })
      const [lookup, lease] = [
        ['GET', 'GET', 'GET'],
        ['GET', 'SET', 'GETRANGE'],
      ]
      expect(line.sent.slice(from)).toEqual([...lookup, ...lease])
      await end()
      expect(line.sent.slice(from + 6)).toEqual(isCluster ? ['fill', 'mark', 'mark'] : ['fill'])
    })

    test('an eviction and an invalidation are one command on one server; on a cluster the clock comes first', async () => {
      await one.fill('/a', { groups: ['', 'g'] })
      const from = line.sent.length
      await one.store.evict(['/a'], 'hard')
      await one.store.invalidate(['g'], 'hard')
      expect(line.sent.slice(from)).toEqual(isCluster ? ['clock', 'evict', 'clock', 'bump'] : ['evict', 'invalidate'])
    })

    test('many names are sent in parts of a hundred, each after the reply to the one before it', async () => {
      const names = Array.from({ length: 230 }, (_, index) => `/${index}`)
      const partsOf = async (command: string, task: () => unknown): Promise<number> => {
        const from = line.sent.length
        await task()
        return line.sent.slice(from).filter((sent) => sent === command).length
      }
      expect(await partsOf('MGET', () => one.store.read(names, []))).toBe(isCluster ? 0 : 3)
      const invalidation = isCluster ? 'clock' : 'invalidate'
      expect(await partsOf(invalidation, () => one.store.invalidate(names, 'hard'))).toBe(3)
      const held = line.hold('evict')
      const evicting = one.store.evict(names, 'hard')
      await held.reached
      const sent = line.sent.filter((command) => command === 'evict').length
      held.release()
      await evicting
      expect(sent).toBeLessThanOrEqual(100)
    })

    test('an invalidation keeps the life of a group, and a short-lived entry does not shorten it', async () => {
      const [group = ''] = keys.copies('g')
      const ttl = async (): Promise<number> => Number(await line.execute(['PTTL', group], group))
      await one.fill('/a', { groups: ['', 'g'] }, { groupTtlMs: 7_200_000 })
      const before = await ttl()
      expect(before).toBeGreaterThan(14_000_000)
      await one.store.invalidate(['g'], 'soft')
      await one.store.invalidate(['g'], 'hard')
      await two.fill('/b', { groups: ['', 'g'] }, { groupTtlMs: 1000 })
      expect(await ttl()).toBeGreaterThan(before - 60_000)
      await two.store.set('/c', makeEntry({ groups: ['', 'g'] }), 15_000_000)
      expect(await ttl()).toBeGreaterThan(28_000_000)
      await two.store.set('/d', makeEntry({ groups: ['', 'g'] }), Infinity)
      expect(await ttl()).toBe(-1)
      await two.store.set('/e', makeEntry({ groups: ['', 'g'] }), TTL_MS)
      expect(await ttl()).toBe(-1)
    })

    test('a learned variant is not served when its path was evicted while it was being stored', async () => {
      const clock = await one.store.clock()
      const groups = ['', pathGroup('/a')]
      const entry = makeEntry({ groups, ...under(clock) })
      await stoppedAt(
        'publish',
        () => one.store.put('/a|v', entry, TTL_MS),
        () => two.store.evict(['/a'], 'hard'),
      )
      expect(await two.status('/a|v', groups)).toBeUndefined()
    })
  })
}
