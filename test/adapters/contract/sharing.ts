import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { recordingLogger } from '../../support/logger.js'
import type { Bed } from '../contract.js'
import type { Line, Route } from '../host.js'

export function sharing({ start }: Bed): void {
  test('I5: a request with Authorization bypasses', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: (call) => call.header('authorization') ?? 'nobody',
      },
    ])
    await client.get('/x')
    const answer = await client.get('/x', { authorization: 'Bearer ann' })
    expect([answer.cache, answer.text]).toEqual(['BYPASS', 'Bearer ann'])
    expect((await client.get('/x')).text).toBe('nobody')
  })

  test.each(['cookie', 'authorization', 'x-api-key'])(
    'I5: a handler that reads %s answers for somebody: it is served, not stored, and the developer is told',
    async (name) => {
      const logger = recordingLogger()
      const { client } = await start(
        [
          {
            method: 'GET',
            path: '/whoami',
            cache: { ttl: 60 },
            handler: (call) => `you are ${call.header(name) ?? 'nobody'}`,
          },
          { method: 'GET', path: '/plain', cache: { ttl: 60 }, handler: () => 'plain' },
        ],
        { redis: { logger } },
      )
      const ask = (value: string) => client.get('/whoami', name === 'authorization' ? {} : { [name]: value })
      for (const value of ['ann', 'bob']) {
        const answer = await ask(value)
        expect([answer.text, answer.cache]).toEqual([
          `you are ${name === 'authorization' ? 'nobody' : value}`,
          'BYPASS',
        ])
      }
      const told = logger.lines.filter((line) => line.includes(name) && line.includes('GET /whoami'))
      expect(told).toHaveLength(1)
      for (const cache of ['MISS', 'HIT']) expect((await client.get('/plain', { cookie: 'a=1' })).cache).toBe(cache)
    },
  )

  test('I5: what an answer reads while it is made into JSON counts as well', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/whoami',
        cache: { ttl: 60 },
        handler: (call) => ({ json: { toJSON: () => ({ name: call.header('cookie') }) } }),
      },
    ])
    for (const cookie of ['ann', 'bob']) {
      const { text, cache } = await client.get('/whoami', { cookie })
      expect([text, cache]).toEqual([JSON.stringify({ name: cookie }), 'BYPASS'])
    }
  })

  test.each([undefined, true, false])('two hosts on the entries of one route, with host: %s', async (host) => {
    const logger = recordingLogger()
    const cache = host === undefined ? { ttl: 60 } : { ttl: 60, host }
    const { client } = await start([{ method: 'GET', path: '/x', cache, handler: () => 'x' }], { redis: { logger } })
    const seen = []
    for (const name of ['a.example', 'b.example', 'c.example'])
      seen.push((await client.get('/x', { host: name })).cache)
    expect(seen).toEqual(host === true ? ['MISS', 'MISS', 'MISS'] : ['MISS', 'HIT', 'HIT'])
    const told = logger.lines.filter((line) => /GET \/x.*a\.example.*b\.example.*`host: true`/.test(line))
    expect(told).toHaveLength(host === undefined ? 1 : 0)
  })

  test('I5: a handler that enumerates all fields answers for somebody, though there is no cookie', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: (call) => `fields: ${call.names().includes('cookie') ? 'a cookie' : 'none'}`,
      },
    ])
    expect((await client.get('/x')).cache).toBe('BYPASS')
    expect(await client.get('/x', { cookie: 'sid=ann' })).toMatchObject({ cache: 'BYPASS', text: 'fields: a cookie' })
  })

  test('I5: what a handler reads late, while its body streams, counts', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: (call) => ({
          headers: [['content-type', 'text/plain']],
          stream: (async function* () {
            yield 'hello '
            await new Promise((resolve) => setImmediate(resolve))
            yield call.header('cookie') ?? 'stranger'
          })(),
        }),
      },
    ])
    for (const who of ['ann', 'bob']) expect((await client.get('/x', { cookie: who })).text).toBe(`hello ${who}`)
  })

  test('I5: a write-through whose handler reads a cookie stores nothing', async () => {
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => 'from the GET' },
      {
        method: 'PUT',
        path: '/x',
        cachePut: { ttl: 60 },
        handler: (call) => `written for ${call.header('cookie') ?? 'anyone'}`,
      },
    ])
    await client.ask('/x', { method: 'PUT', headers: { cookie: 'ann' } })
    expect(await client.get('/x')).toMatchObject({ cache: 'MISS', text: 'from the GET' })
    await client.ask('/x', { method: 'PUT' })
    expect((await client.get('/x')).text).toBe('from the GET')
  })

  test('each principal of a private route has its own entry, and who is nobody has none', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/me',
        cache: { ttl: 60, private: true, per: (call) => call.header('authorization') },
        handler: (call) => `hello ${call.header('authorization')}`,
      },
    ])
    for (const cache of ['MISS', 'HIT']) {
      for (const who of ['ann', 'bob']) {
        const answer = await client.get('/me', { authorization: who })
        expect([answer.cache, answer.text]).toEqual([cache, `hello ${who}`])
        expect(answer.headers['cache-control']).toMatch(/^private, max-age=(60|59)$/)
      }
    }
    expect((await client.get('/me')).cache).toBe('BYPASS')
  })

  test('a hit never skips what guards the route', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/g',
        cache: { ttl: 60 },
        guard: (call) => (call.header('x-key') === '1' ? undefined : { status: 401, text: 'no' }),
        handler: () => 'secret',
      },
    ])
    const cold = await client.get('/g')
    expect([cold.status, cold.cache]).toEqual([401, undefined])
    expect((await client.get('/g', { 'x-key': '1' })).cache).toBe('MISS')
    const refused = await client.get('/g')
    expect([refused.status, refused.text, refused.cache]).toEqual([401, 'no', undefined])
    expect((await client.get('/g', { 'x-key': '1' })).cache).toBe('HIT')
  })

  test('fields that were set before the handler ran belong to the answer, not to the entry', async () => {
    let count = 0
    const { client } = await start(
      [{ method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => ({ headers: [['x-own', 'y']], text: 'x' }) }],
      { ambient: () => [['x-request-id', `id-${++count}`]] },
    )
    const miss = await client.get('/x')
    const hit = await client.get('/x')
    expect([miss.headers['x-request-id'], hit.headers['x-request-id'], hit.cache]).toEqual(['id-1', 'id-2', 'HIT'])
    expect([miss.headers['x-own'], hit.headers['x-own']]).toEqual(['y', 'y'])
    const unchanged = await client.get('/x', { 'if-none-match': '*' })
    expect([unchanged.status, unchanged.headers['x-request-id']]).toEqual([304, 'id-3'])
  })

  test.each<[string, Line]>([
    ['Set-Cookie', ['set-cookie', 'a=1']],
    ['Cache-Control: no-store', ['cache-control', 'no-store']],
    ['Cache-Control: private', ['cache-control', 'private, max-age=5']],
    ['Vary: *', ['vary', '*']],
    ['Content-Encoding', ['content-encoding', 'gzip']],
  ])('a response with %s is served unchanged and not stored', async (_, line) => {
    const { client } = await start([
      { method: 'GET', path: '/x', cache: { ttl: 60 }, handler: () => ({ headers: [line], text: 'x' }) },
    ])
    for (let round = 0; round < 2; round += 1) {
      const answer = await client.get('/x')
      expect([answer.status, answer.text, answer.cache]).toEqual([200, 'x', 'BYPASS'])
      expect(answer.headers[line[0]]).toBe(line[1])
    }
  })

  test.each<[string, 'ambient' | 'handler']>([
    ['a middleware before the cache', 'ambient'],
    ['the handler', 'handler'],
  ])('Vary and Cache-Status of %s stay, and the cache adds its own, on the miss and on the hit', async (_, who) => {
    const own: readonly Line[] = [
      ['vary', 'Origin'],
      ['cache-status', 'inner; hit'],
    ]
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60, vary: 'accept-language', cacheStatus: 'shop' },
          handler: () => ({ text: 'x', headers: who === 'handler' ? own : [] }),
        },
      ],
      who === 'ambient' ? { ambient: () => own } : {},
    )
    for (const cache of ['MISS', 'HIT']) {
      const answer = await client.get('/x', { origin: 'https://a.example' })
      const { vary = '', 'cache-status': status } = answer.headers
      expect([answer.cache, vary.toLowerCase().split(', ').toSorted()]).toEqual([cache, ['accept-language', 'origin']])
      expect(status).toMatch(cache === 'HIT' ? /^inner; hit, shop; hit/ : /^inner; hit, shop; fwd/)
    }
  })

  test('RFC 9111 4.1: responses that name Vary are told apart by those fields, learned from the first', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: (call) => ({
          headers: [['vary', 'Accept-Language']],
          text: `in ${call.header('accept-language') ?? 'none'}`,
        }),
      },
    ])
    const ask = (language?: string) => client.get('/x', language === undefined ? {} : { 'accept-language': language })
    expect([(await ask('en')).cache, (await ask('en')).cache]).toEqual(['MISS', 'HIT'])
    expect([(await ask('fr')).text, (await ask('fr')).cache]).toEqual(['in fr', 'HIT'])
    expect([(await ask()).text, (await ask()).cache, (await ask('en')).text]).toEqual(['in none', 'HIT', 'in en'])
  })

  test('a declared vary selects from the start, and evicting the path ends all variants', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60, vary: 'x-tenant' },
        handler: (call) => `for ${call.header('x-tenant')}`,
      },
      { method: 'DELETE', path: '/x', cacheEvict: { key: 'path' }, handler: () => 'gone' },
    ])
    const ask = (tenant: string) => client.get('/x', { 'x-tenant': tenant })
    expect([(await ask('a')).cache, (await ask('b')).cache, (await ask('a')).cache, (await ask('b')).text]).toEqual([
      'MISS',
      'MISS',
      'HIT',
      'for b',
    ])
    await client.ask('/x', { method: 'DELETE' })
    expect([(await ask('a')).cache, (await ask('b')).cache]).toEqual(['MISS', 'MISS'])
  })

  const greeting: Route = {
    method: 'GET',
    path: '/long',
    cache: { ttl: 60 },
    handler: () => ({ headers: [['content-type', 'text/plain']], text: 'a long text '.repeat(500) }),
  }

  test('compression outside of the cache: one entry, and every client gets what it accepts', async () => {
    const { client } = await start([greeting], { compression: 'outside' })
    const text = 'a long text '.repeat(500)
    expect((await client.get('/long', { 'accept-encoding': 'gzip' })).headers['content-encoding']).toBe('gzip')
    const plain = await client.get('/long')
    expect([plain.cache, plain.text, plain.headers['content-encoding']]).toEqual(['HIT', text, undefined])
    const zipped = await client.get('/long', { 'accept-encoding': 'gzip' })
    expect([zipped.cache, zipped.headers['content-encoding']]).toEqual(['HIT', 'gzip'])
    expect(gunzipSync(zipped.bytes).toString()).toBe(text)
  })

  test('compression inside of the cache: nobody gets an encoding that it did not ask for', async () => {
    const { client } = await start([greeting], { compression: 'inside' })
    const text = 'a long text '.repeat(500)
    for (let round = 0; round < 3; round += 1) {
      const zipped = await client.get('/long', { 'accept-encoding': 'gzip' })
      expect(zipped.headers['content-encoding']).toBe('gzip')
      expect(gunzipSync(zipped.bytes).toString()).toBe(text)
      const plain = await client.get('/long')
      expect([plain.text, plain.headers['content-encoding']]).toEqual([text, undefined])
    }
  })

  test('host: true keeps an entry for each host and port that clients name', async () => {
    let runs = 0
    const route: Route = {
      method: 'GET',
      path: '/x',
      cache: { ttl: 60, host: true },
      handler: () => `run ${(runs += 1)}`,
    }
    const { client } = await start([route])
    for (const word of ['MISS', 'HIT']) {
      for (const [index, host] of ['a.example', 'b.example', 'a.example:8080'].entries()) {
        const { text, cache } = await client.get('/x', { host })
        expect([host, text, cache]).toEqual([host, `run ${index + 1}`, word])
      }
    }
  })
}
