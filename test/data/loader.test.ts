import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { OptionsError, TimeoutError, UsageError, ValueError } from '../../src/index.js'
import { backends, counting, deferred } from './support.js'

const never = new Promise<never>(() => {})

describe.each(['memory', 'redis'])('what a loader decides, on %s', (where) => {
  const { clock, make } = backends(where)

  test('a lifetime and a group that come with the data', async () => {
    const { cache } = await make()
    const load = () =>
      cache.getOrSet(
        'token',
        (context) => {
          context.store({ ttl: '90s', group: 'from data' })
          return 'secret'
        },
        { ttl: '1s', group: 'call' },
      )
    await load()
    expect(await cache.ttl('token')).toBe(90)
    for (const group of ['from data', 'call']) {
      await load()
      await cache.deleteGroup(group)
      expect(await cache.has('token')).toBe(false)
    }
  })

  test('noStore: the caller has the value, and nobody else', async () => {
    const { cache } = await make()
    const value = await cache.getOrSet('k', (context) => {
      context.noStore()
      return 'only now'
    })
    expect([value, await cache.has('k')]).toEqual(['only now', false])
  })

  test('unchanged: the previous value lives for another lifetime', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleIfError: 1000, group: 'g' }
    await cache.getOrSet('k', () => ({ etag: 'a' }), options)
    clock.advance(20_000)
    const seen: unknown[] = []
    const ask = () =>
      cache.getOrSet<{ etag: string }>(
        'k',
        ({ previous, unchanged }) => {
          seen.push(previous)
          return unchanged()
        },
        options,
      )
    expect(await ask()).toEqual({ etag: 'a' })
    expect(seen).toEqual([{ value: { etag: 'a' }, ageMs: 20_000 }])
    expect(await cache.getEntry('k')).toMatchObject({ outcome: 'hit', ageMs: 0, ttlMs: 10_000 })
    await cache.deleteGroup('g')
    expect(await cache.has('k')).toBe(false)
  })

  test('unchanged without a previous value is the loader’s mistake', async () => {
    const { cache } = await make()
    await expect(cache.getOrSet('k', (context) => context.unchanged())).rejects.toThrow(UsageError)
    expect(await cache.getOrSet('k', () => 'next')).toBe('next')
  })

  test('wrong options from a loader reach its caller', async () => {
    const { cache } = await make()
    const asked = cache.getOrSet('k', (context) => context.store({ ttl: 'soon' as '1s' }))
    await expect(asked).rejects.toThrow(OptionsError)
  })

  test('negative results have a lifetime of their own', async () => {
    const { cache } = await make()
    const { load, ...rest } = { runs: [] as unknown[], load: (value: unknown) => () => (rest.runs.push(value), value) }
    const options = { ttl: '1h', negativeTtl: '10s' } as const
    for (const nothing of [undefined, null]) {
      const key = `${nothing}`
      for (let turn = 0; turn < 3; turn += 1) expect(await cache.getOrSet(key, load(nothing), options)).toBe(nothing)
      expect(rest.runs.splice(0)).toHaveLength(1)
      expect(await cache.ttl(key)).toBe(10)
      clock.advance(10_000)
      expect(await cache.getOrSet(key, load('there now'), options)).toBe('there now')
      expect(await cache.ttl(key)).toBe(3600)
      rest.runs.splice(0)
    }
  })

  test('known to be nothing is told apart from null, and from not known', async () => {
    const { cache } = await make()
    const options = { negativeTtl: 10 }
    await cache.getOrSet<unknown>('nothing', () => undefined, options)
    await cache.getOrSet('null', () => null, options)
    expect(await cache.getEntry('nothing')).toEqual({ outcome: 'negative', value: undefined, ageMs: 0, ttlMs: 10_000 })
    expect(await cache.getEntry('null')).toMatchObject({ outcome: 'hit', value: null })
    expect(await cache.getEntry('other')).toMatchObject({ outcome: 'miss', reason: 'absent' })
    expect(await cache.getMany(['nothing', 'null', 'other'], { default: 'd' })).toEqual(['d', null, 'd'])
    expect([await cache.has('nothing'), await cache.has('null')]).toEqual([false, true])
  })

  test('without negativeTtl nothing is kept of undefined', async () => {
    const { cache } = await make()
    const { load } = { load: counting() }
    await cache.getOrSet('k', () => undefined)
    expect(await cache.getOrSet('k', load.load)).toBe(1)
  })
})

describe.each(['memory', 'redis'])('the limits of a loader, on %s', (where) => {
  const { clock, make } = backends(where)

  test('at its time limit the loader is aborted, and leaves no lease and no waiter behind', async () => {
    const { cache } = await make()
    const reasons: unknown[] = []
    const hanging = ({ signal }: { signal: AbortSignal }): Promise<string> => {
      signal.addEventListener('abort', () => reasons.push(signal.reason))
      return never
    }
    const asked = Array.from({ length: 3 }, () => cache.getOrSet('k', hanging, { timeout: '20ms' }))
    for (const one of asked) await expect(one).rejects.toThrow(TimeoutError)
    expect(reasons).toHaveLength(3)
    expect(reasons[0]).toBeInstanceOf(TimeoutError)
    expect(await cache.getOrSet('k', () => 'next')).toBe('next')
    expect(await cache.get('k')).toBe('next')
  })

  test.each([
    ['all callers load at once', undefined, 6],
    ['two load at a time with `concurrency: 2`', 2, 2],
  ])('of a value that is not stored %s, those of batches counted', async (_, concurrency, most) => {
    const { cache } = await make()
    let [running, seen] = [0, 0]
    const load = async (): Promise<undefined> => {
      running += 1
      seen = Math.max(seen, running)
      await sleep(20)
      running -= 1
      return undefined
    }
    const options = { ttl: '1m', concurrency } as const
    await cache.getOrSet('k', load, options)
    const loadMany = async (keys: readonly string[]) => {
      if (keys.includes('k')) await load()
      return keys.map((key) => (key === 'k' ? undefined : key)) as string[]
    }
    const one = Array.from({ length: 4 }, () => cache.getOrSet('k', load, options))
    const many = ['a', 'b'].map((other) => cache.getOrSetMany(['k', other], loadMany, options))
    expect(await Promise.all(one)).toEqual([undefined, undefined, undefined, undefined])
    expect(await Promise.all(many)).toMatchObject([{}, {}])
    expect(seen).toBe(most)
  })

  test('`concurrency` without a wait is an error at once', async () => {
    const { cache } = await make()
    const asked = cache.getOrSet('k', () => 1, { concurrency: 1, wait: 0 })
    await expect(asked).rejects.toThrow('concurrency: excludes `wait: 0`, with which no caller waits for its turn')
    expect(() => cache.namespace('n', { concurrency: 0.5 })).toThrow('concurrency: 0.5 must be a whole number')
  })

  test('the message names the key and the namespace', async () => {
    const { cache } = await make()
    const users = cache.namespace('users', { timeout: '5ms' })
    await expect(users.getOrSet([7, { full: true }], () => never)).rejects.toThrow(
      `The loader of key [7,{"full":true}] in namespace 'users' did not finish within 5 ms.`,
    )
  })

  test('at its time limit the stale value stands in', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleIfError: 100, timeout: '20ms' } as const
    await cache.getOrSet('k', () => 'old', options)
    clock.advance(20_000)
    expect(await cache.getOrSet('k', () => never, options)).toBe('old')
  })

  test('softTimeout: the stale value now, the new one when it is there', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleIfError: 100, softTimeout: '10ms' } as const
    await cache.getOrSet('k', () => 'old', options)
    clock.advance(20_000)
    const loading = deferred<string>()
    expect(await cache.getOrSet('k', () => loading.promise, options)).toBe('old')
    loading.resolve('new')
    await cache.settled()
    expect(await cache.get('k')).toBe('new')
    clock.advance(20_000)
    expect(await cache.getOrSet('k', () => 'in time', options)).toBe('in time')
  })

  test('a refresh that hangs does not keep the application from ending', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleWhileRevalidate: 100 }
    await cache.getOrSet('k', () => 'old', options)
    clock.advance(20_000)
    const loading = deferred<string>()
    expect(await cache.getOrSet('k', () => loading.promise, options)).toBe('old')
    await cache.settled(1)
    loading.resolve('new')
    await cache.settled()
    expect(await cache.get('k')).toBe('new')
  })

  test('a caller that goes away does not end the refresh that it started', async () => {
    const { cache } = await make()
    const options = { ttl: 10, staleWhileRevalidate: 100 }
    await cache.getOrSet('k', () => 'old', options)
    clock.advance(20_000)
    const leaving = new AbortController()
    const loading = deferred<string>()
    const begun = deferred()
    const load = () => (begun.resolve(), loading.promise)
    expect(await cache.getOrSet('k', load, { ...options, signal: leaving.signal })).toBe('old')
    await begun.promise
    leaving.abort(new Error('gone'))
    loading.resolve('new')
    await cache.settled()
    expect(await cache.get('k')).toBe('new')
  })

  test('softTimeout without a stale value waits', async () => {
    const { cache } = await make()
    const loading = deferred<string>()
    const asked = cache.getOrSet('k', () => loading.promise, { softTimeout: '1ms' })
    setTimeout(() => loading.resolve('late'), 20)
    expect(await asked).toBe('late')
  })

  test('a caller that goes away is answered at once, though its loader hears nothing', async () => {
    const { cache } = await make()
    const leaving = new AbortController()
    const begun = deferred()
    const load = () => {
      begun.resolve()
      return never
    }
    const asked = cache.getOrSet('k', load, { signal: leaving.signal })
    await begun.promise
    leaving.abort(new Error('gone'))
    await expect(asked).rejects.toThrow('gone')
    expect(await cache.getOrSet('k', () => 'next')).toBe('next')
    expect(getEventListeners(leaving.signal, 'abort')).toHaveLength(0)
  })

  test('a signal that is aborted already loads nothing', async () => {
    const { cache } = await make()
    const { load, ...rest } = counting()
    const asked = cache.getOrSet('k', load, { signal: AbortSignal.abort(new Error('gone')) })
    await expect(asked).rejects.toThrow('gone')
    expect(rest.runs).toBe(0)
    expect(await cache.getOrSet('k', () => 'next')).toBe('next')
  })

  test('what a loader rejects after its limit concerns nobody', async () => {
    const { cache } = await make()
    const late = deferred<string>()
    const unhandled: unknown[] = []
    const hear = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', hear)
    await expect(cache.getOrSet('k', () => late.promise, { timeout: '5ms' })).rejects.toThrow(TimeoutError)
    late.reject(new Error('late'))
    await new Promise(setImmediate)
    process.off('unhandledRejection', hear)
    expect(unhandled).toEqual([])
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('no')
      },
      Error,
    ],
    ['rejects', () => Promise.reject(new Error('no')), Error],
    ['gives what cannot be stored', () => new Map() as unknown, ValueError],
  ])('a loader that %s leaves no lease and no waiter behind', async (_, load, kind) => {
    const { cache } = await make()
    const asked = await Promise.allSettled(Array.from({ length: 3 }, () => cache.getOrSet<unknown>('k', load)))
    for (const one of asked) expect(one.status === 'rejected' && one.reason).toBeInstanceOf(kind)
    expect(await cache.getOrSet('k', () => 'next')).toBe('next')
    expect(await cache.get('k')).toBe('next')
  })

  test('a stale value without staleWhileRevalidate is not served', async () => {
    const { cache } = await make()
    let loads = 0
    const ask = () => cache.getOrSet('k', () => ++loads, { ttl: 60 })
    await ask()
    await cache.expire('k')
    expect(await ask()).toBe(2)
  })
})

describe.each(['memory', 'redis'])('waiting for another load, on %s', (where) => {
  const { make, beside } = backends(where)

  test('when it fails, all that waited load at once and side by side; newcomers share one load again', async () => {
    const one = await make()
    const two = where === 'memory' ? one : await beside(one)
    const failing = deferred<never>()
    const begun = deferred()
    const first = one.cache.getOrSet('k', () => (begun.resolve(), failing.promise))
    await begun.promise
    const gate = deferred<string>()
    let loads = 0
    const load = () => ((loads += 1), gate.promise)
    const waiting = [one, one, one, two, two].map(({ cache }) => cache.getOrSet('k', load))
    const waits = () =>
      [...new Set([one, two])].reduce((sum, { cache }) => sum + (cache.stats().namespaces['default']?.waits ?? 0), 0)
    await expect.poll(waits).toBe(5)
    failing.reject(new Error('down'))
    await expect(first).rejects.toThrow('down')
    await expect.poll(() => loads).toBe(5)
    gate.resolve('loaded')
    expect(await Promise.all(waiting)).toEqual(Array(5).fill('loaded'))
    const shared = counting()
    const newcomers = await Promise.all([one, two, one].map(({ cache }) => cache.getOrSet('k', shared.load)))
    expect(newcomers).toEqual([1, 1, 1])
  })

  test('wait: 0 loads at once, and stores nothing', async () => {
    const { cache } = await make()
    const loading = deferred<string>()
    const begun = deferred()
    const first = cache.getOrSet('k', () => (begun.resolve(), loading.promise))
    await begun.promise
    expect(await cache.getOrSet('k', () => 'mine', { wait: 0 })).toBe('mine')
    expect(await cache.has('k')).toBe(false)
    loading.resolve('theirs')
    expect([await first, await cache.get('k')]).toEqual(['theirs', 'theirs'])
  })

  test('a loader that asks for its own key loads at once; so do two that ask for each other', async () => {
    const { cache } = await make()
    expect(await cache.getOrSet('a', () => cache.getOrSet('a', () => 'inner'))).toBe('inner')
    expect(await cache.get('a')).toBe('inner')
    const needs = (from: string, to: string): Promise<string> =>
      cache.getOrSet(from, () => cache.getOrSet(to, () => cache.getOrSet(from, () => `${from} by ${to}`)))
    expect(await Promise.all([needs('b', 'c'), needs('c', 'b')])).toHaveLength(2)
    const [many] = await cache.getOrSetMany(['d'], () => cache.getOrSet('d', () => 'inner').then((value) => [value]))
    expect(many).toEqual({ status: 'fulfilled', value: 'inner' })
  })
})

test.each([
  { timeout: 0 },
  { softTimeout: '0s' },
  { timeout: 'soon' },
  { negativeTtl: 'x' },
  { ttl: Number.NaN },
  { staleIfError: -1 },
  { wait: -1 },
])('durations without meaning are refused: %j', async (options) => {
  const { createRedis } = await import('../../src/index.js')
  await using redis = createRedis({ url: 'memory:' })
  await expect(redis.cache.getOrSet('k', () => 1, options as object)).rejects.toThrow(OptionsError)
  expect(() => redis.cache.namespace('n', options as object)).toThrow(OptionsError)
})
