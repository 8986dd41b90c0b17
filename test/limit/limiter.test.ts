import { createRedis } from '../../src/index.js'
import { addressIdentity } from '../../src/limit/identity.js'
import { describe, expect, onTestFinished, test } from 'vitest'
import { UnavailableError } from '../../src/errors.js'
import { type LimitCall, type LimitStore, MemoryLimitStore } from '../../src/limit/limit-store.js'
import { type RateLimiterOptions, resolveLimiter } from '../../src/limit/options.js'
import { LocalBlocks } from '../../src/limit/local-blocks.js'
import { RateLimiter } from '../../src/limit/rate-limiter.js'
import { LimitRecorder } from '../../src/telemetry/outcomes.js'

/** A store that can be away, and counts what it is asked. */
class Counting implements LimitStore {
  asked = 0
  away = false
  readonly #store = new MemoryLimitStore(() => performance.timeOrigin + performance.now())

  /** What the server refuses every command with. */
  refuses: string | undefined = undefined

  run(key: string, call: LimitCall) {
    this.asked += 1
    if (this.away) throw new UnavailableError('breaker-open', 'away')
    if (this.refuses !== undefined) throw new Error(this.refuses)
    return this.#store.run(key, call)
  }

  reset(key: string): boolean {
    if (this.away) throw new UnavailableError('breaker-open', 'away')
    if (this.refuses !== undefined) throw new Error(this.refuses)
    return this.#store.reset(key)
  }
}

/** Two processes that share a store and their messages. */
function limiters(options: RateLimiterOptions, count = 1) {
  const store = new Counting()
  const telemetry = new LimitRecorder()
  const all: RateLimiter[] = Array.from(
    { length: count },
    () =>
      new RateLimiter(
        {
          prefix: 'redwell',
          store,
          telemetry,
          warn: () => {},
          forget: (key) => {
            for (const one of all) one.forgetRefusals(key)
          },
          listen: () => {},
          blocks: new LocalBlocks(),
        },
        'logins',
        resolveLimiter('test', options, false),
      ),
  )
  const [limiter] = all
  if (limiter === undefined) throw new Error('none')
  return { store, limiter, all, telemetry }
}

describe('a refused client', () => {
  test('is refused from memory until it may come back', async () => {
    const { store, limiter } = limiters({ rate: '2/hour' })
    for (let hit = 0; hit < 100; hit += 1) await limiter.hit('ann')
    expect(store.asked).toBe(3)
    expect(await limiter.hit('ann')).toMatchObject({
      allowed: false,
      source: 'blocked',
      reason: 'limited',
      remaining: 0,
    })
    expect((await limiter.hit('bob')).allowed).toBe(true)
  })

  test('with a cheaper call asks again: it may be allowed', async () => {
    const { limiter } = limiters({ rate: '5/hour' })
    await limiter.hit('ann', { cost: 3 })
    expect((await limiter.hit('ann', { cost: 3 })).allowed).toBe(false)
    expect((await limiter.hit('ann', { cost: 2 })).allowed).toBe(true)
  })

  test('passes again after a reset, a refund or the end of a block in any process', async () => {
    const { all } = limiters({ rate: '1/hour' }, 2)
    const [one, two] = all as [RateLimiter, RateLimiter]
    const verdict = await one.hit('ann')
    for (const limiter of all) expect((await limiter.hit('ann')).allowed).toBe(false)
    await one.refund(verdict)
    expect((await two.hit('ann')).allowed).toBe(true)
    expect((await one.hit('ann')).allowed).toBe(false)
    expect(await two.reset('ann')).toBe(true)
    expect((await one.hit('ann')).allowed).toBe(true)
  })

  test('that goes on is banned where the limiter says so; its refusals count', async () => {
    const { store, limiter } = limiters({ rate: '1/second', ban: { after: 3, for: '1h' } })
    for (let hit = 0; hit < 4; hit += 1) await limiter.hit('ann')
    expect(await limiter.hit('ann')).toMatchObject({ allowed: false, reason: 'banned' })
    const { asked } = store
    for (let hit = 0; hit < 50; hit += 1) await limiter.hit('ann')
    expect(store.asked).toBe(asked)
  })

  test('knows for how long: the time that is left shrinks', async () => {
    const { limiter } = limiters({ rate: '1/hour' })
    await limiter.hit('ann')
    const first = await limiter.hit('ann')
    const later = await limiter.hit('ann')
    expect(first.retryAfter).toBeGreaterThan(3599)
    expect(later.retryAfter).toBeLessThanOrEqual(first.retryAfter ?? 0)
  })
})

describe('while Redis is away', () => {
  test('this process counts alone with the whole limit, and does not start anew when it comes back', async () => {
    const { store, limiter, telemetry } = limiters({ rate: '3/hour' })
    await limiter.hit('ann')
    const passed: boolean[] = []
    for (let round = 0; round < 3; round += 1) {
      store.away = true
      for (let hit = 0; hit < 3; hit += 1) passed.push((await limiter.hit('ann')).allowed)
      store.away = false
      await limiter.peek('ann')
    }
    expect(passed.filter(Boolean)).toHaveLength(3)
    expect(telemetry.read()).toMatchObject({ logins: { allowed: 1, local: 9 } })
    expect((await limiter.hit('ann')).source).toBe('redis')
  })

  test('`localShare` is the part of the limit that this process allows', async () => {
    const { store, limiter } = limiters({ rate: '10/hour', localShare: 0.3 })
    store.away = true
    const verdicts = []
    for (let hit = 0; hit < 5; hit += 1) verdicts.push(await limiter.hit('ann'))
    expect(verdicts.map(({ allowed }) => allowed)).toEqual([true, true, true, false, false])
    expect(verdicts[0]).toMatchObject({ source: 'local', limit: 3 })
  })

  test('`allow` lets every call pass, `deny` none', async () => {
    for (const [whenUnavailable, allowed] of [
      ['allow', true],
      ['deny', false],
    ] as const) {
      const { store, limiter } = limiters({ rate: '1/hour', whenUnavailable })
      store.away = true
      const verdicts = [await limiter.hit('ann'), await limiter.hit('ann')]
      expect(verdicts.map((verdict) => verdict.allowed)).toEqual([allowed, allowed])
      expect(verdicts[0]?.reason).toBe(allowed ? undefined : 'unavailable')
    }
  })

  test('what was charged here is given back here', async () => {
    const { store, limiter } = limiters({ rate: '1/hour' })
    store.away = true
    const verdict = await limiter.hit('ann')
    await limiter.refund(verdict)
    expect((await limiter.hit('ann')).allowed).toBe(true)
  })

  test('reset says that it was not done', async () => {
    const { store, limiter } = limiters({ rate: '1/hour' })
    store.away = true
    expect(await limiter.reset('ann')).toBe(false)
    expect(await limiter.block('ann', '1m')).toBe(false)
    expect((await limiter.hit('ann')).allowed).toBe(false)
  })

  test.each(['OOM command not allowed', 'NOPERM this user has no permissions'])(
    'reset and block reject where Redis refuses with %s, naming the limit',
    async (refuses) => {
      const { store, limiter } = limiters({ rate: '1/hour' })
      store.refuses = refuses
      const refused = {
        name: 'UnavailableError',
        status: 503,
        reason: 'error',
        message: expect.stringContaining(`rate limit ${limiter.name}: ${refuses}`) as string,
      }
      await expect(limiter.reset('ann')).rejects.toMatchObject(refused)
      await expect(limiter.block('ann', '1m')).rejects.toMatchObject(refused)
      expect((await limiter.hit('ann')).allowed).toBe(false)
    },
  )
})

test('a verdict gives its units back once', async () => {
  const { limiter } = limiters({ rate: '3/hour' })
  const verdict = await limiter.hit('ann')
  await limiter.hit('ann')
  await limiter.refund(verdict)
  await limiter.refund(verdict)
  expect((await limiter.peek('ann')).remaining).toBe(2)
})

test('identities and scopes never share a key, and bring no brace into it', async () => {
  const keys = new Set<string>()
  const store: LimitStore = {
    run(key) {
      keys.add(key)
      throw new UnavailableError('closed', 'away')
    },
    reset: () => false,
  }
  const telemetry = new LimitRecorder()
  const context = {
    prefix: 'redwell',
    store,
    telemetry,
    warn: () => {},
    forget: () => {},
    listen: () => {},
    blocks: new LocalBlocks(),
  }
  const policy = resolveLimiter('test', { rate: '1/minute' }, false)
  for (const name of ['a', 'a:b', 'GET /items/{id}']) {
    for (const identity of ['x', 'b:x', '{x}', 'x'.repeat(5000), `${'x'.repeat(5000)}y`, 'é', 7, '7 ']) {
      await new RateLimiter(context, name, policy).hit(identity)
    }
  }
  expect(keys.size).toBe(24)
  for (const key of keys) expect(key).toMatch(/^redwell:limit:[^{}\s]{1,1100}$/)
})

test.each<[unknown]>([[undefined], [null], [''], [Number.NaN], [{ id: 1 }], [[]], [true], [() => 'ann']])(
  'what is no identity is an error that names the limiter, and is counted in no bucket: %o',
  async (identity) => {
    const { limiter, store } = limiters({ rate: '1/minute' })
    const given = identity as string
    const calls = {
      hit: () => limiter.hit(given),
      peek: () => limiter.peek(given),
      refund: () => limiter.refund(given),
      reset: () => limiter.reset(given),
      block: () => limiter.block(given, '1m'),
    }
    for (const [name, call] of Object.entries(calls)) {
      // A verdict is an object, too: there is nothing to give back of one that charged nothing.
      if (name === 'refund' && typeof identity === 'object' && identity !== null) continue
      await expect((async () => call())()).rejects.toThrow(/identity of the rate limiter logins/)
    }
    expect(store.asked).toBe(0)
  },
)

test('wrong options are refused where they are declared, all at once', () => {
  const wrong = {
    rate: '5/ms',
    algorithm: 'leaky',
    ban: { after: 0, for: 'x' },
    whenUnavailable: 'open',
    localShare: 2,
    tll: 1,
  }
  expect(() => resolveLimiter('options of rateLimiter', wrong as never, false)).toThrow(
    /tll(?:.|\n)*'5\/ms'(?:.|\n)*algorithm(?:.|\n)*whenUnavailable(?:.|\n)*localShare(?:.|\n)*ban\.for/,
  )
  onTestFinished(() => {})
})

test('one name is counted by one algorithm: each would begin anew where the other has counted', async () => {
  const redis = createRedis({ url: 'memory:' })
  redis.rateLimiter('heavy', { rate: '3/hour' })
  redis.rateLimiter('heavy', { rate: '5/minute' })
  expect(() => redis.rateLimiter('heavy', { rate: '3/hour', algorithm: 'token-bucket' })).toThrow(
    /rateLimiter\('heavy'\)(?:.|\n)*algorithm.*'heavy'.*'sliding-window'/,
  )
  await redis.close()
})

test.each([
  ['192.0.2.1:4711', '192.0.2.1'],
  ['[2001:db8::1]:4711', '2001:db8:0:0:0:0:0:0/64'],
  ['[2001:db8::1]', '2001:db8:0:0:0:0:0:0/64'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['192.0.2.1:', undefined],
  ['unknown', undefined],
])('the address %s is the client %s', (address, client) => {
  expect(addressIdentity(address)).toBe(client)
})
