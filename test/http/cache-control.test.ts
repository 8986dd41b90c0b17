import { describe, expect, test } from 'vitest'
import { parseRequestDirectives, parseResponseDirectives } from '../../src/http/cache-control.js'

const response = parseResponseDirectives
const request = parseRequestDirectives

describe('Cache-Control of responses', () => {
  test('RFC 9111 5.2: names are case-insensitive, space round commas and empty members do not matter', () => {
    expect(response(' ,, Max-Age=10 ,\tPUBLIC,, ')).toMatchObject({ maxAge: 10, public: true })
  })

  test('RFC 9111 4.2.1: the first of a repeated lifetime counts', () => {
    expect(response('max-age=10, max-age=20, s-maxage=1, s-maxage=x')).toMatchObject({ maxAge: 10, sMaxage: 1 })
  })

  test('RFC 9111 5.2: a quoted argument counts as the unquoted one', () => {
    expect(response('max-age="10"').maxAge).toBe(10)
    expect(response('max-age="1\\0"').maxAge).toBe(10)
  })

  test.each([
    'max-age',
    'max-age=',
    'max-age=abc',
    'max-age=-1',
    'max-age=1.5',
    'max-age= 10',
    'max-age =10',
    "max-age='10'",
    'max-age=10;x',
    'max-age="10',
    'max-age="10"x',
    'max-age=0x10',
    'max-age=1 0',
    'max-age=१०',
  ])('RFC 9111 4.2.1: an ill-formed lifetime is stale: %s', (field) => {
    expect(response(field).maxAge).toBe(0)
  })

  test('RFC 9111 1.2.2: a lifetime over 2^31 is 2^31', () => {
    expect(response('max-age=99999999999999999999').maxAge).toBe(2 ** 31)
    expect(response('max-age=2147483649').maxAge).toBe(2 ** 31)
    expect(response('max-age=0000000000000000000000010').maxAge).toBe(10)
  })

  test('RFC 9111 5.2.2.4, 5.2.2.7: qualified forms name fields and do not forbid the response', () => {
    expect(response('private="Set-Cookie, X-User", no-cache="ETag"')).toMatchObject({
      private: false,
      privateFields: ['set-cookie', 'x-user'],
      noCache: false,
      noCacheFields: ['etag'],
    })
    expect(response('private=x-user').privateFields).toEqual(['x-user'])
  })

  test.each(['private', 'private=""', 'private="a b"', 'private=', 'private="x', 'private="x", private'])(
    'RFC 9111 5.2.2.7: %s means the whole response',
    (field) => expect(response(field).private).toBe(true),
  )

  test('a quote that is never closed hides no prohibition', () => {
    expect(response('x="abc, no-store').noStore).toBe(true)
    expect(response('private="foo, no-store').noStore).toBe(true)
    expect(response('x="a\\", no-store').noStore).toBe(true)
  })

  test('a directive inside quotes is no directive', () => {
    expect(response('x="no-store, max-age=5", max-age=10')).toMatchObject({ noStore: false, maxAge: 10 })
  })

  test('RFC 9111 5.2.3: unknown directives are ignored, also such as look like objects', () => {
    expect(response('foo, bar=1, __proto__=2, constructor, toString="x"')).toEqual(response('baz'))
  })

  test('RFC 5861, RFC 8246: stale-while-revalidate, stale-if-error, immutable', () => {
    expect(response('stale-while-revalidate=5, stale-if-error=x, immutable')).toMatchObject({
      staleWhileRevalidate: 5,
      staleIfError: 0,
      immutable: true,
    })
  })
})

describe('Cache-Control of requests', () => {
  test('RFC 9111 5.2.1: all directives', () => {
    expect(
      request('no-cache, no-store, only-if-cached, max-age=1, min-fresh=2, max-stale=3, stale-if-error=4'),
    ).toEqual({
      noCache: true,
      noStore: true,
      onlyIfCached: true,
      maxAge: 1,
      minFresh: 2,
      maxStale: 3,
      staleIfError: 4,
    })
  })

  test('RFC 9111 5.2.1.2: max-stale without a value accepts any staleness, with an ill-formed one none', () => {
    expect(request('max-stale').maxStale).toBe(Infinity)
    expect(request('max-stale=x').maxStale).toBeUndefined()
  })

  test('an ill-formed max-age asks for a new answer, never for an older one', () => {
    expect(request('max-age=x').maxAge).toBe(0)
    expect(request('max-age').maxAge).toBe(0)
  })
})
