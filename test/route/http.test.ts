import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { RedisOptions } from '../../src/create-redis.js'
import { VARIANTS_MAX } from '../../src/route/entry-key.js'
import type { CacheOptions } from '../../src/route/options.js'
import { sharedRedis } from '../support/redis-server.js'
import { type Answer, Application, type Asked } from './application.js'

let server: Awaited<ReturnType<typeof sharedRedis>>
const open: Application[] = []

beforeAll(async () => {
  server = await sharedRedis()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map(({ redis }) => redis.close()))
})
afterAll(() => server.close())

const DATE = 'Thu, 01 Jan 2026 00:00:00 GMT'

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

  /** A handler with validators: 304 to the tag of what it has. */
  function tagged(seen: Asked['headers'][], current: () => { tag: string; body: string; more?: string[] }) {
    return ({ headers }: Asked): Answer => {
      seen.push(headers)
      const { tag, body, more = [] } = current()
      const fields = ['ETag', tag, 'Date', DATE, ...more]
      return headers['if-none-match'] === tag ? { status: 304, headers: fields } : { headers: fields, body }
    }
  }

  describe('validation by the handler (RFC 9111 section 4.3)', () => {
    test('4.3.1 a stale entry is asked about with its own validators, never with those of the client', async () => {
      const app = await start({ defaults: { cacheStatus: 'c', retain: '1h' } })
      const seen: Asked['headers'][] = []
      const get = app.get(
        { ttl: 10 },
        tagged(seen, () => ({ tag: '"a"', body: 'one' })),
      )
      await get('/', { 'if-none-match': '"client"' })
      app.now += 20_000
      const stale = await get('/', { 'if-none-match': '"client"', 'if-modified-since': DATE })
      expect(seen).toEqual([{}, { 'if-none-match': '"a"' }])
      expect([stale.status, stale.body, stale.cache]).toEqual([200, 'one', 'MISS'])
      expect(stale.field('cache-status')).toBe('c; fwd=stale; fwd-status=304; stored')
      expect((await get()).cache).toBe('HIT')
    })

    test('4.3.3 a client that has what was validated is told so', async () => {
      const app = await start({ defaults: { retain: '1h' } })
      const get = app.get(
        { ttl: 10 },
        tagged([], () => ({ tag: '"a"', body: 'one' })),
      )
      await get()
      app.now += 20_000
      const answer = await get('/', { 'if-none-match': 'W/"a"' })
      expect([answer.status, answer.body, answer.cache]).toEqual([304, '', 'MISS'])
    })

    test('3.2 a 304 updates the stored fields', async () => {
      const app = await start({ defaults: { retain: '1h' } })
      let version = '1'
      const get = app.get(
        { ttl: 10 },
        tagged([], () => ({ tag: '"a"', body: 'one', more: ['X-Version', version] })),
      )
      await get()
      version = '2'
      app.now += 20_000
      expect((await get()).field('x-version')).toBe('2')
      expect((await get()).field('x-version')).toBe('2')
    })

    test('4.3.3 a new representation takes the place of the stored one', async () => {
      const app = await start({ defaults: { retain: '1h' } })
      let current = { tag: '"a"', body: 'one' }
      const get = app.get(
        { ttl: 10 },
        tagged([], () => current),
      )
      await get()
      current = { tag: '"b"', body: 'two' }
      app.now += 20_000
      expect((await get()).body).toBe('two')
      expect(await get()).toMatchObject({ body: 'two', cache: 'HIT' })
    })

    test('a generated ETag is never sent to the handler', async () => {
      const app = await start({ defaults: { retain: '1h' } })
      const seen: Asked['headers'][] = []
      const get = app.get({ ttl: 10 }, ({ headers }) => {
        seen.push(headers)
        return { body: 'one' }
      })
      expect((await get()).field('etag')).toMatch(/^W\//)
      app.now += 20_000
      await get()
      expect(seen).toEqual([{}, {}])
    })

    test('request no-cache asks about a fresh entry as well', async () => {
      const app = await start()
      const seen: Asked['headers'][] = []
      const get = app.get(
        { ttl: 60 },
        tagged(seen, () => ({ tag: '"a"', body: 'one' })),
      )
      await get()
      expect(await get('/', { 'cache-control': 'no-cache' })).toMatchObject({ status: 200, body: 'one', cache: 'MISS' })
      expect(seen[1]).toMatchObject({ 'if-none-match': '"a"' })
    })

    test('what was validated stays in the groups it was stored with', async () => {
      const app = await start({ defaults: { retain: '1h' } })
      const seen: Asked['headers'][] = []
      let more = ['Cache-Groups', '"late"']
      const get = app.get(
        { ttl: 10 },
        tagged(seen, () => ({ tag: '"a"', body: 'one', more })),
      )
      await get()
      more = []
      app.now += 20_000
      await get()
      expect((await get()).cache).toBe('HIT')
      await app.redis.cache.deleteGroup('late')
      expect((await get()).cache).toBe('MISS')
    })

    test('I2: an invalidation during a validation is not undone by its 304', async () => {
      const app = await start({ defaults: { retain: '1h' } })
      let meanwhile = async (): Promise<unknown> => undefined
      const get = app.get({ ttl: 10, group: 'g' }, async ({ headers }) => {
        await meanwhile()
        return headers['if-none-match'] === '"a"' ? { status: 304 } : { headers: ['ETag', '"a"'], body: 'one' }
      })
      await get()
      app.now += 20_000
      meanwhile = () => app.redis.cache.deleteGroup('g')
      await get()
      meanwhile = async () => undefined
      expect((await get()).cache).toBe('MISS')
    })

    test('a 304 about another representation is not taken for the stored one', async () => {
      const app = await start({ defaults: { retain: '1h' } })
      let status = 200
      const get = app.get({ ttl: 10 }, () => ({
        status,
        headers: ['ETag', status === 304 ? '"b"' : '"a"'],
        body: 'one',
      }))
      await get()
      app.now += 20_000
      status = 304
      await get()
      status = 200
      expect((await get()).cache).toBe('MISS')
    })

    test('`revalidate: false` asks nobody', async () => {
      const app = await start({ defaults: { retain: '1h', revalidate: false } })
      const seen: Asked['headers'][] = []
      const get = app.get(
        { ttl: 10 },
        tagged(seen, () => ({ tag: '"a"', body: 'one' })),
      )
      await get()
      app.now += 20_000
      await get()
      expect(seen).toEqual([{}, {}])
    })

    test('4.1 `validateOtherVariants`: the handler may name the variant that answers this request, too', async () => {
      const app = await start()
      const seen: Asked['headers'][] = []
      const get = app.get({ ttl: 60, vary: 'accept-language', validateOtherVariants: true }, ({ headers }) => {
        seen.push(headers)
        const known = headers['if-none-match']?.includes('"en"') === true
        return known ? { status: 304, headers: ['ETag', '"en"'] } : { headers: ['ETag', '"en"'], body: 'hello' }
      })
      await get('/', { 'accept-language': 'en' })
      const other = await get('/', { 'accept-language': 'fr' })
      expect(seen[1]).toMatchObject({ 'if-none-match': '"en"' })
      expect([other.status, other.body]).toEqual([200, 'hello'])
      expect((await get('/', { 'accept-language': 'fr' })).cache).toBe('HIT')
    })

    test('`forwardConditionals`: where nothing is stored the handler sees what the client has', async () => {
      const app = await start()
      const seen: Asked['headers'][] = []
      const get = app.get(
        { ttl: 60, forwardConditionals: true },
        tagged(seen, () => ({ tag: '"a"', body: 'one' })),
      )
      const first = await get('/', { 'if-none-match': '"a"' })
      expect([first.status, first.cache]).toEqual([304, 'BYPASS'])
      // It was the client's answer alone: the next request runs the handler and stores.
      expect([(await get()).cache, (await get()).cache]).toEqual(['MISS', 'HIT'])
    })
  })

  describe('a handler that reads credentials which are not part of the key (I5)', () => {
    test.each(['cookie', 'authorization', 'x-api-key'])(
      '%s: it is served and not stored, and named once',
      async (name) => {
        const app = await start()
        const get = app.get({ ttl: 60 }, (request) => ({ body: `hello ${request.read(name) ?? 'stranger'}` }))
        expect(await get()).toMatchObject({ body: 'hello stranger', cache: 'BYPASS' })
        expect(await get()).toMatchObject({ cache: 'BYPASS' })
        expect(app.warnings.filter((line) => line.includes(`it read ${name}`))).toHaveLength(1)
      },
    )

    test('a field that selects the entry may be read', async () => {
      const app = await start()
      const get = app.get({ ttl: 60, vary: 'cookie' }, (request) => ({ body: `hello ${request.read('cookie')}` }))
      await get('/', { cookie: 'a' })
      expect(await get('/', { cookie: 'a' })).toMatchObject({ body: 'hello a', cache: 'HIT' })
      expect(await get('/', { cookie: 'b' })).toMatchObject({ body: 'hello b', cache: 'MISS' })
    })

    test("`unkeyedReads: 'ignore'` and the rfc9111 preset leave it to the handler", async () => {
      const app = await start()
      const handler = (request: Asked): Answer => ({
        headers: ['Cache-Control', 'max-age=60'],
        body: String(request.read('cookie')),
      })
      const ignoring = app.get({ ttl: 60, unkeyedReads: 'ignore' }, handler)
      await ignoring('/a')
      expect((await ignoring('/a')).cache).toBe('HIT')
      const gateway = app.get({ preset: 'rfc9111' }, handler)
      await gateway('/b')
      expect((await gateway('/b')).cache).toBe('HIT')
    })
  })

  describe('invalidation by unsafe methods (RFC 9111 section 4.4)', () => {
    const item = (): Answer => ({ body: 'item' })

    test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'FROB'])(
      'a successful %s of a URI ends what is stored for it',
      async (method) => {
        const app = await start()
        const get = app.get({ ttl: 60 }, item)
        await get('/items/1?x=1')
        await app.plain(() => ({ status: 204 }))(method, '/items/1?x=1')
        expect((await get('/items/1?x=1')).cache).toBe('MISS')
      },
    )

    test('for every principal and every variant', async () => {
      const app = await start()
      const get = app.get({ ttl: 60, per: ({ headers }) => headers['user'], vary: 'accept-language' }, item)
      const asks = [{ user: 'a' }, { user: 'b' }, { user: 'b', 'accept-language': 'fr' }]
      for (const ask of asks) await get('/me', ask)
      await app.plain(() => ({ status: 303 }))('POST', '/me')
      for (const ask of asks) expect((await get('/me', ask)).cache).toBe('MISS')
    })

    test.each([
      ['a safe method', 'OPTIONS', 200],
      ['QUERY', 'QUERY', 200],
      ['a failure', 'DELETE', 404],
      ['a server error', 'DELETE', 500],
    ])('not by %s', async (_, method, status) => {
      const app = await start()
      const get = app.get({ ttl: 60 }, item)
      await get('/items/1')
      await app.plain(() => ({ status }))(method, '/items/1')
      expect((await get('/items/1')).cache).toBe('HIT')
    })

    test('Location and Content-Location of the same origin go, those of others stay', async () => {
      const app = await start()
      const get = app.get({ ttl: 60 }, item)
      for (const target of ['/a', '/b', '/c']) await get(target)
      const headers = ['Location', '/a', 'Content-Location', 'https://shop.example/b']
      await app.plain(() => ({ status: 201, headers }))('POST', '/items')
      await app.plain(() => ({ status: 201, headers: ['Location', 'https://evil.example/c'] }))('POST', '/items')
      expect([(await get('/a')).cache, (await get('/b')).cache, (await get('/c')).cache]).toEqual([
        'MISS',
        'MISS',
        'HIT',
      ])
    })

    test('RFC 9875 section 3: groups that the response names', async () => {
      const app = await start()
      const get = app.get({ ttl: 60 }, () => ({ headers: ['Cache-Groups', '"scripts", "other"'], body: 'item' }))
      await get('/a')
      await app.plain(() => ({ status: 200, headers: ['Cache-Group-Invalidation', '"scripts"'] }))('GET', '/x')
      expect((await get('/a')).cache).toBe('HIT')
      await app.plain(() => ({ status: 200, headers: ['Cache-Group-Invalidation', '"scripts"'] }))('POST', '/x')
      expect((await get('/a')).cache).toBe('MISS')
    })

    test('RFC 9875 section 2: groups of one host are not those of another, where the host is part of the key', async () => {
      const app = await start({ defaults: { host: true } })
      const get = app.get({ ttl: 60 }, () => ({ headers: ['Cache-Groups', '"g"'], body: 'item' }))
      await get('/a')
      await get('/a', { host: 'other.example' })
      await app.plain(() => ({ headers: ['Cache-Group-Invalidation', '"g"'] }))('POST', '/x')
      expect((await get('/a')).cache).toBe('MISS')
      expect((await get('/a', { host: 'other.example' })).cache).toBe('HIT')
    })

    test('`invalidateSharedGroups`: what shares a group with the URI goes as well', async () => {
      const app = await start({ defaults: { invalidateSharedGroups: true } })
      const get = app.get({ ttl: 60, group: 'items' }, item)
      await get('/items')
      await get('/items/1')
      await app.plain(() => ({ status: 204 }))('DELETE', '/items/1')
      expect((await get('/items')).cache).toBe('MISS')
    })

    test('`autoInvalidate: false` leaves the URI, `invalidateLocations: false` what the response points at', async () => {
      const off = await start({ defaults: { autoInvalidate: false } })
      const kept = off.get({ ttl: 60 }, item)
      await kept('/a')
      await off.plain(() => ({ status: 204 }))('PUT', '/a')
      expect((await kept('/a')).cache).toBe('HIT')
      const own = await start({ defaults: { invalidateLocations: false } })
      const get = own.get({ ttl: 60 }, item)
      await get('/a')
      await own.plain(() => ({ status: 201, headers: ['Location', '/a'] }))('POST', '/b')
      expect((await get('/a')).cache).toBe('HIT')
    })

    test('a write-through keeps what it stores, and ends what its response points at', async () => {
      const app = await start()
      const get = app.get({ ttl: 60 }, item)
      await get('/a')
      const put = app.put({ ttl: 60 }, () => ({ headers: ['Content-Location', '/a'], body: 'new' }))
      expect((await put('/b')).cache).toBe('MISS')
      expect(await get('/b')).toMatchObject({ body: 'new', cache: 'HIT' })
      expect((await get('/a')).cache).toBe('MISS')
    })

    test('the first write under a prefix stores its entry in a group that it ends itself', async () => {
      const app = await start()
      const get = app.get({ ttl: 60, group: 'items' }, item)
      const put = app.rewrite({ ttl: 60, group: 'items' }, { group: 'items' }, () => ({ body: 'new' }))
      expect((await put('/b')).cache).toBe('MISS')
      expect(await get('/b')).toMatchObject({ body: 'new', cache: 'HIT' })
      await app.redis.cache.deleteGroup('items')
      expect(await get('/b')).toMatchObject({ body: 'item', cache: 'MISS' })
    })

    test('the first write under a prefix stores its entry in a group that its eviction and its handler name', async () => {
      const app = await start()
      const put = app.rewrite({ ttl: 60 }, { group: 'items' }, () => ({ body: 'new' }))
      expect((await put('/b', ['items'])).cache).toBe('MISS')
      expect(await app.get({ ttl: 60 }, item)('/b')).toMatchObject({ body: 'new', cache: 'HIT' })
    })

    test('all commands of a write before its handler share one time budget', async () => {
      const app = await start()
      const beginWrite = vi.spyOn(app.redis.scope, 'beginWrite')
      const budgets = vi.spyOn(app.redis.scope, 'budget')
      await app.put({ ttl: 60 }, () => ({ body: 'new' }))('/b')
      expect(budgets).toHaveBeenCalledTimes(1)
      expect(beginWrite.mock.calls[0]?.[1]?.budget).toBe(budgets.mock.results[0]?.value)
    })

    test.each(['named', 'added'])('what a write stores ends with the group that its handler has %s', async (group) => {
      const app = await start()
      const get = app.get({ ttl: 60 }, item)
      const put = app.rewrite({ ttl: 60 }, { key: ['other'] }, () => ({
        headers: ['Cache-Groups', '"named"'],
        body: 'new',
      }))
      // Groups that are new cannot tell whether they were invalidated while the handler ran.
      expect((await put('/b', ['added'])).cache).toBe('BYPASS')
      await app.get({ ttl: 60, group: ['named', 'added'] }, item)('/other')
      expect((await put('/b', ['added'])).cache).toBe('MISS')
      expect(await get('/b')).toMatchObject({ body: 'new', cache: 'HIT' })
      await app.redis.cache.deleteGroup(group)
      expect(await get('/b')).toMatchObject({ body: 'item', cache: 'MISS' })
    })

    test('`cacheEvict` in soft mode ends its own URI all the same, unless it names that', async () => {
      const app = await start()
      const get = app.get({ ttl: 60, staleIfError: 60, group: 'g' }, item)
      await get('/a')
      await app.evict({ group: 'g', mode: 'soft' }, () => ({ status: 204 }))('/a')
      const failing = app.get({ ttl: 60, staleIfError: 60, group: 'g' }, () => {
        throw new Error('origin is down')
      })
      await expect(failing('/a')).rejects.toThrow('origin is down')
      await get('/a')
      await app.evict({ key: 'path', mode: 'soft' }, () => ({ status: 204 }))('/a')
      expect(await failing('/a')).toMatchObject({ body: 'item', cache: 'HIT' })
    })
  })

  describe('the rfc9111 preset on a route for all methods', () => {
    const fresh = ['Cache-Control', 'max-age=60', 'ETag', '"a"']

    test('4.4 an unsafe method runs the handler and invalidates', async () => {
      const app = await start()
      const route = app.get({ preset: 'rfc9111' }, () => ({ headers: fresh, body: 'item' }))
      await route('/a')
      expect((await route('/a')).cache).toBe('HIT')
      expect((await route('/a', {}, 'DELETE')).cache).toBe('BYPASS')
      expect((await route('/a')).cache).toBe('MISS')
    })

    test('RFC 9110 section 9.3.3: a POST with its own URI as Content-Location is stored for GET', async () => {
      const app = await start()
      const route = app.get({ preset: 'rfc9111' }, ({ method }) => ({
        headers: [...fresh, 'Content-Location', '/a'],
        body: method,
      }))
      expect((await route('/a', {}, 'POST')).cache).toBe('MISS')
      expect(await route('/a')).toMatchObject({ body: 'POST', cache: 'HIT' })
      await route('/b', {}, 'POST')
      expect((await route('/b')).cache).toBe('MISS')
    })

    test('4.3.5 a HEAD freshens the stored GET, or ends it', async () => {
      const app = await start()
      let tag = '"a"'
      const route = app.get({ preset: 'rfc9111' }, ({ method }) => ({
        headers: [
          'Cache-Control',
          'max-age=10',
          'ETag',
          tag,
          'Content-Length',
          '4',
          'Date',
          new Date(app.now).toUTCString(),
        ],
        body: method === 'HEAD' ? '' : 'item',
      }))
      await route('/a')
      app.now += 20_000
      await route('/a', {}, 'HEAD')
      expect((await route('/a')).cache).toBe('HIT')
      app.now += 20_000
      tag = '"b"'
      await route('/a', {}, 'HEAD')
      expect((await route('/a')).cache).toBe('MISS')
    })

    test('3.3 a part is stored and answers ranges inside it', async () => {
      const app = await start()
      const route = app.get({ preset: 'rfc9111' }, ({ headers }) =>
        headers['range'] === undefined
          ? { headers: fresh, body: '0123456789' }
          : { status: 206, headers: [...fresh, 'Content-Range', 'bytes 2-7/10'], body: '234567' },
      )
      await route('/a', { range: 'bytes=2-7' })
      const part = await route('/a', { range: 'bytes=3-4' })
      expect([part.status, part.body, part.field('content-range'), part.cache]).toEqual([
        206,
        '34',
        'bytes 3-4/10',
        'HIT',
      ])
      expect(await route('/a')).toMatchObject({ body: '0123456789', cache: 'MISS' })
      expect((await route('/a', { range: 'bytes=8-9' })).body).toBe('89')
    })

    test('the Host is part of the key', async () => {
      const app = await start()
      const route = app.get({ preset: 'rfc9111' }, () => ({ headers: fresh, body: 'item' }))
      await route('/a')
      expect((await route('/a', { host: 'other.example' })).cache).toBe('MISS')
    })
  })

  test.each<[string, CacheOptions<Asked>['vary']]>([
    ['a field', 'x-tone'],
    ['a value', { tone: ({ headers }) => headers['x-tone'] }],
  ])(
    `of one path at most ${VARIANTS_MAX} variants by %s are kept, the one that ends first goes (I7)`,
    async (_, vary) => {
      const app = await start()
      const get = app.get({ ttl: 60, vary }, () => ({ body: 'item' }))
      for (let tone = 0; tone <= VARIANTS_MAX; tone += 1) {
        await get('/a', { 'x-tone': String(tone) })
        app.now += 1
      }
      expect((await get('/a', { 'x-tone': '1' })).cache).toBe('HIT')
      expect((await get('/a', { 'x-tone': String(VARIANTS_MAX) })).cache).toBe('HIT')
      expect((await get('/a', { 'x-tone': '0' })).cache).toBe('MISS')
    },
  )

  test('principals are not variants: there is no limit to them', async () => {
    const app = await start()
    const get = app.get({ ttl: 60, per: ({ headers }) => headers['user'] }, () => ({ body: 'item' }))
    for (let user = 0; user <= VARIANTS_MAX; user += 1) await get('/a', { user: String(user) })
    expect((await get('/a', { user: '0' })).cache).toBe('HIT')
  })

  test('`emitCacheGroups` tells caches in front which groups an answer is in (RFC 9875 section 2)', async () => {
    const app = await start()
    const get = app.get({ ttl: 60, group: ['b', 'a'], emitCacheGroups: true }, () => ({ body: 'item' }))
    const answers = [await get(), await get()]
    expect(answers.map((answer) => answer.field('cache-groups'))).toEqual(['"b", "a"', '"b", "a"'])
  })

  test.each([500, 502, 503, 504])('a %d says nothing about the next answer: that is stored', async (failure) => {
    const app = await start()
    let status = failure
    const get = app.get({ ttl: 60 }, () => ({ status, body: 'item' }))
    expect(await get()).toMatchObject({ status: failure, cache: 'BYPASS' })
    status = 200
    expect([(await get()).cache, (await get()).cache]).toEqual(['MISS', 'HIT'])
  })

  test('Cache-Status says why nothing was stored (RFC 9211 section 2.8)', async () => {
    const app = await start({ defaults: { cacheStatus: 'c' } })
    const get = app.get({ ttl: 60 }, () => ({ headers: ['Cache-Control', 'no-store'] }))
    expect((await get()).field('cache-status')).toBe('c; fwd=uri-miss; detail=response-no-store')
    expect((await get()).field('cache-status')).toBe('c; fwd=uri-miss; detail=hit-for-pass')
  })
})

test('options of all routes are checked when the application starts', async () => {
  const app = new Application({ url: 'memory:' }, { defaults: { preset: 'rfc', ttl: 'soon', per: 1 } as never })
  const declare = () => app.get({ ttl: 1 }, () => ({}))
  expect(declare).toThrow(/defaults[^]*per: there is no such option[^]*preset[^]*ttl/)
  await app.redis.close()
})

test.each([
  ['collapse: false', { collapse: false }, 0],
  ['wait: 0', { wait: 0 }, 0],
  ["wait: '5s'", { wait: '5s' }, 5000],
] as const)('`%s`: no request waits longer for the run of another one', async (_, options, waitMs) => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const app = new Application({ url: 'memory:' })
  onTestFinished(() => app.redis.close())
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  let runs = 0
  const get = app.get({ ttl: 60, ...options }, async () => {
    runs += 1
    if (runs === 2) release()
    await gate
    return { body: 'item' }
  })
  const both = Promise.all([get(), get()])
  await vi.advanceTimersByTimeAsync(Math.max(waitMs - 1, 0))
  expect(runs).toBe(waitMs === 0 ? 2 : 1)
  await vi.advanceTimersByTimeAsync(1)
  await both
  expect(runs).toBe(2)
})
