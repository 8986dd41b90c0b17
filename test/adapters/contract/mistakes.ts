import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { recordingLogger } from '../../support/logger.js'
import type { Bed } from '../contract.js'
import type { Call, Route } from '../host.js'

export function mistakes({ host, start }: Bed): void {
  test.each([
    ['an evict that evicts nothing', { method: 'DELETE', cacheEvict: {} }, /nothing to evict/],
    ['private without per', { method: 'GET', cache: { ttl: 60, private: true } }, /`per`/],
    ['a duration without meaning', { method: 'GET', cache: { ttl: '5 minutes' } }, /not a duration/],
    ['an option that does not exist', { method: 'GET', cache: { tll: 60 } }, /tll: there is no such option/],
    [
      'a text that means false',
      { method: 'GET', cache: { enabled: 'false' } },
      /enabled: 'false' must be true or false/,
    ],
    ['an empty group', { method: 'PUT', cachePut: { ttl: 1, group: '' } }, /non-empty/],
    [
      'a parameter in a key to evict',
      { method: 'DELETE', cacheEvict: { key: ['products', ':id'] } },
      /':id' is compared as it is written.*request\.params\.id/,
    ],
    ['a path as a key to evict', { method: 'DELETE', cacheEvict: { key: ['/x'] } }, /a path is not a key part/],
    ['a prefix that cannot be one', { method: 'GET', cache: { ttl: 1, prefix: 'a{b}' } }, /prefix/],
  ])('told when the route is declared: %s', async (_, route, message) => {
    const wrong = { path: '/x', handler: () => 'x', ...route } as unknown as Route
    await expect(start([wrong])).rejects.toThrow(message)
  })

  describe('two routes of one application with one key', () => {
    const keyed = (path: string, cache: Route['cache']): Route => ({
      method: 'GET',
      path,
      handler: () => path,
      ...(cache && { cache: { ttl: 60, ...cache } }),
    })
    const key = (call: Call) => [call.params['id'] ?? '']
    const both = /key: GET \/products\/:id and GET \/users\/:id have the same key function.*'products'.*`prefix`/

    test.runIf(host.traits.knowsMethods)('one key function stops the start, naming both', async () => {
      const routes = [keyed('/products/:id', { key }), keyed('/users/:id', { key })]
      await expect(start(routes)).rejects.toThrow(both)
    })

    test.each([undefined, 'own'])(
      'two functions that make one key are told once, naming both; prefix %s',
      async (prefix) => {
        const logger = recordingLogger()
        const one = { key: (call: Call) => [call.params['id'] ?? ''], prefix }
        const other = { key: (call: Call) => [call.params['id'] ?? ''], prefix }
        const { client } = await start([keyed('/products/:id', one), keyed('/users/:id', other)], { redis: { logger } })
        for (const path of ['/products/1', '/users/2', '/users/1', '/products/2']) await client.get(path)
        const said = logger.lines.filter((line) =>
          /key functions of GET \/products\/:id and GET \/users\/:id/.test(line),
        )
        expect(said).toHaveLength(prefix === undefined ? 1 : 0)
      },
    )
  })

  describe('a key to evict that no cached route can have', () => {
    const evicting = (
      path: string,
      cacheEvict: NonNullable<Route['cacheEvict']>,
      cache: Route['cache'] = {},
    ): Route[] => [
      { method: 'GET', path: '/products/:id', cache: { ttl: 60, ...cache }, handler: () => 'x' },
      { method: 'DELETE', path, cacheEvict, handler: () => 'gone' },
    ]

    test.runIf(host.traits.knowsMethods).each(['/items/:id', '/products', '/products/:id/reviews'])(
      'the path %s stops the start, naming the nearest',
      async (path) => {
        await expect(start(evicting(path, { key: 'path' }))).rejects.toThrow(
          `no cached route has a path of ${path}; the nearest is /products/:id`,
        )
      },
    )

    const key = () => ['products', 1]

    test.runIf(host.traits.knowsMethods).each<[string, Route[], RegExp]>([
      [
        'a prefix that none has',
        evicting('/products/:id', { key: 'path', prefix: 'shop' }),
        /matches no entry with the prefix 'shop': .*has none/,
      ],
      [
        'a prefix that is missing',
        evicting('/products/:id', { key: 'path' }, { prefix: 'shop' }),
        /matches no entry without a `prefix`: .*has 'shop'/,
      ],
      [
        'parts, where none has a key function',
        evicting('/products/:id', { key: ['products', 1] }),
        /\["products",1\] matches no entry, because no cached route has a `key` function/,
      ],
      [
        'the path, where all have key functions',
        evicting('/products/:id', { key: 'path' }, { key }),
        /every cached route has a `key` function/,
      ],
    ])('%s stops the start', async (_, routes, message) => {
      await expect(start(routes)).rejects.toThrow(message)
    })

    test.each<[string, Route[]]>([
      ['the path of a cached route', evicting('/products/:name', { key: 'path' })],
      ['a function', evicting('/products/:id', { key: () => 'path' }, { prefix: 'shop' })],
      ['the parts of a key function', evicting('/gone', { key: ['products', 1] }, { key })],
      ['where nothing is cached', evicting('/products/:id', { key: 'path' }).slice(1)],
    ])('%s is not', async (_, routes) => {
      const logger = recordingLogger()
      const { client } = await start(routes, { redis: { logger } })
      await client.ask('/products/1', { method: 'DELETE' })
      expect(logger.lines.filter((line) => line.includes('matches no entry'))).toEqual([])
    })
  })

  test('a `ttl` that is undefined and a 200 without a body are told, a 404 is not', async () => {
    const logger = recordingLogger()
    const cache = { ttl: undefined }
    const { client } = await start(
      [
        { method: 'GET', path: '/empty', cache, handler: () => '' },
        { method: 'GET', path: '/none', cache: { ttl: 60 }, handler: () => ({ status: 404, text: 'none' }) },
      ],
      { redis: { logger } },
    )
    for (const path of ['/empty', '/empty', '/none']) await client.get(path)
    const warned = logger.lines.filter((line) => line.startsWith('warn: redwell: '))
    expect(warned.filter((line) => /GET \/empty: `ttl` is undefined/.test(line))).toHaveLength(1)
    expect(warned.filter((line) => /GET \/empty answered 200 without a body/.test(line))).toHaveLength(1)
    expect(warned.filter((line) => line.includes('/none'))).toEqual([])
  })

  test('evicted groups that nothing has are told: a near name at once, another when it was evicted in vain', async () => {
    const logger = recordingLogger()
    const write = (path: string, group: string | readonly string[]): Route => ({
      method: 'POST',
      path,
      cacheEvict: { group },
      handler: () => 'done',
    })
    const { client, redis } = await start(
      [
        { method: 'GET', path: '/list', cache: { ttl: 60, group: 'grp-products' }, handler: () => 'list' },
        {
          method: 'GET',
          path: '/late',
          cache: { ttl: 60 },
          handler: (call) => (call.cacheGroups('grp-owner-7'), 'late'),
        },
        { method: 'PUT', path: '/list', cachePut: { ttl: 60, group: ['grp-put'] }, handler: () => 'put' },
        write('/near', 'grp-product'),
        write('/vain', ['grp-catalog', 'grp-products']),
        write('/right', ['grp-products', 'grp-put', 'grp-named', 'grp-owner-7', 'grp-value']),
      ],
      { redis: { logger } },
    )
    redis.cache.namespace('named', { ttl: 60, group: 'grp-named' })
    await redis.cache.set('v', 1, { ttl: 60, group: 'grp-value' })
    await client.get('/late')
    for (const path of ['/right', '/vain', '/near', '/right', '/vain', '/near'])
      await client.ask(path, { method: 'POST' })
    const said = logger.lines.filter((line) => line.includes('grp-'))
    expect(said).toHaveLength(2)
    expect(said).toContainEqual(
      expect.stringMatching(
        /^warn: redwell: POST \/near evicts the group 'grp-product'.*did you mean 'grp-products'\?/,
      ),
    )
    expect(said).toContainEqual(expect.stringMatching(/^warn: redwell: POST \/vain evicted the group 'grp-catalog'/))
  })

  test('every problem is told at once', async () => {
    const wrong = { method: 'GET', path: '/x', cache: { ttl: 'soon', group: '', tll: 1 }, handler: () => 'x' }
    await expect(start([wrong as unknown as Route])).rejects.toThrow(/tll[^]*non-empty[^]*soon/)
  })

  const misplaced = [
    ['cache on a write', { method: 'POST', cache: { ttl: 60 } }, /only GET/],
    ['cachePut on a read', { method: 'GET', cachePut: { ttl: 60 } }, /belongs on a route that writes/],
    ['cacheEvict on a read', { method: 'GET', cacheEvict: { group: 'g' } }, /belongs on a route that writes/],
  ] as const
  const misplacedRoute = (route: object) => ({ path: '/x', handler: () => 'x', ...route }) as unknown as Route

  describe.runIf(host.traits.knowsMethods)('a word on a route of the wrong method is told when it is declared', () => {
    test.each(misplaced)('%s', async (_, route, message) => {
      await expect(start([misplacedRoute(route)])).rejects.toThrow(message)
    })
  })

  describe.runIf(!host.traits.knowsMethods)('a word on a route of the wrong method fails its requests', () => {
    test.each(misplaced)('%s', async (_, route, message) => {
      const { client } = await start([misplacedRoute(route)], {
        onError: (error) => ({ status: 500, text: error.message }),
      })
      const answer = await client.ask('/x', { method: route.method })
      expect([answer.status, answer.text]).toEqual([500, expect.stringMatching(message)])
    })
  })

  test("a key function that throws fails its request with the framework's own error handling", async () => {
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/sync',
          cache: {
            ttl: 60,
            key: () => {
              throw new Error('no key')
            },
          },
          handler: () => 'x',
        },
        {
          method: 'GET',
          path: '/async',
          cache: { ttl: 60, key: () => Promise.reject(new Error('no key')) },
          handler: () => 'x',
        },
      ],
      { onError: ({ message }) => ({ status: 418, text: message }) },
    )
    for (const path of ['/sync', '/async'])
      expect(await client.get(path)).toMatchObject({ status: 418, text: 'no key' })
  })

  test('a name that is no group is an error of the handler that gave it', async () => {
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60 },
          handler: (call) => {
            call.cacheGroups('')
            return 'x'
          },
        },
      ],
      { onError: ({ message }) => ({ status: 418, text: message }) },
    )
    expect((await client.get('/x')).status).toBe(418)
  })

  test.each(['group', 'key', 'per'] as const)(
    'a %s function that throws after the write fails its request, and nothing old is served',
    async (name) => {
      const logger = recordingLogger()
      const fail = (): never => {
        throw new Error(`no ${name}`)
      }
      const { client } = await start(
        [
          { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'x' },
          { method: 'GET', path: '/list', cache: { ttl: 60, group: 'list' }, handler: () => 'list' },
          {
            method: 'PUT',
            path: '/x',
            cachePut: { ttl: 60 },
            cacheEvict: name === 'per' ? { key: 'path', per: fail } : { group: 'other', [name]: fail },
            handler: () => 'y',
          },
        ],
        { redis: { logger } },
      )
      for (const path of ['/x', '/list']) await client.get(path)
      expect((await client.ask('/x', { method: 'PUT' })).status).toBe(500)
      for (const path of ['/x', '/list'])
        expect([(await client.get(path)).cache, (await client.get(path)).cache]).toEqual(['MISS', 'HIT'])
      expect(
        logger.lines.filter((line) => /PUT \/x.*everything under the prefix was invalidated/.test(line)),
      ).toHaveLength(1)
    },
  )

  test('a storeWhen or a principal that throws after the handler fails no request: its response is sent and not stored', async () => {
    const logger = recordingLogger()
    const answered = new Set<string | undefined>()
    const storeWhen = (): never => {
      throw new Error('no answer')
    }
    const answer =
      (text: string) =>
      (call: Call): string => {
        answered.add(call.header('x-id'))
        return text
      }
    const { client, redis } = await start(
      [
        { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'x' },
        { method: 'GET', path: '/y', cache: { ttl: 60 }, handler: answer('y') },
        { method: 'GET', path: '/list', cache: { ttl: 60, group: 'list' }, handler: () => 'list' },
        { method: 'GET', path: '/whole', cache: { ttl: 60, storeWhen }, handler: () => 'whole' },
        {
          method: 'GET',
          path: '/stream',
          cache: { ttl: 60, storeWhen },
          handler: () => ({ stream: Readable.from(['a ', 'stream']) }),
        },
        {
          method: 'PUT',
          path: '/x',
          cachePut: { ttl: 60, storeWhen },
          cacheEvict: { group: 'list' },
          handler: () => 'put',
        },
        { method: 'PUT', path: '/y', cachePut: { ttl: 60 }, cacheEvict: { group: 'list' }, handler: answer('put') },
      ],
      {
        redis: { logger },
        principal: (call) => {
          if (answered.has(call.header('x-id') ?? '')) throw new Error('no principal')
          return undefined
        },
      },
    )
    for (let round = 0; round < 2; round += 1) {
      expect(await client.get('/whole')).toMatchObject({ status: 200, text: 'whole', cache: 'BYPASS' })
      expect(await client.get('/stream')).toMatchObject({ status: 200, text: 'a stream' })
      await expect.poll(() => redis.scope.fills.size).toBe(0)
      expect((await client.get('/y', { 'x-id': `read ${round}` })).text).toBe('y')
    }
    expect((await client.get('/stream')).cache).not.toBe('HIT')
    for (const path of ['/x', '/y']) {
      for (const read of ['/x', '/list']) await client.get(read)
      const put = await client.ask(path, { method: 'PUT', headers: { 'x-id': `write ${path}` } })
      expect([put.status, put.text, put.cache]).toEqual([200, 'put', 'BYPASS'])
      expect([(await client.get(path)).cache, (await client.get('/list')).cache]).toEqual(['MISS', 'MISS'])
    }
    expect(logger.lines.filter((line) => /storeWhen of GET \/whole.*no answer/.test(line))).toHaveLength(1)
  })

  test.each(['when', 'vary', 'group'] as const)(
    'a %s function that throws fails its read with the error, and the next one is not held up',
    async (name) => {
      let fails = true
      const fail = (): string => {
        if (fails) throw new Error(`no ${name}`)
        return 'a'
      }
      const option = name === 'vary' ? { vary: { v: fail } } : { [name]: fail }
      const { client, redis } = await start([
        { method: 'GET', path: '/x', cache: { ttl: 60, ...option }, handler: () => 'x' },
      ])
      for (let round = 0; round < 2; round += 1) expect((await client.get('/x')).status).toBe(500)
      await expect.poll(() => redis.scope.fills.size).toBe(0)
      fails = false
      expect([(await client.get('/x')).cache, (await client.get('/x')).cache]).toEqual(['MISS', 'HIT'])
    },
  )

  test.each(['when', 'vary', 'group'] as const)(
    'a %s function of a write-through that throws fails its request before the handler runs',
    async (name) => {
      let writes = 0
      const fail = (): never => {
        throw new Error(`no ${name}`)
      }
      const option = name === 'vary' ? { vary: { v: fail } } : { [name]: fail }
      const { client } = await start([
        { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'x' },
        {
          method: 'PUT',
          path: '/x',
          cachePut: { ttl: 60, ...option },
          handler: () => `${++writes}`,
        },
      ])
      await client.get('/x')
      expect([(await client.ask('/x', { method: 'PUT' })).status, writes]).toEqual([500, 0])
      expect((await client.get('/x')).cache).toBe('HIT')
    },
  )
}
