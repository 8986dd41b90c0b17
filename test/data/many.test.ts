import { describe, expect, test } from 'vitest'
import { createRedis, OptionsError, UsageError, ValueError } from '../../src/index.js'
import type { Store } from '../../src/store/store.js'
import { chaos, type ChaosStore, memoryStores } from '../../src/testing/index.js'
import { backends, deferred } from './support.js'

describe.each(['memory', 'redis'])('many values at once, on %s', (where) => {
  const { clock, make, beside } = backends(where)
  const values = (settled: readonly PromiseSettledResult<unknown>[]) =>
    settled.map((one) => (one.status === 'fulfilled' ? one.value : String(one.reason)))

  test('setMany and getMany keep the order, and tell what is not there', async () => {
    const { cache } = await make()
    expect(
      await cache.setMany([
        ['a', 1],
        [['b', 2], null],
        ['c', 'x'],
      ]),
    ).toEqual(Array(3).fill({ stored: true }))
    expect(await cache.getMany(['c', 'none', ['b', 2], 'a', 'c'])).toEqual(['x', undefined, null, 1, 'x'])
    expect(await cache.getMany(['a', 'none'], { default: 0 })).toEqual([1, 0])
    expect(await cache.getMany([])).toEqual([])
    expect(await cache.setMany([])).toEqual([])
  })

  test('setMany: options for all, and for one; groups of both invalidate it', async () => {
    const { cache } = await make()
    await cache.setMany(
      [
        ['a', 1],
        ['b', 2, { ttl: '1s', group: 'own' }],
      ],
      { ttl: '1m', group: 'all' },
    )
    expect([await cache.ttl('a'), await cache.ttl('b')]).toEqual([60, 1])
    expect(await cache.getMany(['a', 'b'], { group: 'all' })).toEqual([1, 2])
    await cache.deleteGroup('own')
    expect(await cache.getMany(['a', 'b'])).toEqual([1, undefined])
    await cache.deleteGroup('all')
    expect(await cache.getMany(['a', 'b'])).toEqual([undefined, undefined])
  })

  test('setMany stores nothing where one value cannot be stored', async () => {
    const { cache } = await make()
    await expect(
      cache.setMany([
        ['a', 1],
        ['b', new Map()],
      ]),
    ).rejects.toThrow(ValueError)
    await expect(
      cache.setMany([
        ['a', 1],
        ['b', 2, { ttl: 'soon' as '1s' }],
      ]),
    ).rejects.toThrow(OptionsError)
    expect(await cache.has('a')).toBe(false)
  })

  test('deleteMany tells how many there were', async () => {
    const { cache } = await make()
    await cache.setMany([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ])
    expect(await cache.deleteMany(['a', 'c', 'none'])).toEqual({ entries: 2, groups: 0, confirmed: true })
    expect(await cache.getMany(['a', 'b', 'c'])).toEqual([undefined, 2, undefined])
  })

  test('getOrSetMany calls its loader once, with what is missing, each key once', async () => {
    const { cache } = await make()
    await cache.set('b', 'kept')
    const calls: unknown[] = []
    const load = (keys: readonly string[]) => {
      calls.push([...keys])
      return keys.map((key) => key.toUpperCase())
    }
    expect(values(await cache.getOrSetMany(['a', 'b', 'c', 'a'], load))).toEqual(['A', 'kept', 'C', 'A'])
    expect(values(await cache.getOrSetMany(['a', 'b', 'c'], load))).toEqual(['A', 'kept', 'C'])
    expect(calls).toEqual([['a', 'c']])
    expect(await cache.getOrSetMany([], load)).toEqual([])
  })

  test('an Error fails its key and no other; undefined is not kept', async () => {
    const { cache } = await make()
    const load = (keys: readonly string[]) =>
      keys.map((key) => (key === 'bad' ? new Error('no such row') : key === 'none' ? undefined : 1))
    const settled = await cache.getOrSetMany(['good', 'bad', 'none'], load)
    expect(values(settled)).toEqual([1, 'Error: no such row', undefined])
    expect(await cache.getMany(['good', 'bad', 'none'])).toEqual([1, undefined, undefined])
  })

  test('a loader that throws fails the missing keys alone, and the next call tries again', async () => {
    const { cache } = await make()
    await cache.set('there', 1)
    const failing = () => Promise.reject(new Error('down'))
    expect(values(await cache.getOrSetMany(['there', 'x', 'y'], failing))).toEqual([1, 'Error: down', 'Error: down'])
    expect(values(await cache.getOrSetMany(['x', 'y'], (keys) => keys.map(() => 2)))).toEqual([2, 2])
    expect(await cache.getMany(['x', 'y'])).toEqual([2, 2])
  })

  test('a list of the wrong length is refused for every key, and leaves no lease', async () => {
    const { cache } = await make()
    const [first] = await cache.getOrSetMany(['x', 'y'], () => [1])
    expect(first?.status === 'rejected' && first.reason).toBeInstanceOf(UsageError)
    expect(await cache.getOrSet('x', () => 'next')).toBe('next')
  })

  test('two callers of overlapping keys load each key once, and never wait for one another in a circle', async () => {
    const one = await make()
    const two = where === 'memory' ? one : await beside(one)
    const loads: string[] = []
    const gate = deferred()
    const load = async (keys: readonly string[]) => {
      loads.push(...keys)
      await gate.promise
      return keys.map((key) => `${key}!`)
    }
    const first = one.cache.getOrSetMany(['a', 'b', 'c'], load)
    const second = two.cache.getOrSetMany(['c', 'd', 'a'], load)
    await expect.poll(() => loads.length).toBeGreaterThanOrEqual(4)
    gate.resolve()
    expect([values(await first), values(await second)]).toEqual([
      ['a!', 'b!', 'c!'],
      ['c!', 'd!', 'a!'],
    ])
    expect(loads.toSorted()).toEqual(['a', 'b', 'c', 'd'])
  })

  test('a key whose other loader failed is loaded here', async () => {
    const one = await make()
    const two = where === 'memory' ? one : await beside(one)
    const failing = deferred<never>()
    const begun = deferred()
    const first = one.cache.getOrSet('a', () => {
      begun.resolve()
      return failing.promise
    })
    await begun.promise
    const second = two.cache.getOrSetMany(['a', 'b'], (keys) => keys.map((key) => `${key} here`))
    await expect.poll(() => two.cache.get('b')).toBe('b here')
    failing.reject(new Error('first failed'))
    await expect(first).rejects.toThrow('first failed')
    expect(values(await second)).toEqual(['a here', 'b here'])
  })

  test('stale values are given at once, and loaded anew behind them in one call', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleWhileRevalidate: 100 }
    const calls: number[] = []
    const load = (keys: readonly string[]) => {
      calls.push(keys.length)
      return keys.map(() => calls.length)
    }
    await cache.getOrSetMany(['a', 'b'], load, options)
    clock.advance(20_000)
    expect(values(await cache.getOrSetMany(['a', 'b', 'c'], load, options))).toContain(1)
    await cache.settled()
    expect(calls.toSorted((a, b) => a - b)).toEqual([1, 2, 2])
    expect(await cache.getMany(['a', 'b', 'c'])).not.toContain(undefined)
  })

  test('staleIfError stands in for each key that has something stale', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleIfError: 100 }
    await cache.getOrSetMany(['a'], () => ['old'], options)
    clock.advance(20_000)
    const failing = () => Promise.reject(new Error('down'))
    expect(values(await cache.getOrSetMany(['a', 'b'], failing, options))).toEqual(['old', 'Error: down'])
  })

  test('decisions for one of many: lifetime, not stored, unchanged', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleIfError: 100 }
    await cache.set('same', 'old', options)
    clock.advance(20_000)
    const settled = await cache.getOrSetMany(
      ['long', 'never', 'same'],
      (keys, { items }) =>
        keys.map((key, index) => {
          const item = items[index]!
          if (key === 'long') item.store({ ttl: '1h' })
          if (key === 'never') item.noStore()
          return key === 'same' ? item.unchanged() : key
        }),
      options,
    )
    expect(values(settled)).toEqual(['long', 'never', 'old'])
    expect(await Promise.all(['long', 'never', 'same'].map((key) => cache.ttl(key)))).toEqual([3600, undefined, 10])
  })
})

test('one read, one lease and one store for each key, all of a kind at once', async () => {
  let store: ChaosStore | undefined
  const inner = memoryStores()
  await using redis = createRedis({ store: (prefix) => (store = chaos(inner(prefix))) })
  await redis.cache.getOrSetMany(['a', 'b', 'c'], (keys) => keys.map(() => 1))
  expect(store?.calls).toMatchObject({ read: 1, acquireLease: 3, publish: 3 })
  await redis.cache.getMany(['a', 'b', 'c'])
  expect(store?.calls.read).toBe(2)
})

test('calls for thousands send at most a hundred keys at a time', async () => {
  const sizes = { read: 0, evict: 0, set: 0, acquireLease: 0, publish: 0 }
  const inner = memoryStores()
  const watched = (prefix: string): Store => {
    const store = inner(prefix)
    const running = { set: 0, acquireLease: 0, publish: 0 }
    const counted = async <T>(verb: keyof typeof running, work: () => Promise<T>): Promise<T> => {
      running[verb] += 1
      sizes[verb] = Math.max(sizes[verb], running[verb])
      await new Promise(setImmediate)
      running[verb] -= 1
      return work()
    }
    return Object.assign(Object.create(store) as Store, {
      local: undefined,
      read: (keys: string[], groups: string[]) => {
        sizes.read = Math.max(sizes.read, keys.length)
        return store.read(keys, groups)
      },
      evict: (paths: string[], mode: 'hard' | 'soft') => {
        sizes.evict = Math.max(sizes.evict, paths.length)
        return store.evict(paths, mode)
      },
      set: (...args: Parameters<Store['set']>) => counted('set', () => store.set(...args)),
      acquireLease: (...args: Parameters<Store['acquireLease']>) =>
        counted('acquireLease', () => store.acquireLease(...args)),
      publish: (...args: Parameters<Store['publish']>) => counted('publish', () => store.publish(...args)),
    })
  }
  await using redis = createRedis({ store: watched })
  const { cache } = redis
  const keys = Array.from({ length: 1050 }, (_, index) => `k${index}`)
  const stored = await cache.setMany(keys.map((key) => [key, key]))
  expect(stored.filter((one) => one.stored)).toHaveLength(1050)
  expect(await cache.getMany(keys)).toEqual(keys)
  expect(await cache.deleteMany(keys)).toEqual({ entries: 1050, groups: 0, confirmed: true })
  const calls: number[] = []
  const loaded = await cache.getOrSetMany(keys, (missing) => (calls.push(missing.length), missing))
  expect(loaded.map((one) => one.status === 'fulfilled' && one.value)).toEqual(keys)
  expect(calls).toEqual([1050])
  expect(await cache.getMany(keys)).toEqual(keys)
  expect(sizes).toEqual({ read: 100, evict: 100, set: 100, acquireLease: 100, publish: 100 })
})

test('when the store is away, all keys are loaded in one call and nothing throws', async () => {
  const inner = memoryStores()
  await using redis = createRedis({ store: (prefix) => chaos(inner(prefix)).failing() })
  const calls: number[] = []
  const settled = await redis.cache.getOrSetMany(['a', 'b'], (keys) => {
    calls.push(keys.length)
    return keys.map(() => 1)
  })
  expect(settled).toEqual(Array(2).fill({ status: 'fulfilled', value: 1 }))
  expect(calls).toEqual([2])
  expect(await redis.cache.getMany(['a', 'b'])).toEqual([undefined, undefined])
})
