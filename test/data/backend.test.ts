import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { pathKey, valueKey, variantKey } from '../../src/cache/key.js'
import {
  createRedis,
  OptionsError,
  type PathOptions,
  type Redis,
  type RedisOptions,
  SettingsError,
  ValueError,
} from '../../src/index.js'
import { chaos, type ChaosStore, memoryStores, testClock } from '../../src/testing/index.js'
import { silentLogger } from '../support/logger.js'
import { sharedRedis } from '../support/redis-server.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
const open: Redis[] = []

beforeAll(async () => {
  server = await sharedRedis()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((redis) => redis.close()))
})
afterAll(() => server.close())

describe.each(['memory', 'redis'])('CacheBackend on %s', (where) => {
  const clock = testClock()

  async function make(options: RedisOptions = {}): Promise<Redis> {
    const store =
      where === 'memory' ? { url: 'memory:' } : { url: server.url, prefix: `test:${randomUUID()}`, commandTimeout: 5 }
    const redis = await createRedis({ ...store, now: clock.now, logger: silentLogger, ...options }).connect()
    open.push(redis)
    return redis
  }

  test('keeps values of every JSON kind, and tells null from nothing', async () => {
    const { cache } = await make()
    for (const value of [null, false, 0, '', 'é😀', [1, [2]], { a: { b: null } }]) {
      expect(await cache.set('k', value)).toEqual({ stored: true })
      expect(await cache.get('k')).toEqual(value)
    }
    expect(await cache.get('other')).toBeUndefined()
    expect([await cache.has('k'), await cache.has('other')]).toEqual([true, false])
  })

  test('deletes a value, and tells how many there were', async () => {
    const { cache } = await make()
    await cache.set(['user', 1], 'ann')
    expect(await cache.delete(['user', 1])).toEqual({ entries: 1, groups: 0, confirmed: true })
    expect(await cache.delete(['user', 1])).toEqual({ entries: 0, groups: 0, confirmed: true })
    expect(await cache.get(['user', 1])).toBeUndefined()
  })

  test('invalidates a group, whatever its name, and no other', async () => {
    const { cache } = await make()
    const names = ['products', 'with space', '{braces}*?[x]', 'π:é\n', 'x'.repeat(256)]
    for (const name of names) await cache.set(`in ${name}`, name, { group: [name, 'all'] })
    for (const name of names) {
      expect(await cache.deleteGroup(name)).toEqual({ entries: 0, groups: 1, confirmed: true })
      expect(await cache.get(`in ${name}`)).toBeUndefined()
      const rest = names.slice(names.indexOf(name) + 1)
      for (const other of rest) expect(await cache.get(`in ${other}`)).toBe(other)
    }
  })

  test('clear ends everything under the prefix, at the cost of one group', async () => {
    const { cache } = await make()
    await cache.set('a', 1, { group: 'g' })
    await cache.set('b', 2)
    await cache.clear()
    expect([await cache.get('a'), await cache.get('b')]).toEqual([undefined, undefined])
    await cache.set('a', 3)
    expect(await cache.get('a')).toBe(3)
  })

  test('a value ends with its lifetime; 0 or less keeps it', async () => {
    const { cache } = await make()
    await cache.set('short', 1, { ttl: '10s' })
    await cache.set('kept', 2, { ttl: 0 })
    await cache.set('kept too', 3, { ttl: -1 })
    clock.advance(9999)
    expect(await cache.get('short')).toBe(1)
    clock.advance(1)
    expect(await cache.get('short')).toBeUndefined()
    expect([await cache.get('kept'), await cache.get('kept too')]).toEqual([2, 3])
  })

  test('getEntry tells outcome, age and what is left', async () => {
    const { cache } = await make()
    expect(await cache.getEntry('k')).toEqual({ outcome: 'miss', reason: 'absent', value: undefined })
    await cache.set('k', 'v', { ttl: 10, staleWhileRevalidate: 10 })
    clock.advance(4000)
    expect(await cache.getEntry('k')).toEqual({ outcome: 'hit', value: 'v', ageMs: 4000, ttlMs: 6000 })
    clock.advance(7000)
    expect(await cache.getEntry('k')).toMatchObject({ outcome: 'stale', value: 'v' })
    expect(await cache.get('k')).toBeUndefined()
  })

  test('getOrSet loads once for all callers at a time, and keeps what it loaded', async () => {
    const { cache } = await make()
    let loads = 0
    const load = async () => ({ load: ++loads })
    const values = await Promise.all(Array.from({ length: 20 }, () => cache.getOrSet('k', load, { ttl: 60 })))
    expect(new Set(values.map(({ load: n }) => n))).toEqual(new Set([1]))
    expect(await cache.getOrSet('k', load, { ttl: 60 })).toEqual({ load: 1 })
  })

  test('what a loader throws goes to its caller, and the next caller tries again', async () => {
    const { cache } = await make()
    await expect(cache.getOrSet('k', () => Promise.reject(new Error('no database')))).rejects.toThrow('no database')
    expect(await cache.getOrSet('k', () => 'good')).toBe('good')
  })

  test('staleWhileRevalidate: the old value at once, one load behind it', async () => {
    const { cache } = await make()
    let loads = 0
    const ask = () => cache.getOrSet('k', () => ++loads, { ttl: 10, staleWhileRevalidate: 100 })
    await ask()
    clock.advance(20_000)
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([1, 1, 1])
    await cache.settled()
    expect([await ask(), loads]).toEqual([2, 2])
  })

  test('a load in the background is not in the asynchronous context of who asked', async () => {
    const { cache } = await make()
    const users = new AsyncLocalStorage<string>()
    const ask = () => cache.getOrSet('k', () => `of ${users.getStore()}`, { ttl: 10, staleWhileRevalidate: 100 })
    expect(await users.run('ann', ask)).toBe('of ann')
    clock.advance(20_000)
    await users.run('bob', ask)
    await cache.settled()
    expect(await ask()).toBe('of undefined')
  })

  test.each([
    [0, 'rejects'],
    [100, 'returns the old value'],
  ])('a value that was made stale, with staleIfError %s: a load that fails %s', async (staleIfError) => {
    const { cache } = await make()
    const options = { ttl: 60, staleIfError, group: 'g' }
    await cache.getOrSet('k', () => 'old', options)
    await cache.expireGroup('g')
    const outcome = await cache
      .getOrSet('k', () => Promise.reject(new Error('down')), options)
      .catch((error: Error) => error.message)
    expect(outcome).toBe(staleIfError === 0 ? 'down' : 'old')
  })

  test('staleIfError: the old value while loading fails, until its span ends', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleIfError: 100 }
    await cache.getOrSet('k', () => 'good', options)
    clock.advance(20_000)
    const failing = () => cache.getOrSet('k', () => Promise.reject(new Error('down')), options)
    expect(await failing()).toBe('good')
    clock.advance(100_000)
    await expect(failing()).rejects.toThrow('down')
  })

  test('expire makes a value stale at once, expireGroup all of a group', async () => {
    const { cache } = await make()
    const options = { ttl: 60, staleWhileRevalidate: 60, group: 'g' }
    let loads = 0
    const ask = () => cache.getOrSet('k', () => ++loads, options)
    await ask()
    for (const soften of [() => cache.expire('k'), () => cache.expireGroup('g')]) {
      const before = loads
      await soften()
      expect((await cache.getEntry('k', { group: 'g' })).outcome).toBe('stale')
      expect(await ask()).toBe(before)
      await cache.settled()
      expect(await ask()).toBe(before + 1)
    }
  })

  test('a caller that goes away stops waiting, and its loader is told', async () => {
    const { cache } = await make()
    const leaving = new AbortController()
    const heard = new Promise<boolean>((resolve) => {
      const asked = cache.getOrSet(
        'k',
        ({ signal }) =>
          new Promise((_, reject) => {
            signal?.addEventListener('abort', () => {
              resolve(true)
              reject(new Error('left'))
            })
            leaving.abort()
          }),
        { signal: leaving.signal },
      )
      asked.catch(() => {})
    })
    expect(await heard).toBe(true)
    expect(await cache.getOrSet('k', () => 'next')).toBe('next')
  })

  test('jitter shortens lifetimes by at most its part', async () => {
    const { cache } = await make()
    const left: number[] = []
    for (let index = 0; index < 30; index += 1) {
      await cache.set('k', 1, { ttl: 100, jitter: 0.5 })
      const entry = await cache.getEntry('k')
      if (entry.outcome === 'hit') left.push(entry.ttlMs)
    }
    expect(Math.max(...left)).toBeLessThanOrEqual(100_000)
    expect(Math.min(...left)).toBeGreaterThanOrEqual(50_000)
    expect(new Set(left).size).toBeGreaterThan(10)
  })

  test('a sweep removes entries without a lifetime that can no longer be valid', async () => {
    const { cache } = await make()
    for (let index = 0; index < 25; index += 1) await cache.set(`dead ${index}`, index, { ttl: 0, group: 'g' })
    await cache.set('live', 1, { ttl: 0 })
    await cache.deleteGroup('g')
    expect(await cache.sweep({ count: 10 })).toBe(25)
    expect(await cache.get('live')).toBe(1)
  })

  test.each([
    ['a key of undefined', (redis: Redis) => redis.cache.get(undefined as never), ValueError],
    ['a key of a function', (redis: Redis) => redis.cache.set((() => 1) as never, 1), ValueError],
    ['a value that JSON cannot encode', (redis: Redis) => redis.cache.set('k', 10n), ValueError],
    ['a value of undefined', (redis: Redis) => redis.cache.set('k', undefined), ValueError],
    ['a duration without meaning', (redis: Redis) => redis.cache.set('k', 1, { ttl: 'soon' as never }), OptionsError],
    ['a group without a name', (redis: Redis) => redis.cache.deleteGroup(''), OptionsError],
    [
      'a thousand groups',
      (redis: Redis) => redis.cache.set('k', 1, { group: Array.from({ length: 1000 }, (_, n) => `g${n}`) }),
      OptionsError,
    ],
  ])('%s is refused with the rule', async (_, call, kind) => {
    await expect(call(await make())).rejects.toThrow(kind)
  })

  test('behaves as a simple map with lifetimes and groups does', { timeout: 60_000 }, async () => {
    type Model = Map<string, { value: number; until: number; group: string }>
    const key = fc.constantFrom('a', 'b', 'c')
    const group = fc.constantFrom('g', 'h')
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), key, group, value: fc.nat(100), ttl: fc.constantFrom(0, 5, 50) }),
      fc.record({ do: fc.constant('get' as const), key }),
      fc.record({ do: fc.constant('delete' as const), key }),
      fc.record({ do: fc.constant('deleteGroup' as const), group }),
      fc.record({
        do: fc.constant('getOrSet' as const),
        key,
        group,
        value: fc.nat(100),
        ttl: fc.constantFrom(0, 5, 50),
      }),
      fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1000, 6000, 60_000) }),
      fc.record({ do: fc.constant('clear' as const) }),
    )
    const find = (model: Model, name: string) => {
      const found = model.get(name)
      return found !== undefined && clock.now() < found.until ? found.value : undefined
    }
    const until = (ttl: number) => (ttl === 0 ? Infinity : clock.now() + ttl * 1000)
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const redis = await make()
        const model: Model = new Map()
        const answers: unknown[] = []
        const predicted: unknown[] = []
        for (const one of steps) {
          if (one.do === 'set') {
            await redis.cache.set(one.key, one.value, { ttl: one.ttl, group: one.group })
            model.set(one.key, { value: one.value, until: until(one.ttl), group: one.group })
          } else if (one.do === 'get') {
            answers.push(await redis.cache.get(one.key))
            predicted.push(find(model, one.key))
          } else if (one.do === 'delete') {
            await redis.cache.delete(one.key)
            model.delete(one.key)
          } else if (one.do === 'deleteGroup') {
            await redis.cache.deleteGroup(one.group)
            for (const [name, entry] of model) if (entry.group === one.group) model.delete(name)
          } else if (one.do === 'getOrSet') {
            const known = model.get(one.key)?.group === one.group ? find(model, one.key) : undefined
            answers.push(await redis.cache.getOrSet(one.key, () => one.value, { ttl: one.ttl, group: one.group }))
            predicted.push(known ?? one.value)
            if (known === undefined) model.set(one.key, { value: one.value, until: until(one.ttl), group: one.group })
          } else if (one.do === 'advance') clock.advance(one.ms)
          else {
            await redis.cache.clear()
            model.clear()
          }
        }
        expect(answers).toEqual(predicted)
        await redis.close()
        open.splice(open.indexOf(redis), 1)
      }),
      { numRuns: where === 'memory' ? 200 : 60 },
    )
  })
})

describe('input that cannot be meant', () => {
  const memory = (): Redis => {
    const redis = createRedis({ url: 'memory:', logger: silentLogger })
    open.push(redis)
    return redis
  }

  test.each<[string, (redis: Redis) => unknown, string]>([
    [
      'a lifetime in place of options',
      ({ cache }) => cache.set('k', 1, 60 as never),
      '60 is not an options object; write { ttl: 60 }',
    ],
    ['a text in place of options', ({ cache }) => cache.set('k', 1, '5m' as never), "write { ttl: '5m' }"],
    [
      'null in place of options',
      ({ cache }) => cache.getOrSet('k', () => 1, null as never),
      'null is not an options object',
    ],
    [
      'a misspelt option',
      ({ cache }) => cache.set('k', 1, { tll: 5 } as never),
      'tll: there is no such option (given: 5); did you mean `ttl`?',
    ],
    [
      'one after a call that was right',
      async ({ cache }) => {
        await cache.set('k', 1, { ttl: 5 })
        await cache.set('k', 1, { ttl: 5, jiter: 1 } as never)
      },
      'did you mean `jitter`?',
    ],
    [
      'an option of a loader',
      ({ cache }) => cache.getOrSet('k', ({ store }) => store({ ttl: 1, grup: 'g' } as never)),
      'did you mean `group`?',
    ],
    [
      'an option of another library',
      ({ cache }) => cache.namespace('n', { default_ttl: '5m' } as never),
      "default_ttl: there is no such option (given: '5m'); the options are ttl,",
    ],
    [
      'a namespace without an object',
      ({ cache }) => cache.namespace('n', '5m' as never),
      "'5m' is not an options object",
    ],
    [
      'a group that is missing',
      ({ cache }) => cache.deleteGroup(undefined as never),
      'a group must be a non-empty string',
    ],
    [
      'one of several groups',
      ({ cache }) => cache.expireGroup(['a', 7] as never),
      'a group must be a non-empty string',
    ],
    ['a path that is missing', ({ cache }) => cache.deletePath(undefined as never), "write '/products/42'"],
    [
      'a misspelt option of deletePath',
      ({ cache }) => cache.deletePath('/a', { hots: 'x' } as never),
      'did you mean `host`?',
    ],
    ['a wait that is no duration', ({ cache }) => cache.getOrSet('k', () => 1, { wait: 'x' as never }), 'wait: '],
  ])('%s is refused with what to write instead', async (_, call, message) => {
    const redis = memory()
    const refused = await (async () => call(redis))().catch((error: unknown) => error as Error)
    expect(refused).toBeInstanceOf(OptionsError)
    expect((refused as Error).message).toContain(message)
    expect(await redis.cache.has('never')).toBe(false)
  })

  test('a value in place of a loader', async () => {
    const { cache } = memory()
    await expect(cache.getOrSet('k', 'value' as never)).rejects.toThrow(
      "The loader of getOrSet is 'value'; pass a function",
    )
    await expect(cache.getOrSetMany(['k'], undefined as never)).rejects.toThrow(
      'The loader of getOrSetMany is undefined',
    )
  })

  test('settings: a text, a misspelt name, whose value is not shown', () => {
    expect(() => createRedis('redis://user:secret@host:6379' as never)).toThrow(
      "write { url: 'redis://***@host:6379' }",
    )
    expect(() => createRedis({ urll: 'secret' } as never)).toThrow(
      /^Invalid Redis settings:\n {2}- urll: there is no such option; did you mean `url`\?$/,
    )
    expect(() => createRedis({ pasword: 'secret' } as never)).not.toThrow('secret')
    expect(() => createRedis(null as never)).toThrow(SettingsError)
  })
})

describe('deletePath', () => {
  const evicted = (redis: Redis, url: string, options?: PathOptions) => {
    const paths: unknown[] = []
    const listen = (event: unknown): void => void paths.push(...(event as { keys: string[] }).keys)
    subscribe('redwell:eviction', listen)
    return redis.cache
      .deletePath(url, options)
      .finally(() => unsubscribe('redwell:eviction', listen))
      .then(() => paths)
  }

  test('without routes in this process it goes by the rule that routes have by default', async () => {
    await using redis = createRedis({ url: 'memory:', logger: silentLogger })
    expect(await evicted(redis, '/products/42?b=2&a=1')).toEqual([pathKey('/products/42?a=1&b=2')])
    expect(await evicted(redis, 'https://shop.example/a', { prefix: 'v1' })).toEqual([
      pathKey('/a', {}, { prefix: 'v1' }),
    ])
    expect(await evicted(redis, '/a', { host: 'Shop.example' })).toEqual([pathKey('/a', {}, { host: 'shop.example' })])
    expect(await evicted(redis, '/a', { per: 'ann' })).toEqual([variantKey('/a', { principal: 'ann' })])
  })

  test('the routes of this process know better', async () => {
    await using redis = createRedis({ url: 'memory:', logger: silentLogger })
    const asked: unknown[] = []
    redis.cache.findPathsWith((...question) => {
      asked.push(question)
      return [valueKey('', 'one'), valueKey('', 'two')]
    })
    await redis.cache.set('one', 1)
    await redis.cache.set('two', 2)
    expect(await redis.cache.deletePath('/a', { host: 'x' })).toMatchObject({ entries: 2 })
    expect(asked).toEqual([['/a', { host: 'x' }]])
  })
})

describe('when the store is away', () => {
  test('values are loaded, nothing throws, and an outage can be told from a miss', async () => {
    let store: ChaosStore | undefined
    const inner = memoryStores()
    const redis = createRedis({ store: (prefix) => (store = chaos(inner(prefix))), logger: silentLogger })
    open.push(redis)
    await redis.cache.set('k', 'old')
    store?.failing()
    expect(await redis.cache.get('k')).toBeUndefined()
    expect(await redis.cache.getEntry('k')).toEqual({ outcome: 'miss', reason: 'outage', value: undefined })
    expect(await redis.cache.getOrSet('k', () => 'loaded')).toBe('loaded')
    expect(await redis.cache.set('k', 'new')).toEqual({ stored: false, reason: 'outage' })
    expect(await redis.cache.delete('k')).toMatchObject({ confirmed: false })
    store?.healthy()
    expect(await redis.cache.get('k')).toBeUndefined()
    const askTwice = async (): Promise<unknown> => {
      await redis.cache.getOrSet('k', () => 'again')
      return redis.cache.get('k')
    }
    await expect.poll(askTwice).toBe('again')
  })
})
