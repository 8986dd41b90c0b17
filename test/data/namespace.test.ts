import { type } from 'arktype'
import fc from 'fast-check'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createRedis, type Key, OptionsError, valueKey, ValueError } from '../../src/index.js'
import { recordingLogger } from '../support/logger.js'
import { backends, counting, deferred } from './support.js'

describe.each(['memory', 'redis'])('a namespace on %s', (where) => {
  const { make, beside } = backends(where)

  test('keeps its values apart from those of others, and clears them alone', async () => {
    const { cache } = await make()
    const [users, teams] = [cache.namespace('users'), cache.namespace('teams')]
    await users.setMany([
      [1, 'ann'],
      [2, 'bob'],
    ])
    await teams.set(1, 'red')
    await cache.set(1, 'bare')
    expect(await users.clear()).toEqual({ entries: 0, groups: 1, confirmed: true })
    expect([await users.getMany([1, 2]), await teams.get(1), await cache.get(1)]).toEqual([
      [undefined, undefined],
      'red',
      'bare',
    ])
    await users.set(1, 'again')
    expect(await users.get(1)).toBe('again')
  })

  test('its own lifetime holds, unless a call says otherwise', async () => {
    const { cache } = await make()
    const users = cache.namespace('users', { ttl: '10m' })
    await users.set(1, 'ann')
    await users.set(2, 'bob', { ttl: '1m' })
    await users.getOrSet(3, () => 'cyd')
    expect(await Promise.all([1, 2, 3, 4].map((id) => users.ttl(id)))).toEqual([600, 60, 600, undefined])
  })

  test('another version is another world, on both sides of a deploy', async () => {
    const redis = await make()
    const [old, fresh] = [1, 2].map((version) => redis.cache.namespace('users', { version }))
    await old!.set(1, { name: 'Ann Ott' })
    expect(await fresh!.get(1)).toBeUndefined()
    await fresh!.set(1, { first: 'Ann' })
    expect([await old!.get(1), await fresh!.get(1)]).toEqual([{ name: 'Ann Ott' }, { first: 'Ann' }])
    await fresh!.clear()
    expect([await old!.get(1), await fresh!.get(1)]).toEqual([undefined, undefined])
  })

  test('typed keys, groups by key and all the calls agree on one entry', async () => {
    const { cache } = await make()
    const pages = cache.namespace('pages', {
      key: (page: { site: string; path: string; lang?: string }) => [page.site, page.path, { lang: page.lang }],
      group: ({ site }) => `site:${site}`,
    })
    const home = { site: 'a', path: '/', lang: 'de' }
    await pages.set(home, 'Willkommen')
    expect(await pages.getOrSet({ ...home }, () => 'no')).toBe('Willkommen')
    expect(await pages.getMany([home, { ...home, lang: 'en' }])).toEqual(['Willkommen', undefined])
    const settled = await pages.getOrSetMany([home, { site: 'b', path: '/' }], (keys) => keys.map(({ site }) => site))
    expect(settled.map((one) => one.status === 'fulfilled' && one.value)).toEqual(['Willkommen', 'b'])
    await cache.deleteGroup('site:a')
    expect([await pages.has(home), await pages.has({ site: 'b', path: '/' })]).toEqual([false, true])
    await pages.set(home, 'x')
    expect((await pages.delete(home)).entries).toBe(1)
  })

  const User = {
    zod: z.object({ name: z.string().min(1) }),
    valibot: v.object({ name: v.pipe(v.string(), v.minLength(1)) }),
    arktype: type({ name: 'string >= 1' }),
  }
  test.each(['zod', 'valibot', 'arktype'] as const)(
    'values are checked by a schema of %s when stored and when read',
    async (library) => {
      const logger = recordingLogger()
      const { cache } = await make({ logger })
      const users = cache.namespace('users', { schema: User[library] })
      await users.set(1, { name: 'Ann' })
      expect(await users.get(1)).toEqual({ name: 'Ann' })
      await expect(users.set(2, { name: '' })).rejects.toThrow(
        /^The value of key 2 in namespace 'users' fails its schema at name; see `cause` for the issues\.$/,
      )
      await expect(users.getOrSet(2, () => ({}) as { name: string })).rejects.toThrow(ValueError)
      await cache.namespace('users').setMany([
        [3, { name: 7 }],
        [4, {}],
      ])
      expect(await users.getMany([3, 4])).toEqual([undefined, undefined])
      expect(await users.getEntry(3)).toEqual({ outcome: 'miss', reason: 'invalid', value: undefined })
      expect(logger.lines.filter((line) => line.includes('schema'))).toEqual([
        expect.stringContaining(
          "warn: redwell: a stored value of namespace 'users' fails its schema at name; it counts as a miss",
        ),
      ])
      expect(await users.getOrSet(3, () => ({ name: 'new' }))).toEqual({ name: 'new' })
      expect(await users.get(3)).toEqual({ name: 'new' })
    },
  )

  test('what the schema gives is stored and read, also by the caller who loaded', async () => {
    const { cache } = await make()
    const schema = z.object({ at: z.coerce.date(), role: z.string().default('guest') })
    const visits = cache.namespace('visits', { schema })
    const at = new Date(1e12)
    const loaded = await visits.getOrSet(1, () => ({ at, secret: 'x' }))
    expect(loaded).toEqual({ at, role: 'guest' })
    expect(await visits.get(1)).toEqual(loaded)
    expect(await cache.namespace('visits').get(1)).toEqual({ at: at.toISOString(), role: 'guest' })
  })

  test('a schema may take its time', async () => {
    const { cache } = await make()
    const even = cache.namespace('even', { schema: z.number().refine(async (n) => n % 2 === 0) })
    await even.set('a', 2)
    expect([await even.get('a'), await even.getMany(['a']), await even.getOrSet('b', () => 4)]).toEqual([2, [2], 4])
    await expect(even.set('a', 3)).rejects.toThrow(ValueError)
  })

  test('expireAll makes its values stale, and no others', async () => {
    const { cache } = await make()
    const users = cache.namespace('users', { ttl: 60, staleWhileRevalidate: 60 })
    const { load } = counting()
    await users.getOrSet(1, load)
    await users.expireAll()
    expect((await users.getEntry(1)).outcome).toBe('stale')
    expect(await users.getOrSet(1, load)).toBe(1)
    await cache.settled()
    expect(await users.get(1)).toBe(2)
  })

  test('another process sees what is cleared', async () => {
    const one = await make()
    const two = where === 'memory' ? one : await beside(one)
    await one.cache.namespace('users').set(1, 'ann')
    expect(await two.cache.namespace('users').get(1)).toBe('ann')
    await two.cache.namespace('users').clear()
    expect(await one.cache.namespace('users').get(1)).toBeUndefined()
  })

  test('a memo is beside one object, and sees what this process writes', async () => {
    const { cache } = await make()
    const users = cache.namespace<Key, number>('users', { group: 'people' })
    const request = {}
    const { load } = counting()
    const ask = () => users.getOrSet(1, load, { memo: request })
    const first = ask()
    expect(await Promise.all([first, ask()])).toEqual([1, 1])
    await cache.set('other', 1)
    expect(await ask()).toBe(1)
    for (const change of [
      () => users.delete(1),
      () => cache.deleteGroup('people'),
      () => users.clear(),
      () => cache.clear(),
    ]) {
      const before = await ask()
      await change()
      expect(await ask()).toBe(before + 1)
    }
    await users.set(1, 99)
    expect([await ask(), await users.get(1, { memo: request })]).toEqual([99, 99])
  })

  test('a memo keeps frozen and changeable values apart, and takes the default of each call', async () => {
    const { cache } = await make()
    const request = {}
    const load = () => ({ tags: ['a'] })
    const shared = await cache.getOrSet('k', load, { memo: request, shared: true })
    const own = await cache.getOrSet('k', load, { memo: request })
    expect([Object.isFrozen(shared), Object.isFrozen(own)]).toEqual([true, false])
    own.tags.push('mine')
    expect(shared.tags).toEqual(['a'])
    const none = (fallback: string) => cache.get('none', { memo: request, default: fallback })
    expect([await none('one'), await none('two')]).toEqual(['one', 'two'])
  })

  test('a memo does not remember what failed', async () => {
    const { cache } = await make()
    const request = {}
    const failing = () => cache.getOrSet('k', () => Promise.reject(new Error('down')), { memo: request })
    await expect(failing()).rejects.toThrow('down')
    expect(await cache.getOrSet('k', () => 'up', { memo: request })).toBe('up')
  })

  test('shared values are frozen, and from memory one object for everybody; others are one’s own', async () => {
    const { cache } = await make()
    const load = () => ({ tags: ['a'] })
    const shared = () => cache.getOrSet('k', load, { shared: true })
    const [first, second] = [await shared(), await shared()]
    expect([first, second].every((value) => Object.isFrozen(value) && Object.isFrozen(value.tags))).toBe(true)
    expect(() => (second.tags as string[]).push('b')).toThrow(TypeError)
    expect((await shared()) === second).toBe(where === 'memory')
    const own = await cache.getOrSet('k', load)
    own.tags.push('mine')
    expect([await cache.getOrSet('k', load), await shared()]).toEqual([{ tags: ['a'] }, { tags: ['a'] }])
  })

  test('memoize: calls with equal arguments are answered from the cache', async () => {
    const { cache } = await make()
    const calls: unknown[][] = []
    const slow = async (...args: (string | number | undefined)[]) => {
      calls.push(args)
      return args.join()
    }
    const quick = cache.memoize(slow, { name: 'slow', ttl: '1m', group: (...args) => `first:${args[0]}` })
    for (const args of [[], [''], ['a'], ['a', 'b'], ['a:b'], ['a', 'b', undefined], [1], ['1']] as (
      | string
      | number
      | undefined
    )[][])
      expect(await quick(...args)).toBe(args.filter((arg) => arg !== undefined).join())
    expect(calls).toEqual([[], [''], ['a'], ['a', 'b'], ['a:b'], [1]])
    expect((await quick.delete('a')).entries).toBe(1)
    await cache.deleteGroup('first:1')
    await Promise.all([quick('a'), quick(1), quick('a', 'b')])
    expect(calls).toHaveLength(8)
    await quick.clear()
    await quick()
    expect(calls).toHaveLength(9)
    expect(await quick.cache.ttl([])).toBe(60)
  })

  test('deleteMatching finds what is there and what is being loaded, and nothing else', async () => {
    const redis = await make()
    const { cache } = redis
    const search = cache.namespace('search', { version: 2 })
    const terms = ['lamp', 'lamp*', 'la[m]p', 'lämp', 'desk', '{x}']
    for (const term of terms) for (const page of [1, 2]) await search.set([term, page], term)
    await cache.set('lamp', 'no namespace')
    expect(await search.deleteMatching('lamp:*', { count: 2 })).toBe(2)
    expect(await search.deleteMatching('{x}:1')).toBe(1)
    expect(await search.getMany(terms.map((term) => [term, 2]))).toEqual([
      undefined,
      'lamp*',
      'la[m]p',
      'lämp',
      'desk',
      '{x}',
    ])
    let finish = (_: string) => {}
    const begun = new Promise<void>((resolve) => {
      search
        .getOrSet(['lamp', 9], () => {
          resolve()
          return new Promise<string>((end) => (finish = end))
        })
        .catch(() => {})
    })
    await begun
    await search.deleteMatching('*')
    finish('loaded before')
    expect(await search.getOrSet(['lamp', 9], () => 'loaded after')).toBe('loaded after')
    expect(await search.getMany(terms.map((term) => [term, 1]))).toEqual(Array(6).fill(undefined))
    expect(await cache.get('lamp')).toBe('no namespace')
    const aborted = search.deleteMatching('*', { signal: AbortSignal.abort(new Error('enough')) })
    await expect(aborted).rejects.toThrow('enough')
  })

  test('beginWrite and set: of two writers that overlap the later one notices, and its value is not kept', async () => {
    const { cache } = await make()
    await cache.set('k', 'before')
    const first = await cache.beginWrite('k')
    expect(await cache.get('k')).toBe('before')
    expect(await cache.set('k', 'first', { ifUnchangedSince: first, ttl: '1m' })).toEqual({ stored: true })
    expect([await cache.get('k'), await cache.ttl('k')]).toEqual(['first', 60])
    const [one, two] = [await cache.beginWrite('k'), await cache.beginWrite('k')]
    expect(await cache.set('k', 2, { ifUnchangedSince: two })).toEqual({ stored: true })
    expect(await cache.set('k', 1, { ifUnchangedSince: one })).toEqual({ stored: false, reason: 'contested' })
    expect(await cache.getOrSet('k', () => 'from the source')).toBe('from the source')
  })

  test.each([
    ['the key is deleted', (cache: Cache) => cache.delete('k')],
    ['its group is invalidated', (cache: Cache) => cache.deleteGroup('g')],
    ['another caller sets it', (cache: Cache) => cache.set('k', 'other')],
  ])('beginWrite and set: nothing is stored when %s in between', async (_, change) => {
    const { cache } = await make()
    await cache.set('k', 'before', { group: 'g' })
    const stamp = await cache.beginWrite('k', { group: 'g' })
    await change(cache)
    const options = { ifUnchangedSince: stamp, group: 'g' }
    expect(await cache.set('k', 'mine', options)).toEqual({ stored: false, reason: 'contested' })
    expect(await cache.get('k')).toBeUndefined()
  })

  test('beginWrite and set: a load that began before is not stored over it', async () => {
    const { cache } = await make()
    const loading = deferred<string>()
    const begun = deferred()
    const loaded = cache.getOrSet('k', () => (begun.resolve(), loading.promise))
    await begun.promise
    const stamp = await cache.beginWrite('k')
    expect(await cache.set('k', 'written', { ifUnchangedSince: stamp })).toEqual({ stored: true })
    loading.resolve('read before')
    expect([await loaded, await cache.get('k')]).toEqual(['read before', 'written'])
  })

  test('a write that is not completed changes nothing; a stamp is good for its own key only', async () => {
    const { cache } = await make()
    await cache.set('k', 'before')
    await cache.beginWrite('k')
    expect(await cache.getOrSet('k', () => 'loaded')).toBe('before')
    const other = await cache.beginWrite('other')
    await expect(cache.set('k', 1, { ifUnchangedSince: other })).rejects.toThrow('the stamp of another key')
  })

  type Cache = Awaited<ReturnType<typeof make>>['cache']

  test('keys of any characters: different ones never meet', async () => {
    const { cache } = await make()
    const values = cache.namespace('n')
    const part = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer(),
      fc.constant(null),
      fc.dictionary(fc.string(), fc.string(), { maxKeys: 2 }),
    )
    const anyKey = fc.oneof(fc.string({ unit: 'binary' }), fc.array(part, { minLength: 1, maxLength: 3 }))
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(anyKey, { selector: (key) => values.keyOf(key), maxLength: 6 }), async (keys) => {
        await values.setMany(keys.map((key, index) => [key, index]))
        expect(await values.getMany(keys)).toEqual(keys.map((_, index) => index))
      }),
      { numRuns: where === 'memory' ? 100 : 30 },
    )
  })
})

test('a key has a name in Redis', async () => {
  await using redis = createRedis({ url: 'memory:', prefix: 'shop' })
  const users = redis.cache.namespace('users', { version: 2, key: (id: number) => [id, { full: true }] })
  expect(users.keyOf(42)).toBe('shop:entry:value:users,v2:42:(full=true)!o')
  expect(redis.cache.keyOf('stats')).toBe('shop:entry:value::stats')
  expect(valueKey('users', [42, { full: true }], 2)).toBe('value:users,v2:42:(full=true)!o')
  expect(valueKey('users', 42, 'v2')).toBe(valueKey('users', 42, 2))
  expect(redis.cache.namespace('users', { version: 'v2' }).keyOf(1)).toBe('shop:entry:value:users,v2:1')
  expect(valueKey('users,v2', 'x')).not.toBe(valueKey('users', 'x', 2))
})

test('wrong options of a namespace are told all at once, when it is declared', async () => {
  await using redis = createRedis({ url: 'memory:' })
  const options = {
    ttl: 'x',
    jitter: 2,
    schema: {},
    coder: { name: 'a\n' },
    version: {},
    key: 1,
    compression: { codec: 'rar', threshold: -1 },
  }
  const declare = () => redis.cache.namespace('', options as object)
  expect(declare).toThrow(OptionsError)
  for (const problem of [
    'name:',
    'ttl:',
    'jitter:',
    'schema:',
    'coder: needs',
    'coder: its name',
    'version:',
    'key:',
    'compression.codec:',
    'compression.threshold:',
  ])
    expect(declare).toThrow(problem)
})
