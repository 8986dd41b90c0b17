import { describe, expect, test } from 'vitest'
import { parseContentRange } from '../../src/http/fields.js'
import { BODY, date, hit, names, refusal, request, response, stored, value, verdictOf } from './support.js'

describe('Range on a hit', () => {
  const R = { options: { ttl: 60 } }
  const entry = stored({ ...R, response: response(['ETag', '"v1"', 'Last-Modified', date(-100)]) })
  const ask = (range: string, more: Record<string, string> = {}, method = 'GET') =>
    hit(entry, { ...R, request: request({ range, ...more }, method) })

  test.each([
    ['bytes=0-3', '0123', 'bytes 0-3/10'],
    ['bytes=8-', '89', 'bytes 8-9/10'],
    ['bytes=8-99999', '89', 'bytes 8-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=-99', '0123456789', 'bytes 0-9/10'],
    ['BYTES=9-9', '9', 'bytes 9-9/10'],
  ])('RFC 9110 14.2: one range is cut from the whole response: %s', (range, body, contentRange) => {
    const answer = ask(range)
    expect([answer.status, String(answer.body), value(answer, 'content-range')]).toEqual([206, body, contentRange])
    expect(value(answer, 'etag')).toBe('"v1"')
  })

  test('RFC 9530 2: a part has no digest of the whole content, and keeps that of the representation', () => {
    const digests = ['Content-Digest', 'sha-256=:a:', 'Content-MD5', 'b', 'Repr-Digest', 'sha-256=:c:']
    const kept = stored({ ...R, response: response(digests) })
    const part = hit(kept, { ...R, request: request({ range: 'bytes=0-3' }) })
    expect([value(part, 'content-digest'), value(part, 'content-md5'), value(part, 'repr-digest')]).toEqual([
      undefined,
      undefined,
      'sha-256=:c:',
    ])
    expect(value(hit(kept, R), 'content-digest')).toBe('sha-256=:a:')
  })

  test.each(['bytes=10-', 'bytes=99-100', 'bytes=-0'])(
    'RFC 9110 15.5.17: what cannot be satisfied is 416: %s',
    (range) => {
      const answer = ask(range)
      expect([answer.status, value(answer, 'content-range'), answer.body?.length]).toEqual([416, 'bytes */10', 0])
      expect(names(answer)).not.toContain('content-type')
      expect(names(answer)).not.toContain('etag')
    },
  )

  test.each([
    'bytes=0-1,3-4',
    'items=0-1',
    'bytes=3-1',
    'bytes=-',
    'bytes=a-b',
    'bytes',
    '',
    'bytes=0-1,',
    'bytes=0 - 1',
  ])('RFC 9110 14.2: several ranges, other units and nonsense are answered whole: %s', (range) =>
    expect(ask(range).status).toBe(200),
  )

  test('RFC 9110 14.1.2: a suffix of an empty response cannot be said in Content-Range', () => {
    const empty = stored({ ...R, body: Buffer.alloc(0) })
    expect(hit(empty, { ...R, request: request({ range: 'bytes=-5' }) }).status).toBe(200)
    expect(hit(empty, { ...R, request: request({ range: 'bytes=0-' }) }).status).toBe(416)
  })

  test('RFC 9110 14.2: Range is for GET, and for 200', () => {
    expect(ask('bytes=0-3', {}, 'HEAD')).toMatchObject({ status: 200, body: null })
    const options = { ttl: { 404: 60 } }
    const gone = stored({ options, response: response([], 404) })
    expect(hit(gone, { options, request: request({ range: 'bytes=0-1' }) }).status).toBe(404)
  })

  test('RFC 9110 13.2.2: a condition that holds comes before the range', () => {
    expect(ask('bytes=0-3', { 'if-none-match': '"v1"' }).status).toBe(304)
    expect(ask('bytes=0-3', { 'if-none-match': '"v2"' }).status).toBe(206)
  })

  test('RFC 9110 13.1.5: If-Range counts: the strong entity-tag or the exact date, otherwise the whole', () => {
    expect(ask('bytes=0-3', { 'if-range': '"v1"' }).status).toBe(206)
    expect(ask('bytes=0-3', { 'if-range': '"v2"' }).status).toBe(200)
    expect(ask('bytes=0-3', { 'if-range': 'W/"v1"' }).status).toBe(200)
    expect(ask('bytes=0-3', { 'if-range': date(-100) }).status).toBe(206)
    expect(ask('bytes=0-3', { 'if-range': date(-99) }).status).toBe(200)
    expect(ask('bytes=0-3', { 'if-range': 'nonsense' }).status).toBe(200)
    expect(ask('bytes=99-', { 'if-range': '"v2"' }).status).toBe(200)
  })

  test('RFC 9110 13.1.5: an entity-tag of ours is weak and never satisfies If-Range', () => {
    const plain = stored(R)
    const etag = value(plain, 'etag') as string
    expect(hit(plain, { ...R, request: request({ range: 'bytes=0-1', 'if-range': etag }) }).status).toBe(200)
  })

  test('RFC 9110 8.8.2.2: a Last-Modified of this very second is not strong', () => {
    const young = stored({ ...R, response: response(['Last-Modified', date()]) })
    expect(hit(young, { ...R, request: request({ range: 'bytes=0-1', 'if-range': date() }) }).status).toBe(200)
  })
})

describe('206 from the handler (RFC 9111 3.3)', () => {
  const part = response(['Cache-Control', 'max-age=60', 'Content-Range', 'bytes 10-19/100', 'ETag', '"v1"'], 206)
  const options = { preset: 'rfc9111' } as const
  const ranged = request({ range: 'bytes=10-19' })

  test('is passed on and not stored, unless `partial`', () => {
    expect(refusal({ request: ranged, response: part })).toBe('partial')
    expect(refusal({ options, request: ranged, response: part })).toBeUndefined()
    expect(refusal({ options, request: ranged, response: response(['Cache-Control', 'max-age=60'], 206) })).toBe(
      'partial',
    )
  })

  test('answers ranges inside it and nothing else', () => {
    const entry = stored({ options, request: ranged, response: part })
    const inside = { options, request: request({ range: 'bytes=12-13' }) }
    expect(verdictOf(entry, inside).action).toBe('fresh')
    const answer = hit(entry, inside)
    expect([answer.status, String(answer.body), value(answer, 'content-range')]).toEqual([206, '23', 'bytes 12-13/100'])
    for (const range of ['bytes=5-12', 'bytes=12-20', 'bytes=-5', 'bytes=12-', 'bytes=10-11,13-14']) {
      expect(verdictOf(entry, { options, request: request({ range }) })).toMatchObject({
        action: 'unusable',
        reason: 'partial',
      })
    }
    expect(verdictOf(entry, { options })).toMatchObject({ action: 'unusable', reason: 'partial' })
    expect(verdictOf(entry, { options, request: request({ range: 'bytes=12-13', 'if-range': '"v2"' }) }).action).toBe(
      'unusable',
    )
  })

  test.each([
    ['bytes 4-9/10', 7],
    ['bytes 4-9/10', 5],
    ['bytes 4-9/*', 5],
    ['bytes 4-9/10', 0],
  ])('is not stored where its length is not the one that it says: %s with %i bytes', (said, length) => {
    const wrong = response(['Cache-Control', 'max-age=60', 'Content-Range', said], 206)
    const body = BODY.subarray(0, length)
    expect(refusal({ options, request: ranged, response: wrong, body })).toBe('partial')
  })

  test('Content-Range is read strictly', () => {
    expect(parseContentRange('bytes 0-9/10')).toEqual({ first: 0, last: 9, complete: 10 })
    expect(parseContentRange('bytes 0-9/*')).toEqual({ first: 0, last: 9, complete: undefined })
    for (const bad of [undefined, 'bytes */10', 'bytes 9-0/10', 'bytes 0-10/10', 'items 0-9/10', 'bytes 0-9']) {
      expect(parseContentRange(bad)).toBeUndefined()
    }
  })
})
