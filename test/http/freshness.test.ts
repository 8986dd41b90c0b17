import { describe, expect, test } from 'vitest'
import {
  date,
  hit,
  HOUR,
  lifetime,
  miss,
  NOW,
  refusal,
  response,
  SECOND,
  storable,
  stored,
  value,
  values,
} from './support.js'

const control = (text: string, ...more: string[]) => response(['Cache-Control', text, ...more])

describe('lifetime of a response without a ttl (handler-governed)', () => {
  test('RFC 9111 4.2.1: s-maxage before max-age before Expires less Date', () => {
    expect(lifetime({ response: control('max-age=10, s-maxage=20', 'Expires', date(30)) })).toBe(20)
    expect(lifetime({ response: control('max-age=10', 'Expires', date(30)) })).toBe(10)
    expect(lifetime({ response: response(['Expires', date(30), 'Date', date(-5)]) })).toBe(30)
  })

  test('RFC 9111 5.3: Expires does not count beside max-age, not even beside an ill-formed one', () => {
    expect(refusal({ response: control('max-age=x', 'Expires', date(30)) })).toBe('already-stale')
    expect(refusal({ response: control('max-age=0', 'Expires', date(30)) })).toBe('already-stale')
  })

  test('RFC 9111 5.3: an invalid Expires, `0` above all, has expired', () => {
    for (const expires of ['0', 'never', date(30).replace('GMT', 'UTC'), '']) {
      expect(refusal({ response: response(['Expires', expires]) })).toBe('already-stale')
    }
  })

  test('RFC 9111 4.2.1: the first of repeated lines counts', () => {
    expect(lifetime({ response: response(['Expires', date(30), 'Expires', date(60)]) })).toBe(30)
    expect(lifetime({ response: control('max-age=10', 'Cache-Control', 'max-age=20') })).toBe(10)
  })

  test('RFC 9111 5.4: Pragma means nothing', () => {
    expect(lifetime({ response: control('max-age=10', 'Pragma', 'no-cache') })).toBe(10)
  })

  test('neither route nor handler give a lifetime: the default one counts, 0 keeps until evicted', () => {
    expect(lifetime({ defaultTtlMs: 5000 })).toBe(5)
    expect(lifetime({ defaultTtlMs: 0 })).toBe(Infinity)
    expect(value(miss({ defaultTtlMs: 0 }), 'cache-control')).toBe('no-cache')
  })

  test('rfc9111: without explicit freshness nothing is stored (RFC 9111 3)', () => {
    expect(refusal({ options: { preset: 'rfc9111' } })).toBe('no-freshness')
  })

  test('RFC 9111 4.2.2: heuristic freshness is a fraction of the age of the content, a tenth in rfc9111, never beside an explicit one', () => {
    const modified = response(['Last-Modified', date(-1000)])
    const options = { preset: 'rfc9111' } as const
    expect(refusal({ options: { ...options, heuristic: 0 }, response: modified })).toBe('no-freshness')
    expect(lifetime({ options, response: modified })).toBe(100)
    expect(lifetime({ options: { ...options, heuristic: 0.5 }, response: modified })).toBe(500)
    expect(lifetime({ options, response: control('max-age=7', 'Last-Modified', date(-1000)) })).toBe(7)
  })

  test('RFC 9110 15.1: heuristic freshness only for statuses that allow it, or with public (RFC 9111 5.2.2.9)', () => {
    const options = { preset: 'rfc9111' } as const
    const modified = ['Last-Modified', date(-1000)]
    expect(refusal({ options, response: response(modified, 403) })).toBe('no-freshness')
    expect(lifetime({ options, response: response(['Cache-Control', 'public', ...modified], 403) })).toBe(100)
    expect(
      lifetime({ options: { heuristic: 0.1 }, response: response(['Cache-Control', 'public', ...modified], 403) }),
    ).toBe(100)
  })
})

describe('lifetime of a response with a ttl (route-governed)', () => {
  test("the handler's own freshness does not govern this store, whatever it says", () => {
    const fields = ['Cache-Control', 'max-age=1, stale-while-revalidate=9', 'Expires', date(5), 'Age', '50']
    expect(lifetime({ options: { ttl: 60 }, response: response(fields) })).toBe(60)
    expect(storable({ options: { ttl: 60 }, response: response(fields) }).entry.staleUntil).toBe(NOW + 60 * SECOND)
  })

  test('ttl 0 keeps the entry until it is evicted', () => {
    expect(lifetime({ options: { ttl: 0 } })).toBe(Infinity)
  })

  test('a map of statuses opts each one in with its own lifetime', () => {
    const options = { ttl: { 200: '5m', 404: '10s' } } as const
    expect(lifetime({ options })).toBe(300)
    expect(lifetime({ options, response: response([], 404) })).toBe(10)
    expect(refusal({ options, response: response([], 410) })).toBe('status')
  })

  test('jitter shortens the lifetime by up to its fraction, and what is advertised is what is kept', () => {
    const run = { options: { ttl: 100, jitter: 0.5 }, facts: { random: 0.5 } }
    expect(lifetime(run)).toBe(75)
    expect(value(miss(run), 'cache-control')).toBe('max-age=75')
    expect(storable({ options: { ttl: 0, jitter: 1 }, facts: { random: 1 } }).entry.freshUntil).toBe(Infinity)
  })
})

describe('targeted fields (RFC 9213)', () => {
  const own = 'Redis-Cache-Control'

  test('section 2.2: the own field replaces Cache-Control and Expires, prohibitions included', () => {
    expect(lifetime({ response: control('no-store', own, 'max-age=30') })).toBe(30)
    expect(refusal({ response: control('max-age=30', own, 'no-store') })).toBe('response-no-store')
    expect(lifetime({ response: response(['Expires', date(5), own, 'max-age=30']) })).toBe(30)
  })

  test('it outranks the ttl of the route, unless the route overrides', () => {
    expect(lifetime({ options: { ttl: 60 }, response: response([own, 'max-age=30']) })).toBe(30)
    expect(lifetime({ options: { ttl: 60, override: 'lifetime' }, response: response([own, 'max-age=30']) })).toBe(60)
    expect(lifetime({ options: { ttl: 60 }, response: response([own, 'must-revalidate']) })).toBe(60)
  })

  test('section 2.1: what is empty or no Dictionary is as if it were absent', () => {
    for (const broken of ['', 'max-age=', 'MAX-AGE=30', 'max-age=30,', '"x"', 'max-age=30;;']) {
      expect(lifetime({ response: control('max-age=10', own, broken) })).toBe(10)
    }
  })

  test('section 2.1: parameters are ignored, a value of the wrong type gives no lifetime', () => {
    expect(lifetime({ response: response([own, 'max-age=30;x=1']) })).toBe(30)
    for (const wrong of ['max-age=1.5', 'max-age="x"', 'max-age="60"', 'max-age', 'max-age=(1 2)', 'max-age=-1']) {
      expect(refusal({ response: response([own, wrong]) })).toBe('already-stale')
    }
  })

  test('the first valid one of the list counts', () => {
    const options = { targets: ['A-Cache-Control', 'B-Cache-Control'] }
    expect(
      lifetime({ options, response: response(['B-Cache-Control', 'max-age=2', 'A-Cache-Control', 'max-age=1']) }),
    ).toBe(1)
    expect(lifetime({ options, response: response(['B-Cache-Control', 'max-age=2', 'A-Cache-Control', '?']) })).toBe(2)
  })

  test('the own field never leaves the server; CDN-Cache-Control passes untouched and does not count', () => {
    const fields = response([own, 'max-age=30', 'CDN-Cache-Control', 'max-age=1'])
    const [first, entry] = [miss({ response: fields }), stored({ response: fields })]
    for (const message of [first, hit(entry)]) {
      expect(values(message, own)).toEqual([])
      expect(values(message, 'cdn-cache-control')).toEqual(['max-age=1'])
    }
    expect(refusal({ options: { preset: 'rfc9111' }, response: response(['CDN-Cache-Control', 'max-age=9']) })).toBe(
      'no-freshness',
    )
  })
})

describe('age (RFC 9111 4.2.3)', () => {
  const aged = (fields: string[], requestedAt = NOW) =>
    stored({ response: control('max-age=100', ...fields), requestedAt })
  const age = (entry: ReturnType<typeof stored>, now = NOW) => value(hit(entry, { now }), 'age')

  test('a hit says how long ago the response was made, residence included', () => {
    expect(age(aged([]))).toBe('0')
    expect(age(aged([]), NOW + 7900)).toBe('7')
  })

  test('the time the handler took counts, and shortens the lifetime', () => {
    expect(age(aged([], NOW - 3 * SECOND))).toBe('3')
    expect(age(aged(['Age', '10'], NOW - 3 * SECOND))).toBe('13')
    expect(lifetime({ response: control('max-age=100'), requestedAt: NOW - 3 * SECOND })).toBe(97)
  })

  test('a Date in the past counts where it makes the response older', () => {
    expect(age(aged(['Date', date(-20), 'Age', '5']))).toBe('20')
    expect(age(aged(['Date', date(20)]))).toBe('0')
  })

  test('RFC 9111 5.1: the first member of Age counts, an invalid one is ignored', () => {
    expect(age(aged(['Age', '7, 90']))).toBe('7')
    for (const invalid of ['-7', '7.5', 'x', '', '"7"', '7;x']) expect(age(aged(['Age', invalid]))).toBe('0')
    expect(refusal({ response: control('max-age=100', 'Age', '9999999999') })).toBe('already-stale')
  })

  test('a response older than its lifetime is not stored', () => {
    expect(refusal({ response: control('max-age=100', 'Age', '100') })).toBe('already-stale')
  })
})

describe('what a hit says about its age', () => {
  test('handler-governed: the stored Date and an Age, Cache-Control verbatim', () => {
    const entry = stored({ response: control('public, Max-Age=100', 'Date', date(-5)) })
    const answer = hit(entry, { now: NOW + 10 * SECOND })
    expect(values(answer, 'cache-control')).toEqual(['public, Max-Age=100'])
    expect(values(answer, 'date')).toEqual([date(-5)])
    expect(values(answer, 'age')).toEqual(['15'])
  })

  test('RFC 9110 6.6.1: without a Date, or with an invalid one, it is that of the miss', () => {
    for (const fields of [[], ['Date', 'now'], ['Date', '0']]) {
      const run = { response: control('max-age=100', ...fields) }
      expect(values(miss(run), 'date')).toEqual([date()])
      expect(values(hit(stored(run), { now: NOW + HOUR }), 'date')).toEqual([date()])
    }
  })

  test('route-governed: a lifetime that counts down, no Age and no stored Date', () => {
    const run = { options: { ttl: 100 }, response: response(['Date', date(-50), 'Age', '20']) }
    expect(value(miss(run), 'cache-control')).toBe('max-age=100')
    expect([values(miss(run), 'date'), values(miss(run), 'age')]).toEqual([[], []])
    const answer = hit(stored(run), { now: NOW + 10_500 })
    expect(values(answer, 'cache-control')).toEqual(['max-age=89'])
    expect(values(answer, 'date')).toEqual([])
    expect(values(answer, 'age')).toEqual([])
  })

  test("the handler's Age and Date stay where its lifetime counts, and where nothing is stored", () => {
    const fields = ['Date', date(-50), 'Age', '20']
    for (const run of [
      { response: control('max-age=100', ...fields) },
      { options: { ttl: 100 }, response: response(['Set-Cookie', 'a=b', ...fields]) },
      { options: { ttl: 100 }, response: response(fields), run: { stored: false } },
    ]) {
      expect([value(miss(run), 'date'), value(miss(run), 'age')]).toEqual([date(-50), '20'])
    }
    const aged = { options: { ttl: 100, freshnessHeaders: 'age' as const }, response: response(fields) }
    expect([value(miss(aged), 'date'), value(miss(aged), 'age')]).toEqual([date(-50), undefined])
  })

  test("route-governed with the handler's own Cache-Control: that, verbatim", () => {
    const run = { options: { ttl: 100 }, response: control('public, max-age=5') }
    expect(values(miss(run), 'cache-control')).toEqual(['public, max-age=5'])
    expect(values(hit(stored(run), { now: NOW + 10 * SECOND }), 'cache-control')).toEqual(['public, max-age=5'])
  })

  test('ttl 0 is sent as no-cache, on a miss and on a hit', () => {
    const run = { options: { ttl: 0 } }
    expect(value(miss(run), 'cache-control')).toBe('no-cache')
    expect(value(hit(stored(run), { now: NOW + HOUR }), 'cache-control')).toBe('no-cache')
  })

  test('a private route says so', () => {
    const run = { options: { ttl: 100, per: () => 'u' } }
    expect(value(miss(run), 'cache-control')).toBe('private, max-age=100')
    expect(value(hit(stored(run), run), 'cache-control')).toBe('private, max-age=100')
    expect(value(miss({ options: { ttl: 0, per: () => 'u' } }), 'cache-control')).toBe('private, no-cache')
  })

  test('a private route says so for what it does not store, too', () => {
    expect(value(miss({ options: { ttl: 100, per: () => 'u' }, response: response([], 500) }), 'cache-control')).toBe(
      'private',
    )
  })

  test('nothing is advertised that is not kept', () => {
    const refused = miss({ options: { ttl: 100 }, response: response(['Set-Cookie', 'a=b']) })
    expect(value(refused, 'cache-control')).toBeUndefined()
    expect(value(miss({ options: { ttl: 100 }, run: { stored: false } }), 'cache-control')).toBeUndefined()
  })

  test('freshnessHeaders: age gives route-governed responses a Date and an Age, and a lifetime that stands', () => {
    const run = { options: { ttl: 100, freshnessHeaders: 'age' } as const }
    expect(value(miss(run), 'date')).toBe(date())
    const answer = hit(stored(run), { ...run, now: NOW + 10 * SECOND })
    expect([value(answer, 'cache-control'), value(answer, 'date'), value(answer, 'age')]).toEqual([
      'max-age=100',
      date(),
      '10',
    ])
  })

  test('freshnessHeaders: countdown takes the age off what the handler wrote, without Date and Age', () => {
    const run = {
      options: { freshnessHeaders: 'countdown' } as const,
      response: control('public, max-age=100, s-maxage="50"', 'Date', date(-5)),
    }
    const answer = hit(stored(run), { ...run, now: NOW + 10 * SECOND })
    expect(value(answer, 'cache-control')).toBe('public, max-age=85, s-maxage=35')
    expect(values(answer, 'date').concat(values(answer, 'age'))).toEqual([])
  })

  test('Age and a countdown never appear together', () => {
    const own = ['max-age=60', undefined]
    for (const freshnessHeaders of ['auto', 'age', 'countdown'] as const) {
      for (const ttl of [undefined, 60, 0]) {
        for (const text of own) {
          const run = { options: { ttl, freshnessHeaders }, response: text === undefined ? response() : control(text) }
          const [early, late] = [hit(stored(run), run), hit(stored(run), { ...run, now: NOW + 10 * SECOND })]
          const counted = value(early, 'cache-control') !== value(late, 'cache-control')
          expect(counted && value(late, 'age') !== undefined).toBe(false)
        }
      }
    }
  })

  test('a stale answer never says it is fresh', () => {
    const run = { options: { ttl: 10, staleWhileRevalidate: 60 } }
    expect(value(hit(stored(run), { ...run, now: NOW + 30 * SECOND, how: { kind: 'stale' } }), 'cache-control')).toBe(
      'max-age=0',
    )
  })

  test('RFC 9111 5.1: a validated answer has no Age', () => {
    const entry = stored({ response: control('max-age=100') })
    expect(value(hit(entry, { how: { kind: 'revalidated' } }), 'age')).toBeUndefined()
  })
})

test('how long an entry is of use is the longest of its windows', () => {
  const windows = (run: Parameters<typeof storable>[0]) => {
    const { freshUntil, staleUntil, errorUntil } = storable(run).entry
    return [freshUntil, staleUntil, errorUntil].map((until) => until - NOW)
  }
  const [fresh, hour] = [10 * SECOND, HOUR]
  const options = { ttl: 10, staleWhileRevalidate: 20, staleIfError: 30 }
  expect(windows({ options })).toEqual([fresh, 30 * SECOND, 40 * SECOND])
  expect(windows({ options: { ttl: 10, retain: '1h' } })).toEqual([fresh, fresh, fresh + hour])
  const run = { options: { preset: 'rfc9111' }, response: control('max-age=0', 'ETag', '"v"') } as const
  expect(windows(run)).toEqual([0, 0, hour])
})
