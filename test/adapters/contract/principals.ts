import { describe, expect, test } from 'vitest'
import { recordingLogger } from '../../support/logger.js'
import type { Bed } from '../contract.js'
import type { Call, Route } from '../host.js'

/** Who asks, in these applications. */
const principal = (call: Call): string | undefined => call.header('x-user')

const as = (user?: string): Record<string, string> => (user === undefined ? {} : { 'x-user': user })

/** Whose page it is, and how often it was made. */
function pages(cache: Route['cache']): readonly Route[] {
  let count = 0
  const page = (call: Call): string => `${call.header('x-user') ?? 'anyone'} ${++count}`
  return [
    { method: 'GET', path: '/page', ...(cache && { cache }), handler: page },
    { method: 'DELETE', path: '/page', cacheEvict: { key: 'path' }, handler: () => 'gone' },
  ]
}

export function principals({ host, start }: Bed): void {
  test('a request with a principal neither gets nor makes a shared entry, and the developer is told once', async () => {
    const logger = recordingLogger()
    const { client } = await start(pages({ ttl: 60 }), { principal, redis: { logger } })
    const seen = []
    for (const user of ['ann', undefined, 'ann', undefined, 'bob'])
      seen.push(
        (await client.get('/page', as(user))).text.concat(' ', (await client.get('/page', as(user))).cache ?? ''),
      )
    expect(seen).toEqual(['ann 1 BYPASS', 'anyone 3 HIT', 'ann 4 BYPASS', 'anyone 3 HIT', 'bob 6 BYPASS'])
    expect(logger.lines.filter((line) => /GET \/page.*`per: true`.*`shared: true`/.test(line))).toHaveLength(1)
  })

  test('per: true: each principal has an entry, anonymous requests share a public one, and evicting the path ends all', async () => {
    const { client } = await start(pages({ ttl: 60, per: true }), { principal })
    const round = async () => {
      const answers = []
      for (const user of ['ann', 'bob', undefined]) answers.push(await client.get('/page', as(user)))
      return answers.map(({ text, cache, headers }) => [text, cache, headers['cache-control']?.startsWith('private')])
    }
    expect(await round()).toEqual([
      ['ann 1', 'MISS', true],
      ['bob 2', 'MISS', true],
      ['anyone 3', 'MISS', false],
    ])
    for (const user of ['ann', undefined])
      expect((await client.get('/page', as(user))).headers['vary']?.toLowerCase()).toBe('authorization, cookie')
    expect((await round()).map(([text, cache]) => [text, cache])).toEqual([
      ['ann 1', 'HIT'],
      ['bob 2', 'HIT'],
      ['anyone 3', 'HIT'],
    ])
    await client.ask('/page', { method: 'DELETE', headers: as('ann') })
    expect((await round()).map(([text, cache]) => [text, cache])).toEqual([
      ['ann 4', 'MISS'],
      ['bob 5', 'MISS'],
      ['anyone 6', 'MISS'],
    ])
  })

  test('shared: true: the author asserts that all get the same, with Authorization or without', async () => {
    const { client } = await start(pages({ ttl: 60, shared: true }), { principal })
    const answers = [
      await client.get('/page'),
      await client.get('/page', as('ann')),
      await client.get('/page', { ...as('bob'), authorization: 'Bearer bob' }),
    ]
    expect(answers.map(({ text, cache }) => [text, cache])).toEqual([
      ['anyone 1', 'MISS'],
      ['anyone 1', 'HIT'],
      ['anyone 1', 'HIT'],
    ])
  })

  test('shared: true: the watch stays beneath it', async () => {
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60, shared: true },
          handler: (call) => `hello ${call.header('authorization') ?? 'anyone'}`,
        },
      ],
      { principal },
    )
    for (const who of ['ann', 'bob'])
      expect(await client.get('/x', { authorization: who })).toMatchObject({ cache: 'BYPASS', text: `hello ${who}` })
  })

  test('per as a function says more than the principal of the application', async () => {
    const cache = { ttl: 60, private: false, per: (call: Call) => call.header('x-tenant') }
    const { client } = await start(pages(cache), { principal })
    await client.get('/page', { ...as('ann'), 'x-tenant': 'a' })
    expect(await client.get('/page', { ...as('bob'), 'x-tenant': 'a' })).toMatchObject({ cache: 'HIT', text: 'ann 1' })
    expect((await client.get('/page', { ...as('bob'), 'x-tenant': 'b' })).cache).toBe('MISS')
    expect((await client.get('/page', as('bob'))).cache).toBe('BYPASS')
  })

  test('a principal that is known only behind the cache makes no shared entry', async () => {
    const users = new Map<string | undefined, string>()
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/late',
          cache: { ttl: 60 },
          handler: (call) => {
            users.set(call.header('x-id'), 'ann')
            return 'for ann'
          },
        },
        {
          method: 'GET',
          path: '/stream',
          cache: { ttl: 60 },
          handler: (call) => {
            users.set(call.header('x-id'), 'ann')
            return { stream: pieces('for ', 'ann') }
          },
        },
        {
          method: 'PUT',
          path: '/late',
          cachePut: { ttl: 60 },
          handler: (call) => {
            users.set(call.header('x-id'), 'ann')
            return 'for ann'
          },
        },
      ],
      { principal: (call) => users.get(call.header('x-id')) },
    )
    for (const path of ['/late', '/stream']) {
      expect((await client.get(path, { 'x-id': `${path} 1` })).text).toBe('for ann')
      expect((await client.get(path, { 'x-id': `${path} 2` })).cache).not.toBe('HIT')
    }
    await client.ask('/late', { method: 'PUT', headers: { 'x-id': '5' } })
    expect((await client.get('/late', { 'x-id': '6' })).cache).not.toBe('HIT')
  })

  describe.each(['per: true', 'per as a function'])('a handler that changes who asks, %s', (kind) => {
    // The account of a device, which a handler can change.
    const accounts = new Map<string | undefined, string | undefined>()
    const account = (call: Call): string | undefined => accounts.get(call.header('x-device'))
    const cache = { ttl: 60, per: kind === 'per: true' ? (true as const) : account }
    const body = (call: Call): string => {
      const becomes = call.header('x-becomes')
      if (becomes !== undefined) accounts.set(call.header('x-device'), becomes === 'nobody' ? undefined : becomes)
      return `of ${account(call) ?? 'nobody'}`
    }
    const routes: readonly Route[] = [
      { method: 'GET', path: '/x', cache, handler: body },
      { method: 'PUT', path: '/x', cachePut: cache, handler: body },
      { method: 'GET', path: '/stream', cache, handler: (call) => ({ stream: pieces(body(call)) }) },
      { method: 'GET', path: '/late', cache, handler: (call) => ({ stream: late(call) }) },
    ]
    async function* late(call: Call): AsyncGenerator<string> {
      yield ''
      // The head has left.
      await new Promise((resolve) => setImmediate(resolve))
      yield body(call)
    }

    test.each([
      ['GET', '/x', 'ann', 'bob'],
      ['GET', '/x', 'ann', 'nobody'],
      ['PUT', '/x', 'ann', 'bob'],
      ['PUT', '/x', 'ann', 'nobody'],
      ['GET', '/stream', 'ann', 'bob'],
      ['GET', '/stream', 'ann', 'nobody'],
      ['GET', '/late', 'ann', 'bob'],
      ['GET', '/late', 'ann', 'nobody'],
    ])('%s %s of %s who becomes %s leaves nothing to either', async (method, path, before, becomes) => {
      accounts.clear()
      for (const [device, owner] of [
        ['changing', before],
        ['other', before],
        ['next', becomes === 'nobody' ? undefined : becomes],
      ] as const)
        accounts.set(device, owner)
      const { client, redis } = await start(routes, { principal: account })
      const changing = { 'x-device': 'changing', 'x-becomes': becomes }
      expect((await client.ask(path, { method, headers: changing })).text).toBe(`of ${becomes}`)
      await redis.cache.settled()
      expect(await client.get(path, { 'x-device': 'other' })).toMatchObject({ cache: 'MISS', text: `of ${before}` })
      expect((await client.get(path, { 'x-device': 'next' })).cache).not.toBe('HIT')
      // Who stays the same has an entry.
      await redis.cache.settled()
      expect((await client.get(path, { 'x-device': 'other' })).cache).toBe('HIT')
    })
  })

  test('a write by a principal replaces the shared entry only where cachePut says so', async () => {
    let stock = 0
    const routes = (cachePut: Route['cachePut'] & object): Route[] => [
      { method: 'GET', path: '/x', cache: { ttl: 60, shared: true }, handler: () => `${stock}` },
      { method: 'PUT', path: '/x', cachePut, handler: () => `${++stock}` },
    ]
    for (const [cachePut, after] of [
      [{ ttl: 60 }, 'MISS'],
      [{ ttl: 60, shared: true }, 'HIT'],
    ] as const) {
      const { client } = await start(routes(cachePut), { principal })
      await client.get('/x')
      const put = await client.ask('/x', { method: 'PUT', headers: as('ann') })
      expect(await client.get('/x', as('bob'))).toMatchObject({ cache: after, text: put.text })
    }
  })

  test('with per: true a write through by one principal is seen by all', async () => {
    let stock = 0
    const { client } = await start(
      [
        { method: 'GET', path: '/x', cache: { ttl: 60, per: true }, handler: () => `${stock}` },
        { method: 'PUT', path: '/x', cachePut: { ttl: 60, per: true }, handler: () => `${++stock}` },
      ],
      { principal },
    )
    for (const writer of ['ann', undefined, 'bob']) {
      for (const user of ['ann', 'bob', undefined]) await client.get('/x', as(user))
      const { text } = await client.ask('/x', { method: 'PUT', headers: as(writer) })
      expect((await client.get('/x', as(writer))).cache).toBe('HIT')
      for (const user of ['ann', 'bob', undefined]) expect((await client.get('/x', as(user))).text).toBe(text)
    }
  })

  test('with per as a function a write through by one principal is seen by all', async () => {
    let stock = 0
    const per = (call: Call): string | undefined => call.header('x-user')
    const key = (): string[] => ['stock']
    for (const options of [
      { ttl: 60, per },
      { ttl: 60, per, key },
    ]) {
      const { client } = await start([
        { method: 'GET', path: '/x', cache: options, handler: () => `${stock}` },
        { method: 'PUT', path: '/x', cachePut: options, handler: () => `${++stock}` },
      ])
      for (const writer of ['ann', 'bob']) {
        for (const user of ['ann', 'bob']) await client.get('/x', as(user))
        const { text } = await client.ask('/x', { method: 'PUT', headers: as(writer) })
        expect((await client.get('/x', as(writer))).cache).toBe('HIT')
        for (const user of ['ann', 'bob']) expect((await client.get('/x', as(user))).text).toBe(text)
      }
    }
  })

  describe('the watch exempts only what has selected the entry', () => {
    const read = (cache: Route['cache'], name: string): Route[] => [
      { method: 'GET', path: '/x', ...(cache && { cache }), handler: (call) => `${name} ${call.header(name)}` },
    ]
    const both = { 'x-tenant': 'a', cookie: 'sid=1', authorization: 'Bearer 1' }

    test.each<[string, Route['cache'], string, 'HIT' | 'BYPASS']>([
      [
        'per read the cookie, and so does the handler',
        { ttl: 60, per: (call) => call.header('cookie') },
        'cookie',
        'HIT',
      ],
      [
        'an asynchronous per read the cookie, and so does the handler',
        { ttl: 60, per: async (call) => (await Promise.resolve(), call.header('cookie')) },
        'cookie',
        'HIT',
      ],
      [
        'per read the tenant, the handler a cookie',
        { ttl: 60, per: (call) => call.header('x-tenant') },
        'cookie',
        'BYPASS',
      ],
      [
        'per read the cookie, the handler Authorization',
        { ttl: 60, per: (call) => call.header('cookie') },
        'authorization',
        'BYPASS',
      ],
      [
        'a key was made of the cookie',
        { ttl: 60, key: (call) => ['k', call.header('cookie') ?? ''] },
        'cookie',
        'BYPASS',
      ],
    ])('%s', async (_, cache, name, outcome) => {
      const { client } = await start(read(cache, name))
      const headers = cache?.per === undefined ? { cookie: 'sid=1' } : both
      await client.get('/x', headers)
      expect((await client.get('/x', headers)).cache).toBe(outcome)
    })

    test('with per: true what the principal was made of', async () => {
      const { client } = await start(read({ ttl: 60, per: true }, 'cookie'), {
        principal: (call) => call.header('cookie'),
      })
      await client.get('/x', { cookie: 'sid=1' })
      expect((await client.get('/x', { cookie: 'sid=1' })).cache).toBe('HIT')
      // Nobody's entry would be given to all who are anonymous.
      await client.get('/x')
      expect((await client.get('/x')).cache).toBe('BYPASS')
    })
  })

  describe('Cache-Control: public opens a response to requests with Authorization', () => {
    const PUBLIC = [['cache-control', 'public, max-age=60']] as const
    const who = (call: Call): string => call.header('authorization') ?? 'anyone'

    test.each<[string, readonly (readonly [string, string])[], (call: Call) => string, 'HIT' | 'BYPASS']>([
      ['set before the handler, which reads no credential', PUBLIC, () => 'for all', 'HIT'],
      ['set before the handler, which reads Authorization', PUBLIC, who, 'BYPASS'],
    ])('%s', async (_, ambient, text, outcome) => {
      const { client } = await start(
        [
          { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: text },
          { method: 'PUT', path: '/x', cachePut: { ttl: 60 }, handler: text },
        ],
        { ambient: () => ambient },
      )
      for (const authorization of ['ann', undefined, 'bob']) {
        const headers = authorization === undefined ? {} : { authorization }
        await client.get('/x', headers)
        expect(await client.get('/x', headers)).toMatchObject({
          cache: outcome,
          text: outcome === 'HIT' ? 'for all' : (authorization ?? 'anyone'),
        })
        await client.ask('/x', { method: 'PUT', headers: { authorization: 'eve' } })
        expect((await client.get('/x', headers)).text).toBe(outcome === 'HIT' ? 'for all' : (authorization ?? 'anyone'))
      }
    })

    test('set by the handler that reads it: it says so for this response', async () => {
      const handler = (call: Call) => ({ text: `${who(call).length > 0}`, headers: PUBLIC })
      const { client } = await start([{ method: 'GET', path: '/x', cache: { ttl: 60 }, handler }])
      await client.get('/x', { authorization: 'ann' })
      expect((await client.get('/x', { authorization: 'bob' })).cache).toBe('HIT')
    })

    test.each(['max-age=60, s-maxage=60', 'max-age=60, must-revalidate'])(
      '%s of a handler that reads it says how long, and not who may have it',
      async (control) => {
        const handler = (call: Call) => ({ text: who(call), headers: [['cache-control', control]] as const })
        const { client } = await start([
          { method: 'GET', path: '/x', cache: { ttl: 60 }, handler },
          { method: 'PUT', path: '/x', cachePut: { ttl: 60 }, handler },
        ])
        for (const authorization of ['ann', 'bob']) {
          expect(await client.get('/x', { authorization })).toMatchObject({ cache: 'BYPASS', text: authorization })
          await client.ask('/x', { method: 'PUT', headers: { authorization: 'eve' } })
          expect(await client.get('/x', { authorization })).toMatchObject({ cache: 'BYPASS', text: authorization })
        }
      },
    )

    test.each(['s-maxage=60', 'must-revalidate, max-age=60'])(
      '%s of a handler that does not read it opens its response',
      async (control) => {
        const handler = () => ({ text: 'for all', headers: [['cache-control', control]] as const })
        const { client } = await start([{ method: 'GET', path: '/x', cache: { ttl: 60 }, handler }])
        await client.get('/x', { authorization: 'ann' })
        expect((await client.get('/x', { authorization: 'bob' })).cache).toBe('HIT')
      },
    )

    test('with a principal of the application it opens nothing to signed-in users', async () => {
      const { client } = await start([{ method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'page' }], {
        ambient: () => PUBLIC,
        principal,
      })
      await client.get('/x')
      expect((await client.get('/x', { ...as('ann'), authorization: 'ann' })).cache).toBe('BYPASS')
    })
  })

  test('the stale public entry of a route with per: true is refreshed in the background', async () => {
    let [now, count] = [Date.now(), 0]
    const { client, redis } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60, staleWhileRevalidate: 60, per: true },
          handler: () => `${++count}`,
        },
      ],
      { principal, redis: { now: () => now } },
    )
    await client.get('/x')
    await redis.cache.settled()
    now += 90_000
    expect(await client.get('/x')).toMatchObject({ text: '1', cache: 'HIT' })
    await redis.cache.settled()
    expect((await client.get('/x')).text).toBe('2')
  })

  test.each<[string, Route['cache']]>([
    ['per', { ttl: 60, per: (call) => ({ id: call.header('x-user') }) as unknown as string }],
    ['principal', { ttl: 60 }],
    ['group', { ttl: 60, group: (call) => 'g'.repeat(Number(call.header('x-length'))) }],
    ['key', { ttl: 60, key: () => undefined as unknown as string }],
  ])('what a function of the options returns by mistake bypasses the cache and is told: %s', async (name, cache) => {
    const logger = recordingLogger()
    const { client } = await start(pages(cache).slice(0, 1), {
      redis: { logger },
      ...(name === 'principal' && { principal: () => true as unknown as string }),
    })
    for (let round = 0; round < 2; round += 1)
      expect(await client.get('/page', { 'x-length': '1000' })).toMatchObject({ status: 200, cache: 'BYPASS' })
    expect(logger.lines.filter((line) => line.includes('GET /page') && line.includes(name))).toHaveLength(1)
  })

  describe('per: true without a principal of the application is told, naming what to write', () => {
    const routes = pages({ ttl: 60, per: true })
    const message = /`per: true`.*`redwell\(\{ principal/

    test.runIf(host.traits.knowsMethods)('at the start', async () => {
      await expect(start(routes)).rejects.toThrow(message)
    })

    test.runIf(!host.traits.knowsMethods)('at the first request', async () => {
      const { client } = await start(routes, { onError: (error) => ({ status: 500, text: error.message }) })
      expect(await client.get('/page')).toMatchObject({ status: 500, text: expect.stringMatching(message) as string })
    })
  })
}

async function* pieces(...texts: readonly string[]): AsyncGenerator<string> {
  for (const text of texts) {
    await new Promise((resolve) => setImmediate(resolve))
    yield text
  }
}
