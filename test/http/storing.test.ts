import { describe, expect, test } from 'vitest'
import {
  decideStore,
  type HttpOptions,
  planRequest,
  planWrite,
  type RefusalReason,
  buildStoredResponse,
} from '../../src/http/index.js'
import {
  BODY,
  date,
  decide,
  hit,
  miss,
  names,
  NOW,
  policyOf,
  refusal,
  request,
  response,
  storable,
  stored,
  value,
  values,
  verdictOf,
} from './support.js'

const H = (text: string, ...more: string[]) => response(['Cache-Control', text, ...more])
const R = { ttl: 60 } as const

describe('what is stored', () => {
  test('RFC 9111 3: of methods only GET; HEAD and all others run the handler and store nothing', () => {
    expect(refusal({ options: R, request: request({}, 'HEAD') })).toBe('head')
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'QUERY', 'get']) {
      expect(refusal({ options: R, request: request({}, method) })).toBe('method')
    }
  })

  test('RFC 9110 15.1: handler-governed statuses need explicit freshness', () => {
    for (const status of [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501]) {
      expect(decide({ response: { status, headers: ['Cache-Control', 'max-age=9'] } }).store).toBe(true)
    }
    for (const status of [201, 202, 304, 400, 401, 403, 500, 502, 503, 504]) {
      expect(refusal({ response: { status, headers: ['Cache-Control', 'max-age=9'] } })).toBe('status')
    }
    expect(refusal({ response: response([], 404) })).toBe('status')
  })

  test('RFC 9111 3: `statuses: any` stores every final status with explicit freshness, never 304', () => {
    const options = { preset: 'rfc9111' } as const
    for (const status of [200, 201, 299, 400, 499, 500, 599]) {
      expect(decide({ options, response: { status, headers: ['Cache-Control', 'max-age=9'] } }).store).toBe(true)
    }
    for (const status of [100, 103, 199, 304]) {
      expect(refusal({ options, response: { status, headers: ['Cache-Control', 'max-age=9'] } })).toBe('status')
    }
  })

  test('route-governed: 200 only, other statuses by option', () => {
    for (const status of [201, 204, 301, 404, 500])
      expect(refusal({ options: R, response: response([], status) })).toBe('status')
    expect(decide({ options: { ttl: 60, statuses: [200, 404] }, response: response([], 404) }).store).toBe(true)
  })

  test('RFC 9111 3.3: a truncated body is never stored', () => {
    expect(refusal({ options: R, response: response(['Content-Length', '11']) })).toBe('truncated')
    expect(refusal({ options: R, response: response(['Content-Length', '10']) })).toBeUndefined()
  })

  test('RFC 9111 5.2.2.3: with must-understand no-store is ignored for understood statuses, others are not stored', () => {
    expect(refusal({ response: H('must-understand, no-store, max-age=9') })).toBeUndefined()
    expect(refusal({ response: H('no-store, max-age=9') })).toBe('response-no-store')
    const odd = { status: 299, headers: ['Cache-Control', 'must-understand, max-age=9'] }
    expect(refusal({ options: { preset: 'rfc9111' }, response: odd })).toBe('status')
  })

  test.each<[string, readonly string[], RefusalReason]>([
    ['no-store (RFC 9111 5.2.2.5)', ['Cache-Control', 'no-store'], 'response-no-store'],
    ['private (RFC 9111 5.2.2.7)', ['Cache-Control', 'private'], 'response-private'],
    ['no-cache without a validator (RFC 9111 5.2.2.4)', ['Cache-Control', 'no-cache'], 'response-no-cache'],
    ['Vary: * (RFC 9111 4.1)', ['Vary', 'Accept, *'], 'vary-star'],
    ['Vary: * in another line', ['Vary', 'Accept', 'vary', '*'], 'vary-star'],
    ['Set-Cookie (RFC 9111 7.3)', ['set-cookie', 'a=b'], 'set-cookie'],
  ])('prohibitions bind whoever governs: %s', (_, headers, reason) => {
    expect(refusal({ options: R, response: response(headers) })).toBe(reason)
    expect(refusal({ response: response([...headers, 'Expires', date(60)]) })).toBe(reason)
  })

  test('override: all disregards no-store, private, no-cache and must-revalidate, never Vary: * or a cookie', () => {
    const options = { ttl: 60, override: 'all' } as const
    expect(refusal({ options, response: H('no-store, private, no-cache, must-revalidate') })).toBeUndefined()
    expect(refusal({ options, response: H('no-store', 'Vary', '*') })).toBe('vary-star')
    expect(refusal({ options, response: H('no-store', 'Set-Cookie', 'a=b') })).toBe('set-cookie')
  })

  test('bounds: body and header bytes, announced or real', () => {
    expect(refusal({ options: { ttl: 60, maxBodyBytes: 9 } })).toBe('body-too-large')
    expect(refusal({ options: { ttl: 60, maxBodyBytes: 10 } })).toBeUndefined()
    expect(refusal({ options: { ttl: 60, maxBodyBytes: 9 }, response: response(['Content-Length', '10']) })).toBe(
      'body-too-large',
    )
    expect(refusal({ options: { ttl: 60, maxBodyBytes: 10 }, response: response(['Content-Length', '10']) })).toBe(
      undefined,
    )
    expect(refusal({ options: R, response: response(['X-Large', 'x'.repeat(8200)]) })).toBe('headers-too-large')
  })

  test('bounds: header bytes are counted as HTTP/1.1 writes them, and the limit itself is allowed', () => {
    const bare = { status: 200, headers: ['A', 'bc', 'D', 'e'] }
    const bytes = 'A: bc\r\nD: e\r\n'.length
    const limited = (maxHeaderBytes: number) => refusal({ options: { ttl: 60, maxHeaderBytes }, response: bare })
    expect([limited(bytes), limited(bytes - 1)]).toEqual([undefined, 'headers-too-large'])
  })

  test('a 416 answers the Range of one client, so it is never stored', () => {
    const options = { preset: 'rfc9111' } as const
    const unsatisfiable = { status: 416, headers: ['Cache-Control', 'max-age=60', 'Content-Range', 'bytes */9'] }
    for (const asked of [request({ range: 'bytes=99-' }), request()]) {
      expect(decide({ options, request: asked, response: unsatisfiable })).toMatchObject({
        reason: 'partial',
        forKey: false,
      })
    }
  })

  test('a 204 has no content, so a hit has no Content-Length (RFC 9110 8.6)', () => {
    const options = { ttl: { 204: 60 } }
    const empty = stored({ options, response: { status: 204, headers: [] }, body: Buffer.alloc(0) })
    for (const method of ['GET', 'HEAD']) {
      const answer = hit(empty, { options, request: request({}, method) })
      expect([answer.status, answer.body, value(answer, 'content-length')]).toEqual([204, null, undefined])
    }
  })

  test('an event stream never ends, so it is not stored', () => {
    for (const type of ['text/event-stream', 'Text/Event-Stream; charset=utf-8']) {
      const stream = { status: 200, headers: ['Content-Type', type] }
      expect(decide({ options: R, response: stream })).toMatchObject({ reason: 'event-stream', forKey: true })
    }
  })

  test('fields that were set before the handler ran are no part of the entry', () => {
    const head = response(['X-Request-Id', '7', 'Set-Cookie', 'a=b', 'Vary', 'Origin', 'X-Own', '1'])
    const facts = { ambient: new Set(['x-request-id', 'set-cookie', 'vary']) }
    const decision = storable({ options: { ttl: 60, vary: 'accept' }, response: head, facts })
    expect(names({ headers: decision.entry.headers })).toEqual(['content-type', 'x-own', 'vary', 'etag'])
    expect([value({ headers: decision.entry.headers }, 'vary'), decision.varyNames]).toEqual(['accept', ['accept']])
    expect(refusal({ options: R, response: head })).toBe('set-cookie')
  })

  test('content that is encoded is stored only where it varies on Accept-Encoding', () => {
    expect(refusal({ options: R, response: response(['Content-Encoding', 'gzip']) })).toBe('content-encoding')
    expect(refusal({ options: R, response: response(['Content-Encoding', 'identity']) })).toBeUndefined()
    expect(
      refusal({ options: R, response: response(['Content-Encoding', 'br', 'Vary', 'accept-Encoding']) }),
    ).toBeUndefined()
    expect(
      refusal({ options: { ttl: 60, vary: 'accept-encoding' }, response: response(['Content-Encoding', 'br']) }),
    ).toBeUndefined()
    expect(
      refusal({ options: { ttl: 60, encoded: 'store' }, response: response(['Content-Encoding', 'br']) }),
    ).toBeUndefined()
  })

  test('a handler that read a cookie or credential outside the key is served and not stored', () => {
    expect(refusal({ options: R, facts: { unkeyedReads: new Map([['cookie', 'cookie']]) } })).toBe('unkeyed-read')
    expect(
      refusal({
        options: { ttl: 60, unkeyedReads: 'ignore' },
        facts: { unkeyedReads: new Map([['cookie', 'cookie']]) },
      }),
    ).toBeUndefined()
  })

  test('refusals of the request say nothing about the next request of the key', () => {
    expect(decide({ options: R, request: request({ 'cache-control': 'no-store' }) })).toMatchObject({ forKey: false })
    expect(decide({ options: R, request: request({ authorization: 'x' }) })).toMatchObject({ forKey: false })
    expect(decide({ options: R, response: response(['Set-Cookie', 'a=b']) })).toMatchObject({ forKey: true })
  })
})

describe('request directives and storing', () => {
  test('RFC 9111 5.2.1.5: a request with no-store is not looked up and stores nothing', () => {
    const head = request({ 'cache-control': 'no-store' })
    expect(planRequest(head, policyOf(R))).toMatchObject({ bypass: 'request-no-store' })
    expect(refusal({ options: R, request: head })).toBe('request-no-store')
    expect(value(miss({ options: R, request: head }), 'x-redis-cache')).toBe('BYPASS')
  })

  test('RFC 9111 5.2.1.4: with no-cache the handler runs and its response is stored', () => {
    expect(refusal({ options: R, request: request({ 'cache-control': 'no-cache' }) })).toBeUndefined()
  })

  test('clientDirectives: ignore makes none of them count', () => {
    const options = { ttl: 60, clientDirectives: 'ignore' } as const
    expect(planRequest(request({ 'cache-control': 'no-store, no-cache, max-age=0' }), policyOf(options))).toMatchObject(
      {
        bypass: undefined,
        plain: true,
      },
    )
  })

  test('RFC 9111 4.3.2: If-Match and If-Unmodified-Since bypass', () => {
    for (const name of ['if-match', 'if-unmodified-since']) {
      expect(planRequest(request({ [name]: '"v1"' }), policyOf(R))).toMatchObject({
        bypass: 'precondition',
      })
    }
  })

  test('the usual request shares one plan', () => {
    expect(planRequest(request({ accept: '*/*', cookie: 'a=b', pragma: 'no-cache' }), policyOf(R))).toBe(
      planRequest(request(), policyOf(R)),
    )
  })
})

describe('Authorization (RFC 9111 3.5)', () => {
  const withAuth = request({ authorization: 'Bearer x' })

  test('a response is neither stored for others nor taken from the store', () => {
    expect(refusal({ options: R, request: withAuth })).toBe('authorization')
    expect(verdictOf(stored({ options: R }), { options: R, request: withAuth })).toMatchObject({
      action: 'unusable',
      reason: 'authorization',
    })
  })

  test.each(['public', 'must-revalidate', 's-maxage=60'])('with %s it is shared', (directive) => {
    const run = { options: R, request: withAuth, response: H(directive) }
    expect(refusal(run)).toBeUndefined()
    expect(verdictOf(stored(run), run).action).toBe('fresh')
  })

  test.each(['proxy-revalidate', 'immutable', 'max-age=60', 'no-cache'])('%s does not lift the bar', (directive) => {
    const run = { options: R, response: H(directive, 'ETag', '"v"') }
    expect(refusal({ ...run, request: withAuth })).toBe('authorization')
    expect(verdictOf(stored(run), { ...run, request: withAuth })).toMatchObject({ reason: 'authorization' })
  })

  test('auth: shared is the word of the author; keyed, or a `per` of its own, gives each principal an entry', () => {
    for (const options of [
      { ttl: 60, auth: 'shared' },
      { ttl: 60, per: () => 'u' },
      { ttl: 60, per: () => 'u', auth: 'keyed' },
    ] as const) {
      expect(refusal({ options, request: withAuth })).toBeUndefined()
      expect(verdictOf(stored({ options }), { options, request: withAuth }).action).toBe('fresh')
    }
    expect(refusal({ options: { ttl: 60, per: () => 'tenant', private: false }, request: withAuth })).toBe(
      'authorization',
    )
  })

  test('requests with credentials do not share a handler run', () => {
    expect(planRequest(withAuth, policyOf(R)).collapsible).toBe(false)
    expect(planRequest(request(), policyOf(R)).collapsible).toBe(true)
  })
})

describe('stored header fields (RFC 9111 3.1, RFC 9110 7.6.1)', () => {
  test('hop-by-hop fields and those that Connection names are never stored', () => {
    const entry = stored({
      options: R,
      response: {
        status: 200,
        headers: [
          'Connection',
          'X-Hop, Upgrade',
          'x-hop',
          '1',
          'Keep-Alive',
          'timeout=5',
          'Proxy-Authenticate',
          'x',
          'Proxy-Authorization',
          'x',
          'Proxy-Authentication-Info',
          'x',
          'Proxy-Connection',
          'x',
          'Proxy-Anything',
          'x',
          'TE',
          'x',
          'Trailer',
          'x',
          'Transfer-Encoding',
          'x',
          'Upgrade',
          'x',
          'X-Redis-Cache',
          'HIT',
          'Content-Length',
          '10',
          'X-Kept',
          '1',
        ],
      },
    })
    expect(names(entry)).toEqual(['x-kept', 'etag'])
  })

  test('all others keep their order, case and repetition', () => {
    const headers = ['X-B', '1', 'x-a', '2', 'X-B', '3', 'Link', '<a>', 'Link', '<b>']
    expect(stored({ options: { ttl: 60, etag: false }, response: { status: 200, headers } }).headers).toEqual(headers)
  })

  test('RFC 9111 5.2.2.7: private="f" stores without f; the client of the miss gets it', () => {
    const run = { response: H('max-age=60, private="X-User"', 'X-User', 'ann', 'X-Other', '1') }
    expect(value(miss(run), 'x-user')).toBe('ann')
    expect(value(hit(stored(run)), 'x-user')).toBeUndefined()
    expect(value(hit(stored(run)), 'x-other')).toBe('1')
  })

  test('RFC 9111 5.2.2.4: no-cache="f" stores without f, also a cookie', () => {
    const run = { response: H('max-age=60, no-cache="Set-Cookie"', 'Set-Cookie', 'a=b') }
    expect(value(miss(run), 'set-cookie')).toBe('a=b')
    expect(values(hit(stored(run)), 'set-cookie')).toEqual([])
  })

  test('setCookie: strip stores the rest, store stores all of them', () => {
    const fields = response(['Set-Cookie', 'a=b', 'Set-Cookie', 'c=d'])
    expect(values(stored({ options: { ttl: 60, setCookie: 'strip' }, response: fields }), 'set-cookie')).toEqual([])
    expect(values(stored({ options: { ttl: 60, setCookie: 'store' }, response: fields }), 'set-cookie')).toEqual([
      'a=b',
      'c=d',
    ])
    expect(values(miss({ options: { ttl: 60, setCookie: 'strip' }, response: fields }), 'set-cookie')).toEqual([
      'a=b',
      'c=d',
    ])
  })

  test('the response of a personal entry may be private', () => {
    const options = { ttl: 60, per: () => 'u' }
    expect(refusal({ options, response: H('private, max-age=5') })).toBeUndefined()
    expect(refusal({ options: { ...options, private: false }, response: H('private') })).toBe('response-private')
    expect(refusal({ options: { ttl: 60, private: true, shared: true }, response: H('private') })).toBe(
      'response-private',
    )
    expect(value(stored({ options, response: H('private="X-User"', 'X-User', 'ann') }), 'x-user')).toBe('ann')
  })
})

describe('a hit is the miss again', () => {
  test('same status, bytes and fields in the same order, but for those that speak about caching', () => {
    const fields = response(['X-B', '1', 'Link', '<a>', 'Link', '<b>', 'Content-Disposition', 'inline'])
    for (const options of [R, { ttl: 60, vary: ['accept-language'], cacheStatus: 'redwell' }]) {
      const [first, second] = [
        miss({ options, response: fields }),
        hit(stored({ options, response: fields }), { options }),
      ]
      expect(names(second)).toEqual(names(first))
      expect(second.body).toBe(BODY)
      const differing = second.headers.filter((text, index) => text !== first.headers[index])
      expect(differing.every((text) => text === 'HIT' || text.startsWith('redwell;'))).toBe(true)
    }
  })

  test('the same stored object answers each second, each policy and each condition for itself', () => {
    const run = (options: HttpOptions, fields: Record<string, string> = {}) => {
      const policy = policyOf(options)
      const plan = planRequest(request(fields), policy)
      const entry = stored({ options })
      return (name: string, ...times: number[]) =>
        times.map((ms) => value(buildStoredResponse(entry, plan, policy, NOW + ms), name))
    }
    // Lifetime and age tick at different moments.
    expect(run({ ttl: '10.5s' })('cache-control', 0, 600, 1000)).toEqual(['max-age=10', 'max-age=9', 'max-age=9'])
    expect(run({ ttl: '10.5s', freshnessHeaders: 'age' })('age', 0, 600, 1000)).toEqual(['0', '0', '1'])
    const conditional = run({ ttl: 60 }, { 'if-none-match': '*' })
    expect(conditional('cache-control', 0, 10_000, 10_000)).toEqual(['max-age=60', 'max-age=50', 'max-age=50'])
    const entry = stored({ options: R })
    expect(names(hit(entry, { options: { ttl: 60, statusHeader: false } }))).not.toContain('x-redis-cache')
    expect(names(hit(entry))).toContain('x-redis-cache')
  })

  test('hits of one policy are one object, which tells an adapter that keeps what it derives when a value changed', () => {
    const [entry, policy] = [stored({ options: R }), policyOf(R)]
    const ask = (now: number) => buildStoredResponse(entry, planRequest(request(), policy), policy, now)
    const first = ask(NOW + 1)
    const [version, age] = [first.version, value(first, 'cache-control')]
    expect(ask(NOW + 999)).toBe(first)
    expect(first.version).toBe(version)
    expect(ask(NOW + 1001)).toBe(first)
    expect(first.version).toBeGreaterThan(version)
    expect(value(first, 'cache-control')).not.toBe(age)
  })

  test('HEAD is answered from the GET, without its bytes and with their length', () => {
    const answer = hit(stored({ options: R }), { request: request({}, 'HEAD') })
    expect([answer.status, answer.body, value(answer, 'content-length'), value(answer, 'content-type')]).toEqual([
      200,
      null,
      '10',
      'text/plain',
    ])
    expect(value(answer, 'x-redis-cache')).toBe('HIT')
  })
})

describe('write-through', () => {
  const policy = policyOf(R)
  const put = (fields: Record<string, string>, head = response([], 200)) => {
    const writer = request(fields, 'PUT')
    const plan = planWrite(writer, policy)
    return decideStore(head, { request: writer, plan, policy, now: NOW, requestedAt: NOW, body: BODY })
  }

  test('a PUT becomes the 200 that a GET would give', () => {
    const created = put({}, response(['Location', '/things/1', 'X-Rep', '1'], 201))
    expect(created).toMatchObject({ store: true, entry: { status: 200 } })
    expect(created.store && names({ headers: created.entry.headers })).toEqual(['content-type', 'x-rep', 'etag'])
  })

  test('a response without a representation stores nothing', () => {
    expect(put({}, response([], 204))).toMatchObject({ store: false, reason: 'status' })
    expect(put({}, response(['Cache-Control', 'no-store'], 200))).toMatchObject({
      store: false,
      reason: 'response-no-store',
    })
  })

  test('no-store and Authorization bind the write as well', () => {
    expect(put({ 'cache-control': 'no-store' })).toMatchObject({ store: false, reason: 'request-no-store' })
    expect(put({ authorization: 'x' })).toMatchObject({ store: false, reason: 'authorization' })
  })
})

describe('POST with Content-Location (RFC 9110 9.3.3)', () => {
  const run = (location: string, more: readonly string[] = ['Cache-Control', 'max-age=60'], target = '/things?a=1') =>
    refusal({
      options: { preset: 'rfc9111' },
      request: request({}, 'POST', target),
      response: response([...more, 'Content-Location', location]),
    })

  test('is stored for GET when it names its own URI and gives a lifetime', () => {
    expect(run('/things?a=1')).toBeUndefined()
    expect(run('?a=1')).toBeUndefined()
  })

  test('is not stored otherwise', () => {
    expect(run('/things')).toBe('content-location')
    expect(run('http://elsewhere.example/things?a=1')).toBe('content-location')
    expect(run('/things?a=1', [])).toBe('content-location')
    expect(
      refusal({ options: R, request: request({}, 'POST'), response: response(['Content-Location', '/things?a=1']) }),
    ).toBe('method')
  })
})

describe('X-Redis-Cache', () => {
  test('HIT when the handler did not run, MISS when it ran and was stored, BYPASS when nothing was stored', () => {
    const entry = stored({ options: R })
    expect(value(hit(entry), 'x-redis-cache')).toBe('HIT')
    expect(value(hit(entry, { how: { kind: 'stale' } }), 'x-redis-cache')).toBe('HIT')
    expect(value(hit(entry, { how: { kind: 'collapsed' } }), 'x-redis-cache')).toBe('HIT')
    expect(value(hit(entry, { how: { kind: 'revalidated' } }), 'x-redis-cache')).toBe('MISS')
    expect(value(miss({ options: R }), 'x-redis-cache')).toBe('MISS')
    expect(value(miss({ options: R, run: { stored: false } }), 'x-redis-cache')).toBe('BYPASS')
    expect(value(miss({ options: R, request: request({}, 'HEAD') }), 'x-redis-cache')).toBe('BYPASS')
  })

  test("statusHeader: false leaves it out; a handler's own is replaced, not repeated", () => {
    expect(values(miss({ options: { ttl: 60, statusHeader: false } }), 'x-redis-cache')).toEqual([])
    expect(values(miss({ options: R, response: response(['x-redis-cache', 'HIT']) }), 'x-redis-cache')).toEqual([
      'MISS',
    ])
  })
})

test('the facts of the body complete a decision that was made on the head', () => {
  const policy = policyOf(R)
  const head = request()
  const run = { request: head, plan: planRequest(head, policy), policy, now: NOW, requestedAt: NOW }
  const decision = decideStore(response(), run)
  expect(decision).toMatchObject({ store: true, addedHeaders: [] })
  expect(storable({ options: R }).addedHeaders[0]).toBe('ETag')
})

test.each<[string, string[], Record<string, string>, string | undefined]>([
  [
    'repeats the Origin',
    ['Access-Control-Allow-Origin', 'https://a.example'],
    { origin: 'https://a.example' },
    'reflected-origin',
  ],
  ['is for all', ['Access-Control-Allow-Origin', '*'], { origin: 'https://a.example' }, undefined],
  ['is another', ['Access-Control-Allow-Origin', 'https://b.example'], { origin: 'https://a.example' }, undefined],
  [
    'repeats the Origin and varies',
    ['Access-Control-Allow-Origin', 'https://a.example', 'Vary', 'Origin'],
    { origin: 'https://a.example' },
    undefined,
  ],
])('an Access-Control-Allow-Origin that %s', (_, headers, fields, reason) => {
  expect(refusal({ options: { ttl: 60 }, response: response(headers), request: request(fields) })).toBe(reason)
})
