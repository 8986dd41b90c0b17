import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { RedisOptions } from '../../src/create-redis.js'
import { OptionsError } from '../../src/errors.js'
import { BodyCopy } from '../../src/route/capture.js'
import { isDueEarly } from '../../src/route/request.js'
import { sharedRedis } from '../support/redis-server.js'
import { type Answer, Application, type Asked, present } from './application.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
const open: Application[] = []

beforeAll(async () => {
  server = await sharedRedis()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ redis }) => redis.close()))
})
afterAll(() => server.close())

const asked = (target = '/', headers = {}) => ({ method: 'GET', target, headers })

describe.each(['memory', 'redis'])('on %s', (where) => {
  async function start(options: Pick<RedisOptions, 'defaults'> = {}): Promise<Application> {
    const app = new Application(
      where === 'memory' ? { url: 'memory:' } : { url: server.url, commandTimeout: 5 },
      options,
    )
    open.push(app)
    await app.redis.connect()
    return app
  }

  describe('a run that a client forces', () => {
    test.each([
      ['sets a cookie', { headers: ['Set-Cookie', 'a=1'], body: 'mine' }],
      ['may not be stored', { status: 406, body: 'no such form' }],
      ['fails', { status: 500, body: 'broken' }],
    ])('leaves the usable entry and no note where its response %s', async (_, answer: Answer) => {
      const app = await start({ defaults: { cacheStatus: 'c' } })
      let next: Answer = { body: 'good' }
      const get = app.get({ ttl: 60 }, () => next)
      await get()
      next = answer
      expect((await get('/', { 'cache-control': 'no-cache' })).body).toBe(answer.body)
      expect(await get()).toMatchObject({ body: 'good', cache: 'HIT' })
      await app.redis.cache.clear()
      next = { body: 'new' }
      expect((await get()).field('cache-status')).toBe('c; fwd=uri-miss; stored')
    })

    test('a part of the representation does not take the place of the whole', async () => {
      const app = await start()
      const fresh = ['Cache-Control', 'max-age=60', 'ETag', '"a"']
      const get = app.get({ preset: 'rfc9111' }, ({ headers }) =>
        headers['range'] === undefined
          ? { headers: fresh, body: '0123456789' }
          : { status: 206, headers: [...fresh, 'Content-Range', 'bytes 2-3/10'], body: '23' },
      )
      await get()
      expect((await get('/', { range: 'bytes=2-3', 'cache-control': 'no-cache' })).body).toBe('23')
      expect(await get()).toMatchObject({ status: 200, body: '0123456789', cache: 'HIT' })
    })
  })

  test('where an entry must be validated, a failure that the handler answers is its own, and one that it throws is a 504', async () => {
    const app = await start()
    let fails = false
    let throws = false
    const get = app.get({ retain: '1h' }, () => {
      if (throws) throw new Error('origin is down')
      if (fails) return { status: 503, body: 'try later' }
      return { headers: ['Cache-Control', 'max-age=10, must-revalidate', 'ETag', '"a"'], body: 'item' }
    })
    await get()
    app.now += 20_000
    fails = true
    expect(await get()).toMatchObject({ status: 503, body: 'try later' })
    throws = true
    const gone = await get()
    expect([gone.status, gone.body]).toEqual([504, ''])
  })

  describe('a 304 that names another representation than the stored one', () => {
    async function stale(app: Application): Promise<{ seen: Asked['headers'][]; ask: () => Promise<unknown> }> {
      const seen: Asked['headers'][] = []
      let tag = '"a"'
      const get = app.get({ ttl: 10, retain: '1h' }, ({ headers }) => {
        seen.push(headers)
        return headers['if-none-match'] === undefined
          ? { headers: ['ETag', tag], body: `of ${tag}` }
          : { status: 304, headers: ['ETag', '"b"'] }
      })
      await get()
      tag = '"b"'
      app.now += 20_000
      return { seen, ask: async () => [(await get()).body, (await get()).cache] }
    }

    test('runs the handler once more, without conditions', async () => {
      const app = await start()
      app.dispatches = true
      const { seen, ask } = await stale(app)
      expect(await ask()).toEqual(['of "b"', 'HIT'])
      expect(seen).toEqual([{}, { 'if-none-match': '"a"' }, {}])
    })

    test('is answered with what was stored where the handler cannot run again', async () => {
      const app = await start()
      const { ask } = await stale(app)
      expect(await ask()).toEqual(['of "a"', 'MISS'])
    })
  })

  describe('a refresh in the background', () => {
    const SWR = { ttl: 10, staleWhileRevalidate: 60 }

    test('has the keyed inputs and nothing of the client that triggered it', async () => {
      const app = await start()
      app.dispatches = true
      const seen: Asked['headers'][] = []
      const get = app.get({ ...SWR, vary: 'x-tone' }, ({ headers }) => {
        seen.push(headers)
        return { body: String(seen.length) }
      })
      const headers = { 'x-tone': 'low', cookie: 'user=1' }
      await get('/', headers)
      app.now += 20_000
      expect(await get('/', headers)).toMatchObject({ body: '1', cache: 'HIT' })
      await app.redis.scope.background.settled(1000)
      expect(seen[1]).toEqual({ 'x-tone': 'low' })
      expect(await get('/', headers)).toMatchObject({ body: '2', cache: 'HIT' })
    })

    test('that fails is counted, told once, and not tried again at once; the stale entry stays', async () => {
      const app = await start()
      app.dispatches = true
      let runs = 0
      const get = app.get(SWR, () => {
        runs += 1
        if (runs > 1) throw new Error('origin is down')
        return { body: 'good' }
      })
      await get()
      app.now += 20_000
      for (let ask = 0; ask < 3; ask += 1) {
        expect(await get()).toMatchObject({ body: 'good', cache: 'HIT' })
        await app.redis.scope.background.settled(1000)
      }
      expect(runs).toBe(2)
      expect(app.warnings.filter((line) => line.includes('in the background'))).toHaveLength(1)
    })

    test('is bounded: where too many run, the stale entry is served and nothing is started', async () => {
      const app = await start()
      const route = app.route(SWR)
      const stale = async (target: string, dispatch: () => Promise<unknown>) => {
        const first = await route.lookup(present(asked(target)))
        if (first.outcome === 'miss') await first.run.finish({ status: 200, headers: [] }, Buffer.from('x'))
        await route.settled()
        app.now += 20_000
        return route.lookup(present(asked(target), { dispatch }))
      }
      let started = 0
      let release = (): void => {}
      const gate = new Promise<void>((resolve) => {
        release = resolve
      })
      while (!app.redis.scope.background.full) app.redis.scope.background.run(() => gate)
      const lookup = await stale('/a', async () => (started += 1))
      expect(lookup).toMatchObject({ outcome: 'hit', reason: 'stale-while-revalidate' })
      release()
      await app.redis.scope.background.settled(1000)
      expect(started).toBe(0)
    })

    test('is given up where the key depends on a field that its request does not have', async () => {
      const app = await start()
      app.dispatches = true
      const get = app.get({ ...SWR, key: ({ headers }) => headers['x-tenant'] ?? 'none' }, ({ headers }) => ({
        body: headers['x-tenant'] ?? 'none',
      }))
      await get('/', { 'x-tenant': 'a' })
      app.now += 20_000
      await get('/', { 'x-tenant': 'a' })
      await app.redis.scope.background.settled(1000)
      expect((await get('/', { 'x-tenant': 'a' })).body).toBe('a')
      expect((await get('/', { 'x-tenant': 'b' })).body).toBe('b')
    })
  })

  describe('what a handler reads of credentials', () => {
    test('counts until the last byte of a stream', async () => {
      const app = await start()
      const route = app.route({ ttl: 60 })
      const lookup = await route.lookup(present(asked()))
      if (lookup.outcome !== 'miss') throw new Error('not a miss')
      const { capture } = await lookup.run.stream({ status: 200, headers: [] })
      capture?.write('hello ')
      lookup.run.noteRead('cookie', 'cookie')
      capture?.write('ada')
      await capture?.complete()
      await route.settled()
      expect((await route.lookup(present(asked()))).outcome).toBe('miss')
    })

    test('of a write keeps its response out of the cache', async () => {
      const app = await start()
      const get = app.get({ ttl: 60 }, () => ({ body: 'for all' }))
      const put = app.put({ ttl: 60 }, (request) => ({ body: `for ${request.read('cookie')}` }))
      expect((await put('/', { cookie: 'ada' })).body).toBe('for ada')
      expect(await get()).toMatchObject({ body: 'for all', cache: 'MISS' })
    })
  })

  describe('a streamed body', () => {
    async function streaming(app: Application) {
      const route = app.route({ ttl: 60 })
      const first = await route.lookup(present(asked()))
      if (first.outcome !== 'miss') throw new Error('not a miss')
      const { capture } = await first.run.stream({ status: 200, headers: [] })
      if (capture === undefined) throw new Error('not captured')
      return { route, capture, run: first.run }
    }

    test('is copied: a handler may use its buffer again', async () => {
      const app = await start()
      const { route, capture } = await streaming(app)
      const buffer = Buffer.from('first')
      capture.write(buffer)
      buffer.write('other')
      await capture.complete()
      await route.settled()
      const hit = await route.lookup(present(asked()))
      expect(hit.outcome === 'hit' && hit.response.body?.toString()).toBe('first')
    })

    test('whose reader is slow keeps nobody waiting, and is stored all the same', async () => {
      const app = await start()
      const { route, capture } = await streaming(app)
      const second = route.lookup(present(asked()))
      capture.write('slow ')
      capture.stalled()
      expect(await second).toMatchObject({ outcome: 'miss', reason: 'wait' })
      capture.write('body')
      await capture.complete()
      await route.settled()
      expect((await route.lookup(present(asked()))).outcome).toBe('hit')
    })
  })

  test('a lease ends though the response throws', async () => {
    const app = await start()
    const route = app.route({ ttl: 60 })
    const request = present(asked('/'))
    const first = await route.lookup(request)
    if (first.outcome !== 'miss') throw new Error('not a miss')
    const broken = {
      status: 200,
      get headers(): never {
        throw new Error('no idea')
      },
    }
    await expect(async () => first.run.finish(broken, Buffer.from('x'))).rejects.toThrow('no idea')
    expect(await route.lookup(request)).toMatchObject({ outcome: 'miss', reason: 'absent', run: { stores: true } })
  })

  test.each([400, 404, 500])('a write that answers %d changes nothing and stores nothing', async (status) => {
    const app = await start()
    const get = app.get({ ttl: 60 }, () => ({ body: 'item' }))
    await get()
    await app.put({ ttl: 60, statuses: 'any' }, () => ({ status, body: 'no' }))()
    expect(await get()).toMatchObject({ body: 'item', cache: 'HIT' })
  })

  test('a group function may use its list again', async () => {
    const app = await start()
    const list = ['']
    const group = ({ target }: Asked) => {
      list[0] = target.slice(1)
      return list
    }
    const get = app.get({ ttl: 60, group }, ({ target }) => ({ body: target }))
    await get('/a')
    await get('/b')
    await app.redis.cache.deleteGroup('b')
    expect([(await get('/a')).cache, (await get('/b')).cache]).toEqual(['HIT', 'MISS'])
  })

  describe('variants', () => {
    const tones = ({ headers }: Asked): Answer => ({ headers: ['Vary', 'X-Tone'], body: headers['x-tone'] ?? '' })

    test('that a response names are stored at once, and found by another process', async () => {
      const app = await start()
      const get = app.get({ ttl: 60 }, tones)
      expect((await get('/', { 'x-tone': 'low' })).cache).toBe('MISS')
      expect(await get('/', { 'x-tone': 'low' })).toMatchObject({ body: 'low', cache: 'HIT' })
      expect(await get('/', { 'x-tone': 'high' })).toMatchObject({ body: 'high', cache: 'MISS' })
      // Another route object knows nothing of what this one has learned.
      const other = app.get({ ttl: 60 }, tones)
      expect((await other('/', { 'x-tone': 'low' })).cache).toBe('HIT')
    })

    test('are not waited for twice: a request that waited for the run of another one runs on its own', async () => {
      const app = await start()
      let release = (): void => {}
      const gate = new Promise<void>((resolve) => {
        release = resolve
      })
      let runs = 0
      const get = app.get({ ttl: 60 }, async (request) => {
        runs += 1
        await gate
        return tones(request)
      })
      const first = get('/', { 'x-tone': 'low' })
      await vi.waitFor(() => expect(runs).toBe(1))
      const second = get('/', { 'x-tone': 'high' })
      const third = get('/', { 'x-tone': 'low' })
      await vi.waitFor(() => expect(app.redis.cache.stats().routes['GET /']?.waits).toBe(2))
      release()
      expect((await Promise.all([first, second, third])).map(({ body, cache }) => [body, cache])).toEqual([
        ['low', 'MISS'],
        ['high', 'BYPASS'],
        ['low', 'HIT'],
      ])
      // It took no lease for its variant, so nothing was stored.
      expect((await get('/', { 'x-tone': 'high' })).cache).toBe('MISS')
      expect((await get('/', { 'x-tone': 'high' })).cache).toBe('HIT')
    })

    test('end with their path, also while one of them is filled', async () => {
      const app = await start()
      let version = 1
      let meanwhile = async (): Promise<unknown> => undefined
      const get = app.get({ ttl: 60, vary: 'x-tone' }, async () => {
        const body = String(version)
        await meanwhile()
        return { body }
      })
      meanwhile = async () => {
        version = 2
        await app.plain(() => ({ status: 204 }))('PUT', '/')
      }
      await get('/', { 'x-tone': 'low' })
      meanwhile = async () => undefined
      expect(await get('/', { 'x-tone': 'low' })).toMatchObject({ body: '2', cache: 'MISS' })
    })

    test('of one principal end without those of others', async () => {
      const app = await start()
      const per = ({ headers }: Asked) => headers['user']
      const get = app.get({ ttl: 60, per, vary: 'x-tone' }, ({ headers }) => ({ body: headers['x-tone'] ?? '' }))
      const asks = [
        { user: 'a', 'x-tone': 'low' },
        { user: 'b', 'x-tone': 'low' },
      ]
      for (const ask of asks) await get('/', ask)
      await app.evict({ key: 'path', per: () => 'a' }, () => ({ status: 200 }))('/other')
      for (const ask of asks) expect((await get('/', ask)).cache).toBe('HIT')
      await app.redis.cache.deletePath('/', { per: 'a' })
      expect([(await get('/', asks[0])).cache, (await get('/', asks[1])).cache]).toEqual(['MISS', 'HIT'])
    })
  })

  describe('deletePath', () => {
    test('ends the entries of one URL: of all principals, variants, hosts and prefixes', async () => {
      const app = await start()
      const per = ({ headers }: Asked) => headers['user']
      const body = () => ({ body: 'item' })
      const routes = [
        app.get({ ttl: 60 }, body),
        app.get({ ttl: 60, prefix: 'shop' }, body),
        app.get({ ttl: 60, prefix: 'me', per, vary: 'x-tone' }, body),
        app.get({ ttl: 60, prefix: 'hosts', host: true }, body),
      ]
      const ask = (get: (typeof routes)[number], target: string) => get(target, { user: 'a', 'x-tone': 'low' })
      for (const get of routes) for (const target of ['/a?x=1', '/b']) await ask(get, target)
      expect(await app.redis.cache.deletePath('/a?x=1')).toMatchObject({ confirmed: true })
      for (const get of routes) {
        expect((await ask(get, '/a?x=1')).cache).toBe('MISS')
        expect((await ask(get, '/b')).cache).toBe('HIT')
      }
    })

    test('of one host leaves those of others', async () => {
      const app = await start()
      const get = app.get({ ttl: 60, host: true }, () => ({ body: 'item' }))
      const caches = async () => [(await get('/a')).cache, (await get('/a', { host: 'other.example' })).cache]
      await caches()
      await app.redis.cache.deletePath('https://other.example/a')
      expect(await caches()).toEqual(['HIT', 'MISS'])
      await app.redis.cache.deletePath('/a')
      expect(await caches()).toEqual(['MISS', 'MISS'])
    })
  })
})

test('the record that leads to variants lives as long as the longest of them', async () => {
  const app = new Application({ url: 'memory:' })
  open.push(app)
  const handler = ({ headers }: Asked): Answer => ({
    headers: ['Vary', 'X-Tone', 'Cache-Control', `max-age=${headers['x-tone'] === 'long' ? 86_400 : 60}`],
    body: headers['x-tone'] ?? '',
  })
  const get = app.get({}, handler)
  for (const tone of ['short', 'long']) await get('/', { 'x-tone': tone })
  app.now += 12 * 3_600_000
  // Another route object knows nothing of what this one has learned.
  expect((await app.get({}, handler)('/', { 'x-tone': 'long' })).cache).toBe('HIT')
})

describe('an early refresh', () => {
  const entry = { storedAt: 0, freshUntil: 100, staleUntil: 100, errorUntil: 100 }

  test.each([
    ['before the last part of the lifetime', 49, 0.999, false],
    ['at its beginning with the smallest chance', 51, 0.979, false],
    ['at its beginning with luck', 51, 0.981, true],
    ['near its end', 99, 0.021, true],
    ['near its end, nearly always', 99, 0.019, false],
  ])('%s', (_, now, drawn, due) => {
    vi.spyOn(Math, 'random').mockReturnValue(drawn)
    expect(isDueEarly(entry, now, 0.5)).toBe(due)
    vi.restoreAllMocks()
  })

  test('is not due without the option, and not for entries without an end', () => {
    expect(isDueEarly(entry, 99.9, 0)).toBe(false)
    expect(isDueEarly({ ...entry, freshUntil: Infinity }, 99.9, 1)).toBe(false)
  })
})

test.each([
  [4, 'complete'],
  [5, 'body-too-large'],
])('a capture of at most 4 bytes, of %d', (bytes, end) => {
  const ends: string[] = []
  const capture = new BodyCopy(4, {
    complete: () => void ends.push('complete'),
    abort: (reason) => void ends.push(reason),
    releaseWaiters: () => {},
  })
  for (let byte = 0; byte < bytes; byte += 1) capture.write('x')
  void capture.complete()
  expect(ends).toEqual([end])
})

test('a cacheEvict key that is a path is refused where it is declared', () => {
  const app = new Application({ url: 'memory:' })
  open.push(app)
  const declare = () => app.evict({ key: ['/catalog'] }, () => ({}))
  expect(declare).toThrow(OptionsError)
  expect(declare).toThrow(/\['\/catalog'\][^]*'path'[^]*deletePath\('\/catalog'\)/)
})
