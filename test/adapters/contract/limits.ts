import { describe, expect, test } from 'vitest'
import type { RateLimitOptions, RateLimitVerdict } from '../../../src/index.js'
import type { Bed } from '../contract.js'
import type { Reply } from '../client.js'
import type { Call, Route } from '../host.js'
import { recordingLogger } from '../../support/logger.js'

const HOUR = '2/hour'

/** What a rate limit of a route must do on every host that has one. */
export function limits({ host, store, start }: Bed): void {
  const route = (rateLimit: RateLimitOptions<Call>, more: Partial<Route> = {}): Route => ({
    method: 'GET',
    path: '/x',
    rateLimit,
    handler: () => 'content',
    ...more,
  })
  const byName: RateLimitOptions<Call>['per'] = (call) => call.header('x-user')

  describe.skipIf(!host.traits.limits)('rate limits', () => {
    test('of a client that goes over the limit the rest is refused, with the fields of the draft', async () => {
      const { client } = await start([route({ rate: HOUR })])
      const first = await client.get('/x')
      expect([first.status, first.headers['ratelimit-policy']]).toEqual([200, '"hour";q=2;w=3600'])
      expect(first.headers['ratelimit']).toMatch(/^"hour";r=1;t=3600$/)
      await client.get('/x')
      const refused = await client.get('/x')
      expect(refused.status).toBe(429)
      expect(refused.headers['content-type']).toContain(host.traits.problemType)
      expect(refused.headers['cache-control']).toBe('no-store')
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(3590)
      expect(refused.headers['ratelimit']).toMatch(/^"hour";r=0;t=\d+$/)
      expect(JSON.parse(refused.text)).toEqual({
        type: 'https://iana.org/assignments/http-problem-types#quota-exceeded',
        title: 'Request quota exceeded',
        status: 429,
        'violated-policies': ['hour'],
      })
    })

    test('a hit of the cache counts like any request, and carries its own fields', async () => {
      const { client } = await start([route({ rate: '3/hour' }, { cache: { ttl: 60 } })])
      const answers = [await client.get('/x'), await client.get('/x'), await client.get('/x'), await client.get('/x')]
      expect(answers.map(({ status, cache }) => [status, cache])).toEqual([
        [200, 'MISS'],
        [200, 'HIT'],
        [200, 'HIT'],
        [429, undefined],
      ])
      expect(answers.map(({ headers }) => /r=(\d)/.exec(String(headers['ratelimit']))?.[1])).toEqual([
        '2',
        '1',
        '0',
        '0',
      ])
    })

    test('each identity has a budget of its own; without an identity this process counts the address, and says so', async () => {
      const logger = recordingLogger()
      const { client } = await start([route({ rate: '1/hour', per: byName })], { redis: { logger } })
      const ask = async (headers: Record<string, string>) => (await client.get('/x', headers)).status
      expect([await ask({ 'x-user': 'ann' }), await ask({ 'x-user': 'ann' }), await ask({ 'x-user': 'bob' })]).toEqual([
        200, 429, 200,
      ])
      expect([await ask({}), await ask({}), await ask({ 'x-user': 'cid' })]).toEqual([200, 429, 200])
      expect(logger.lines.filter((line) => /GET \/x.*without an identity/.test(line))).toHaveLength(1)
    })

    test('without an identity `deny` refuses with 503', async () => {
      const { client } = await start([route({ rate: '1/hour', per: byName, whenUnavailable: 'deny' })])
      const { status, text } = await client.get('/x')
      expect([status, text]).toEqual([503, expect.stringContaining('#temporary-reduced-capacity')])
    })

    test('several rates are one decision', async () => {
      const { client } = await start([route({ rate: ['2/minute', '3/hour'] })])
      const { headers } = await client.get('/x')
      expect(headers['ratelimit-policy']).toBe('"minute";q=2;w=60, "hour";q=3;w=3600')
      await client.get('/x')
      const refused = await client.get('/x')
      expect([refused.status, JSON.parse(refused.text)['violated-policies']]).toEqual([429, ['minute']])
      expect(refused.headers['ratelimit']).toMatch(/"hour";r=1;/)
    })

    test('`countWhen`: what does not count is given back', async () => {
      let status = 200
      const { client } = await start([
        route(
          { rate: '1/hour', countWhen: (response) => response.status === 401 },
          { handler: () => ({ status, text: 'x' }) },
        ),
      ])
      for (let turn = 0; turn < 5; turn += 1) {
        expect((await client.get('/x')).status).toBe(200)
        // Given back when the response has been sent.
        await expect.poll(async () => (await client.get('/x')).status).toBe(200)
      }
      status = 401
      await expect.poll(async () => (await client.get('/x')).status).toBe(401)
      expect((await client.get('/x')).status).toBe(429)
    })

    test('`countWhen` may be asynchronous; where it fails, the response counts, and the log says so', async () => {
      const logger = recordingLogger()
      const countWhen = async ({ status }: { status: number }): Promise<boolean> => {
        if (status === 500) throw new Error('no table')
        return false
      }
      let status = 200
      const { client } = await start(
        [route({ rate: '1/hour', countWhen }, { handler: () => ({ status, text: 'x' }) })],
        { redis: { logger } },
      )
      expect((await client.get('/x')).status).toBe(200)
      await expect.poll(async () => (await client.get('/x')).status).toBe(200)
      status = 500
      await expect.poll(async () => (await client.get('/x')).status).toBe(500)
      expect((await client.get('/x')).status).toBe(429)
      expect(logger.lines.filter((line) => /GET \/x.*countWhen.*no table/.test(line))).toHaveLength(1)
    })

    test('cost, skip and rates may be functions of the request', async () => {
      const { client } = await start([
        route({
          rate: (call) => (call.header('x-plan') === 'pro' ? '10/hour' : '4/hour'),
          cost: (call) => Number(call.header('x-cost') ?? 1),
          skip: (call) => call.header('x-internal') === 'yes',
          per: byName,
        }),
      ])
      const ask = async (headers: Record<string, string>) =>
        (await client.get('/x', { 'x-user': 'ann', ...headers })).status
      expect([await ask({ 'x-cost': '3' }), await ask({ 'x-cost': '2' }), await ask({})]).toEqual([200, 429, 200])
      expect([await ask({}), await ask({ 'x-plan': 'pro' }), await ask({ 'x-internal': 'yes' })]).toEqual([
        429, 200, 200,
      ])
    })

    test('routes with one scope share a budget; two limits without one do not', async () => {
      const shared = { rate: '1/hour', scope: 'both' } as const
      const { client } = await start([
        route(shared, { path: '/a' }),
        route(shared, { path: '/b' }),
        route({ rate: '1/hour' }, { path: '/c' }),
        route({ rate: '1/hour' }, { path: '/d' }),
      ])
      const statuses = []
      for (const path of ['/a', '/b', '/c', '/d']) statuses.push((await client.get(path)).status)
      expect(statuses).toEqual([200, 429, 200, 200])
    })

    test('`onLimited` makes the response', async () => {
      const { client } = await start([
        route({
          rate: '1/hour',
          onLimited: async ({ retryAfter }: RateLimitVerdict) => ({
            body: { wait: (retryAfter ?? 0) > 0 },
            headers: { 'x-why': 'limit' },
          }),
        }),
      ])
      await client.get('/x')
      const { status, text, headers } = await client.get('/x')
      expect([status, JSON.parse(text), headers['x-why'], headers['retry-after'] !== undefined]).toEqual([
        429,
        { wait: true },
        'limit',
        true,
      ])
    })

    test('cookies of the response that `onLimited` makes are all sent', async () => {
      const made = new Headers([
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2; Path=/'],
      ])
      const onLimited = () => new Response('{}', { status: 429, headers: made })
      const { client } = await start([route({ rate: '1/hour', onLimited })])
      await client.get('/x')
      const { status, lines } = await client.get('/x')
      const cookies = lines.filter(([name]) => name === 'set-cookie').map(([, value]) => value)
      expect([status, cookies]).toEqual([429, ['a=1', 'b=2; Path=/']])
    })

    test('the fields of a limit are sent with errors, and are never stored', async () => {
      const { client } = await start([
        route({ rate: '9/hour' }, { path: '/error', handler: () => ({ status: 500, text: 'oh' }) }),
        route({ rate: '9/hour', headers: 'legacy' }, { cache: { ttl: 60 } }),
      ])
      expect((await client.get('/error')).headers['ratelimit']).toContain('r=8')
      const [miss, hit] = [await client.get('/x'), await client.get('/x')]
      expect([miss.headers['x-ratelimit-remaining'], hit.headers['x-ratelimit-remaining'], hit.cache]).toEqual([
        '8',
        '7',
        'HIT',
      ])
      expect(hit.headers['ratelimit']).toBeUndefined()
      expect(Number(hit.headers['x-ratelimit-reset']) - Date.now() / 1000).toBeGreaterThan(3500)
    })

    test('`headers: none` sends none; a limit runs before the body of a write is handled', async () => {
      let handled = 0
      const { client } = await start([
        route(
          { rate: '1/hour', headers: 'none' },
          {
            method: 'POST',
            handler: () => {
              handled += 1
              return 'made'
            },
          },
        ),
      ])
      const first = await client.ask('/x', { method: 'POST' })
      expect(first.headers['ratelimit']).toBeUndefined()
      const second = await client.ask('/x', { method: 'POST' })
      expect([second.status, second.headers['ratelimit'], handled]).toEqual([429, undefined, 1])
    })

    test('what a function of the options throws is an error of the request, and ends nothing else', async () => {
      const { client } = await start([
        route({
          rate: '1/hour',
          per: () => {
            throw new Error('no')
          },
        }),
        route({ rate: '1/hour' }, { path: '/y' }),
      ])
      expect((await client.get('/x')).status).toBe(500)
      expect((await client.get('/y')).status).toBe(200)
    })
  })

  // What depends on the host alone.
  describe.skipIf(!host.traits.limits || store !== 'memory')('rate limits of a host', () => {
    const plain: Route = { method: 'GET', path: '/x', handler: () => 'content' }
    const left = ({ headers }: Reply): number => Number(/r=(\d+)/.exec(headers['ratelimit'] ?? '')?.[1])

    test('the limit of the application counts every request, also to unknown routes and of unknown methods', async () => {
      const { client } = await start([plain], { rateLimit: { rate: '4/hour' } })
      const answers = [
        await client.get('/x'),
        await client.get('/missing'),
        await client.ask('/x/missing', { method: 'POST', json: {} }),
        await client.ask('/x', { method: 'HEAD' }),
      ]
      expect(answers.map(({ status }) => status)).toEqual([200, 404, 404, 200])
      expect(answers.map(left)).toEqual([3, 2, 1, 0])
      const refused = await client.get('/missing')
      expect([refused.status, refused.headers['retry-after'], JSON.parse(refused.text)]).toEqual([
        429,
        expect.any(String),
        expect.objectContaining({ title: 'Request quota exceeded' }),
      ])
      expect((await client.get('/x')).status).toBe(429)
    })

    test('two limits: the fields of allowed and refused requests are those of both, and a refusal uses their names', async () => {
      const { client } = await start([route({ rate: '1/minute' })], { rateLimit: { rate: '9/minute' } })
      const [allowed, refused] = [await client.get('/x'), await client.get('/x')]
      const policies = String(allowed.headers['ratelimit-policy'])
      expect(policies).toMatch(/^"[\w-]+";q=9;w=60, "[\w-]+";q=1;w=60$/)
      expect([allowed.status, refused.status, refused.headers['ratelimit-policy']]).toEqual([200, 429, policies])
      const [, second] = /, "([\w-]+)"/.exec(policies) ?? []
      expect(JSON.parse(refused.text)['violated-policies']).toEqual([second])
    })

    test('the limit of the application may say who is counted, on unknown routes as well', async () => {
      const { client } = await start([plain], { rateLimit: { rate: '1/hour', per: byName } })
      const ask = async (path: string, name: string) => (await client.get(path, { 'x-user': name })).status
      expect([await ask('/missing', 'ann'), await ask('/missing', 'ann'), await ask('/missing', 'bob')]).toEqual([
        404, 429, 404,
      ])
      expect([await ask('/x', 'ann'), await ask('/x', 'cid')]).toEqual([429, 200])
    })

    test('a CORS preflight is not counted', async () => {
      const { client } = await start([plain], { rateLimit: { rate: '2/hour' } })
      const headers = { origin: 'https://example.org', 'access-control-request-method': 'GET' }
      for (let turn = 0; turn < 3; turn += 1) {
        expect((await client.ask('/x', { method: 'OPTIONS', headers })).headers['ratelimit']).toBeUndefined()
      }
      expect(left(await client.get('/x'))).toBe(1)
      expect(left(await client.ask('/x', { method: 'OPTIONS' }))).toBe(0)
    })

    test('HEAD shares the budget of GET, and its refusal has no body', async () => {
      const { client } = await start([route({ rate: '2/hour' })])
      expect([left(await client.get('/x')), left(await client.ask('/x', { method: 'HEAD' }))]).toEqual([1, 0])
      const refused = await client.ask('/x', { method: 'HEAD' })
      expect([refused.status, refused.text, refused.headers['retry-after'] !== undefined]).toEqual([429, '', true])
      expect((await client.get('/x')).status).toBe(429)
    })

    test('an error of the handler counts as `countWhen` says, and carries the fields', async () => {
      const { client } = await start([
        route(
          { rate: '1/hour', countWhen: ({ status }) => status < 500 },
          {
            handler: () => {
              throw new Error('broken')
            },
          },
        ),
      ])
      const failed = await client.get('/x')
      expect([failed.status, left(failed)]).toEqual([500, 0])
      await expect.poll(async () => (await client.get('/x')).status).toBe(500)
    })

    test('a streamed response carries the fields, and gives back what does not count', async () => {
      async function* pieces() {
        yield 'one '
        yield 'two'
      }
      const { client } = await start([
        route({ rate: '1/hour', countWhen: () => false }, { handler: () => ({ stream: pieces() }) }),
      ])
      const streamed = await client.get('/x')
      expect([streamed.status, streamed.text, left(streamed)]).toEqual([200, 'one two', 0])
      await expect.poll(async () => (await client.get('/x')).status).toBe(200)
    })

    test.skipIf(!host.traits.limitsBehindCache)(
      'behind the cache only misses count, and neither fields nor a refusal are stored',
      async () => {
        const { client } = await start([route({ rate: '2/hour' }, { cache: { ttl: 60 }, limitsBehindCache: true })])
        const answers = []
        for (const query of ['a', 'a', 'b', 'c', 'c', 'a']) answers.push(await client.get(`/x?${query}`))
        expect(
          answers.map(({ status, cache, headers }) => [status, cache, headers['ratelimit'] !== undefined]),
        ).toEqual([
          [200, 'MISS', true],
          [200, 'HIT', false],
          [200, 'MISS', true],
          [429, expect.not.stringContaining('HIT'), true],
          [429, expect.not.stringContaining('HIT'), true],
          [200, 'HIT', false],
        ])
      },
    )

    test('a client cannot choose its budget by a field that nobody was told to trust', async () => {
      const { client } = await start([route({ rate: '1/hour' })])
      const ask = async (headers: Record<string, string>) => (await client.get('/x', headers)).status
      expect([
        await ask({ 'x-forwarded-for': '198.51.100.1' }),
        await ask({ 'x-forwarded-for': '198.51.100.2' }),
        await ask({ forwarded: 'for=198.51.100.3', 'x-real-ip': '198.51.100.3', 'cf-connecting-ip': '198.51.100.3' }),
      ]).toEqual([200, 429, 429])
    })

    test.skipIf(!host.traits.trustsProxies)(
      'behind a proxy that the framework trusts each client has its own, IPv6 by its /64',
      async () => {
        const { client } = await start([route({ rate: '1/hour' })], { trustsProxy: true })
        const ask = async (address: string) => (await client.get('/x', { 'x-forwarded-for': address })).status
        const addresses = ['198.51.100.1', '198.51.100.1', '198.51.100.2', '2001:db8::1', '2001:db8::2']
        const statuses = []
        for (const address of addresses) statuses.push(await ask(address))
        expect(statuses).toEqual([200, 429, 200, 200, 429])
      },
    )
  })
}
