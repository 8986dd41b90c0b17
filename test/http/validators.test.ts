import { describe, expect, test } from 'vitest'
import { listNames, strongMatch, weakMatch } from '../../src/http/conditions.js'
import { makeEtag } from '../../src/http/storage.js'
import { BODY, date, hit, miss, names, NOW, request, response, SECOND, stored, value } from './support.js'

describe('entity-tags', () => {
  test('RFC 9110 8.8.3.2: the table of strong and weak comparison', () => {
    const table = [
      ['W/"1"', 'W/"1"', false, true],
      ['W/"1"', 'W/"2"', false, false],
      ['W/"1"', '"1"', false, true],
      ['"1"', '"1"', true, true],
    ] as const
    for (const [one, other, strong, weak] of table)
      expect([strongMatch(one, other), weakMatch(one, other)]).toEqual([strong, weak])
  })

  test('RFC 9110 13.1.2: a list is searched with weak comparison, a comma inside a tag is part of it', () => {
    expect(listNames('"a", W/"b" ,"c"', '"b"')).toBe(true)
    expect(listNames('"a,b"', '"a,b"')).toBe(true)
    expect(listNames('"x","a,b"', '"b"')).toBe(false)
    expect(listNames('"a"', '"b"')).toBe(false)
    expect(listNames('', '"b"')).toBe(false)
  })

  test('RFC 9110 13.1.2: * matches whatever there is', () => {
    expect(listNames(' * ', undefined)).toBe(true)
    expect(listNames('"*"', '"b"')).toBe(false)
  })

  test('RFC 9110 8.8.3: ours is weak, the same for the same bytes and another for others', () => {
    expect(makeEtag(BODY)).toMatch(/^W\/"[\w-]{22}"$/)
    expect(makeEtag(BODY)).toBe(makeEtag(Buffer.from(BODY)))
    expect(makeEtag(BODY)).not.toBe(makeEtag(Buffer.from('other')))
  })
})

describe('conditional requests on a hit', () => {
  const entry = stored({ options: { ttl: 60 }, response: response(['ETag', '"v1"', 'Last-Modified', date(-100)]) })
  const status = (fields: Record<string, string>, method = 'GET') =>
    hit(entry, { request: request(fields, method) }).status

  test('RFC 9110 13.1.2: If-None-Match that names the entity-tag gives 304, weak or strong', () => {
    expect(status({ 'if-none-match': '"v1"' })).toBe(304)
    expect(status({ 'if-none-match': 'W/"v1"' })).toBe(304)
    expect(status({ 'if-none-match': '"v0", "v1"' })).toBe(304)
    expect(status({ 'if-none-match': '*' })).toBe(304)
    expect(status({ 'if-none-match': '"v2"' })).toBe(200)
    expect(status({ 'if-none-match': '"v1"' }, 'HEAD')).toBe(304)
  })

  test('RFC 9110 13.2.2: If-None-Match beats If-Modified-Since', () => {
    expect(status({ 'if-none-match': '"v2"', 'if-modified-since': date(0) })).toBe(200)
    expect(status({ 'if-none-match': '"v1"', 'if-modified-since': date(-1000) })).toBe(304)
  })

  test('RFC 9110 13.1.3: If-Modified-Since is held against Last-Modified', () => {
    expect(status({ 'if-modified-since': date(-100) })).toBe(304)
    expect(status({ 'if-modified-since': date(-101) })).toBe(200)
  })

  test('RFC 9110 5.6.7: a client date in any of the three formats, in any case', () => {
    expect(status({ 'if-modified-since': 'Wednesday, 14-Jan-26 12:00:00 GMT' })).toBe(304)
    expect(status({ 'if-modified-since': 'wed jan 14 12:00:00 2026' })).toBe(304)
    expect(status({ 'if-modified-since': 'Wed, 14 jan 2026 12:00:00 gmt' })).toBe(304)
  })

  test('RFC 9110 13.1.3: a date that cannot be read is ignored', () => {
    expect(status({ 'if-modified-since': 'yesterday' })).toBe(200)
    expect(status({ 'if-modified-since': '2026-01-14' })).toBe(200)
  })

  test('RFC 9111 4.3.2: without Last-Modified the Date counts, without that the time it was stored', () => {
    const dated = stored({ response: response(['Cache-Control', 'max-age=60', 'Date', date(-10)]) })
    expect(hit(dated, { request: request({ 'if-modified-since': date(-10) }) }).status).toBe(304)
    expect(hit(dated, { request: request({ 'if-modified-since': date(-11) }) }).status).toBe(200)
    const undated = stored({ options: { ttl: 60 }, now: NOW + 999 })
    expect(hit(undated, { request: request({ 'if-modified-since': date(0) }), now: NOW + 2000 }).status).toBe(304)
    expect(hit(undated, { request: request({ 'if-modified-since': date(-1) }), now: NOW + 2000 }).status).toBe(200)
  })

  test('RFC 9111 4.3.2: only a 200 or 206 answers a condition with 304', () => {
    const gone = stored({ options: { ttl: { 404: 60 } }, response: response(['ETag', '"v1"'], 404) })
    expect(hit(gone, { options: { ttl: { 404: 60 } }, request: request({ 'if-none-match': '"v1"' }) }).status).toBe(404)
  })

  test('RFC 9110 15.4.5: a 304 carries no content fields, and what speaks of caching', () => {
    const full = stored({
      options: { cacheStatus: 'redwell' },
      response: response([
        'Cache-Control',
        'max-age=60',
        'Content-Location',
        '/x',
        'Date',
        date(),
        'ETag',
        '"v1"',
        'Expires',
        date(9),
        'Vary',
        'Accept',
        'Last-Modified',
        date(-9),
        'Content-Language',
        'en',
        'X-Other',
        '1',
      ]),
    })
    const answer = hit(full, { options: { cacheStatus: 'redwell' }, request: request({ 'if-none-match': '"v1"' }) })
    expect(answer.body).toBeNull()
    expect(names(answer).sort()).toEqual([
      'age',
      'cache-control',
      'cache-status',
      'content-location',
      'date',
      'etag',
      'expires',
      'last-modified',
      'vary',
      'x-other',
      'x-redis-cache',
    ])
    expect(value(answer, 'x-redis-cache')).toBe('HIT')
  })
})

describe('conditional requests on a miss', () => {
  test('a conditional request that misses is still stored, and answered with 304', () => {
    const first = miss({ options: { ttl: 60 } })
    const etag = value(first, 'etag') as string
    const again = miss({ options: { ttl: 60 }, request: request({ 'if-none-match': etag }) })
    expect(again.status).toBe(304)
    expect(again.body).toBeNull()
    expect(value(again, 'x-redis-cache')).toBe('MISS')
    expect(names(again)).not.toContain('content-type')
  })

  test('RFC 9110 13.1.3: If-Modified-Since is held against the Last-Modified of what the handler gave', () => {
    const modified = response(['Last-Modified', date(-100)])
    const since = (at: string) =>
      miss({ options: { ttl: 60 }, response: modified, request: request({ 'if-modified-since': at }) })
    expect(since(date(-100)).status).toBe(304)
    expect(since(date(-101)).status).toBe(200)
  })

  test('what has just been made is newer than any date a client has', () => {
    const asked = request({ 'if-modified-since': date(1000) })
    expect(miss({ options: { ttl: 60 }, request: asked }).status).toBe(200)
    expect(miss({ response: response(['Cache-Control', 'max-age=60']), request: asked }).status).toBe(200)
    expect(miss({ response: response(['Cache-Control', 'max-age=60', 'Date', date()]), request: asked }).status).toBe(
      200,
    )
  })

  test('a condition that the handler did not see is answered for what is not stored as well, with its cookie', () => {
    const refused = response(['ETag', '"v1"', 'Set-Cookie', 'a=b'])
    const answer = miss({ options: { ttl: 60 }, response: refused, request: request({ 'if-none-match': '"v1"' }) })
    expect(answer.status).toBe(304)
    expect(value(answer, 'set-cookie')).toBe('a=b')
    expect(value(answer, 'x-redis-cache')).toBe('BYPASS')
  })

  test('an error is never turned into a 304', () => {
    const answer = miss({
      options: { ttl: 60 },
      response: response(['ETag', '"v1"'], 500),
      request: request({ 'if-none-match': '*' }),
    })
    expect(answer.status).toBe(500)
  })

  test('the entity-tag is the same on a miss and on a hit', () => {
    const entry = stored({ options: { ttl: 60 } })
    expect(value(hit(entry, { now: NOW + SECOND }), 'etag')).toBe(value(miss({ options: { ttl: 60 } }), 'etag'))
  })

  test("the handler's own entity-tag is kept, strong or weak, even one that is not well-formed", () => {
    for (const etag of ['"v1"', 'W/"v1"', 'v1']) {
      expect(value(miss({ options: { ttl: 60 }, response: response(['ETag', etag]) }), 'etag')).toBe(etag)
    }
  })

  test('none is made for other statuses, for what is not stored, or when switched off', () => {
    expect(value(miss({ options: { ttl: { 404: 60 } }, response: response([], 404) }), 'etag')).toBeUndefined()
    expect(
      value(miss({ options: { ttl: 60 }, response: response(['Cache-Control', 'no-store']) }), 'etag'),
    ).toBeUndefined()
    expect(value(miss({ options: { ttl: 60, etag: false } }), 'etag')).toBeUndefined()
  })
})
