import { describe, expect, test } from 'vitest'
import {
  endFreshness,
  forwardedConditions,
  freshen,
  headUpdate,
  handlerValidators,
  type HttpOptions,
  type HttpPolicy,
  evaluateReuse,
  planRequest,
  type RequestHead,
  type ResponseHead,
  type StoredResponse,
} from '../../src/http/index.js'
import { BODY, date, hit, names, NOW, policyOf, request, response, SECOND, stored, value, values } from './support.js'

const LATER = NOW + 100 * SECOND
const contextOf = (asked: RequestHead, policy: HttpPolicy) => ({
  ...{ request: asked, plan: planRequest(asked, policy), policy, now: LATER, requestedAt: LATER },
})
const H = (text: string, ...more: string[]) => response(['Cache-Control', text, ...more])

function refresh(entry: StoredResponse, headers: readonly string[], options: HttpOptions = {}) {
  const result = freshen(entry, { status: 304, headers }, contextOf(request(), policyOf(options)))
  if (result === 'mismatch') throw new Error('mismatch')
  return result
}

function matches(entry: StoredResponse, headers: readonly string[]): boolean {
  return freshen(entry, { status: 304, headers }, contextOf(request(), policyOf({ ttl: 60 }))) !== 'mismatch'
}

describe('a 304 from the handler', () => {
  test('RFC 9111 5.1: one from a cache behind it has an Age, which the client sees as well', () => {
    const sent = (...fields: string[]) => {
      const { response: fresh, decision } = refresh(stored({ response: H('max-age=90', 'ETag', '"v1"') }), [
        ...['ETag', '"v1"', 'Date', date(80), ...fields],
      ])
      expect(decision.store && value({ headers: decision.entry.headers }, 'age')).toBe(undefined)
      return values(hit(fresh, { now: LATER, how: { kind: 'revalidated' } }), 'age')
    }
    expect(sent('Age', '30')).toEqual(['30'])
    expect(sent('Age', '0')).toEqual([])
    expect(sent()).toEqual([])
  })

  test('RFC 9111 3.2: what describes the stored bytes stays as it is, or as absent as it is', () => {
    const own = ['Content-MD5', 'old', 'Content-Digest', 'old']
    const { response: fresh } = refresh(stored({ response: H('max-age=10', 'ETag', '"v1"', ...own) }), [
      ...['ETag', '"v1"', 'Content-MD5', 'new', 'content-digest', 'new'],
      ...['Content-Encoding', 'gzip', 'Content-Range', 'bytes 0-1/2'],
    ])
    expect([value(fresh, 'content-md5'), value(fresh, 'content-digest')]).toEqual(['old', 'old'])
    expect([value(fresh, 'content-encoding'), value(fresh, 'content-range')]).toEqual([undefined, undefined])
  })

  test('RFC 9111 3.2: every field of it replaces the stored one, but Content-Length and what is of the connection', () => {
    const entry = stored({
      response: H('max-age=10', 'ETag', '"v1"', 'X-A', '1', 'X-A', '2', 'X-B', '1', 'Link', '<a>'),
    })
    const { response: fresh, decision } = refresh(entry, [
      'ETag',
      '"v1"',
      'Cache-Control',
      'max-age=50',
      'x-a',
      '9',
      'X-New',
      '1',
      'Link',
      '<b>',
      'Link',
      '<c>',
      'Content-Length',
      '999',
      'Connection',
      'X-Hop',
      'X-Hop',
      '1',
      'Content-Type',
      'text/html',
    ])
    expect(decision.store).toBe(true)
    expect(names(fresh)).toEqual([
      'content-type',
      'cache-control',
      'etag',
      'x-a',
      'x-b',
      'link',
      'link',
      'x-new',
      'date',
    ])
    expect([value(fresh, 'x-a'), value(fresh, 'content-type'), value(fresh, 'cache-control')]).toEqual([
      '9',
      'text/html',
      'max-age=50',
    ])
    expect(values(fresh, 'link')).toEqual(['<b>', '<c>'])
    expect(fresh.body).toBe(BODY)
  })

  test('RFC 9111 4.3.4: it is fresh again from then on, and its Date is that of the validation', () => {
    const entry = stored({ response: H('max-age=10', 'ETag', '"v1"', 'Date', date(-5)) })
    const { response: fresh } = refresh(entry, ['ETag', '"v1"'])
    expect(fresh.freshUntil).toBe(LATER + 10 * SECOND)
    expect(value(fresh, 'date')).toBe(date(100))
    expect(fresh.initialAgeMs).toBe(0)
    const dated = refresh(entry, ['ETag', '"v1"', 'Date', date(97)]).response
    expect([value(dated, 'date'), dated.initialAgeMs]).toEqual([date(97), 3000])
  })

  test('route-governed: the lifetime of the route starts anew', () => {
    const entry = stored({ options: { ttl: 60 }, response: response(['Last-Modified', date(-500)]) })
    const { response: fresh } = refresh(entry, [], { ttl: 60 })
    expect(fresh.freshUntil).toBe(LATER + 60 * SECOND)
    expect(values(fresh, 'etag')).toEqual(values(entry, 'etag'))
    expect(fresh.flags).toBe(entry.flags)
  })

  test('RFC 9111 4.3.4: a 304 that names another strong entity-tag is about something else', () => {
    const strong = stored({ options: { ttl: 60 }, response: response(['ETag', '"v1"']) })
    expect(matches(strong, ['ETag', '"v1"'])).toBe(true)
    expect(matches(strong, ['ETag', '"v2"'])).toBe(false)
    expect(matches(strong, ['ETag', 'W/"v1"'])).toBe(true)
    expect(matches(strong, ['ETag', 'W/"v2"'])).toBe(false)
    expect(matches(strong, [])).toBe(true)
    const weak = stored({ options: { ttl: 60 }, response: response(['ETag', 'W/"v1"']) })
    expect(matches(weak, ['ETag', '"v1"'])).toBe(false)
    expect(matches(weak, ['ETag', 'W/"v1"'])).toBe(true)
    const dated = stored({ options: { ttl: 60 }, response: response(['Last-Modified', date(-500)]) })
    expect(matches(dated, ['Last-Modified', date(-500)])).toBe(true)
    expect(matches(dated, ['Last-Modified', date(-400)])).toBe(false)
    expect(matches(dated, ['ETag', '"v1"'])).toBe(false)
  })

  test('one that forbids to store still answers this client, with its cookie, and keeps nothing', () => {
    const entry = stored({ options: { ttl: 60 }, response: response(['ETag', '"v1"']) })
    const { response: answer, decision } = refresh(entry, ['ETag', '"v1"', 'Set-Cookie', 'a=b'], { ttl: 60 })
    expect(decision).toMatchObject({ store: false, reason: 'set-cookie' })
    expect(value(hit(answer, { how: { kind: 'revalidated', stored: false } }), 'set-cookie')).toBe('a=b')
    const stripped = refresh(entry, ['ETag', '"v1"', 'Set-Cookie', 'a=b'], { ttl: 60, setCookie: 'strip' })
    expect(value(stripped.response, 'set-cookie')).toBe('a=b')
    expect(stripped.decision.store && stripped.decision.entry.headers.includes('Set-Cookie')).toBe(false)
  })
})

describe('the conditions a handler sees', () => {
  const made = stored({ options: { ttl: 60 }, response: response(['ETag', '"v1"', 'Last-Modified', date(-500)]) })
  const generated = stored({ options: { ttl: 60 } })
  const client = request({ 'if-none-match': '"c"', 'if-modified-since': date(0) })
  const conditions = (
    options: HttpOptions,
    entry?: StoredResponse,
    head = client,
    others: readonly StoredResponse[] = [],
  ) => {
    const policy = policyOf(options)
    const plan = planRequest(head, policy)
    return forwardedConditions(
      plan,
      policy,
      entry,
      entry && evaluateReuse(entry, plan, policy, NOW + 100 * SECOND),
      others,
    )
  }
  const none = { ifNoneMatch: undefined, ifModifiedSince: undefined }

  test("on a miss none: its 304 to the client's would leave nothing to store", () => {
    expect(conditions({ ttl: 60 })).toEqual(none)
    expect(conditions({ ttl: 60, forwardConditionals: true })).toBe('as-is')
  })

  test('RFC 9111 4.3.1: on a stale entry its own validators, never a generated one', () => {
    expect(conditions({ ttl: 60 }, made)).toEqual({ ifNoneMatch: '"v1"', ifModifiedSince: date(-500) })
    expect(conditions({ ttl: 60, forwardConditionals: true }, made)).toEqual({
      ifNoneMatch: '"v1"',
      ifModifiedSince: date(-500),
    })
    expect(conditions({ ttl: 60 }, generated)).toEqual(none)
    expect(conditions({ ttl: 60, revalidate: false }, made)).toEqual(none)
    const both = stored({ options: { ttl: 60 }, response: response(['Last-Modified', date(-500)]) })
    expect(handlerValidators(both)).toEqual({ ifNoneMatch: undefined, ifModifiedSince: date(-500) })
  })

  test('a bypass leaves the request as it is', () => {
    expect(conditions({ ttl: 60 }, undefined, request({ 'cache-control': 'no-store' }))).toBe('as-is')
    expect(conditions({ ttl: 60 }, undefined, request({}, 'PUT'))).toBe('as-is')
  })

  test("RFC 9111 4.1: on a vary miss the other variants' entity-tags, where asked for", () => {
    const other = stored({ options: { ttl: 60 }, response: response(['ETag', '"v2"']) })
    expect(conditions({ ttl: 60, validateOtherVariants: true }, undefined, client, [made, other, generated])).toEqual({
      ifNoneMatch: '"v1", "v2"',
      ifModifiedSince: undefined,
    })
    expect(conditions({ ttl: 60 }, undefined, client, [made])).toEqual(none)
  })
})

describe('HEAD and the stored GET (RFC 9111 4.3.5)', () => {
  const options = { preset: 'rfc9111' } as const
  const entry = stored({ options, response: H('max-age=10', 'ETag', '"v1"', 'X-A', '1') })
  const update = (head: ResponseHead, more: HttpOptions = options) => {
    return headUpdate(entry, head, contextOf(request({}, 'HEAD'), policyOf(more)))
  }

  test('equal validators and length freshen it', () => {
    const result = update({ status: 200, headers: ['ETag', '"v1"', 'Content-Length', '10', 'X-A', '2'] })
    expect(result).toMatchObject({ decision: { store: true }, response: { freshUntil: LATER + 10 * SECOND } })
    expect(typeof result === 'object' && value(result.response, 'x-a')).toBe('2')
  })

  test('another validator or length makes it stale', () => {
    for (const headers of [
      ['ETag', '"v2"'],
      ['ETag', '"v1"', 'Content-Length', '11'],
    ]) {
      expect(update({ status: 200, headers })).toBe('changed')
    }
    const { freshUntil, staleUntil } = endFreshness({ ...entry, freshUntil: LATER + 1, staleUntil: LATER + 2 }, LATER)
    expect([freshUntil, staleUntil]).toEqual([LATER, LATER])
  })

  test('anything but a 200 says nothing, and app leaves the entry alone', () => {
    expect(update({ status: 404, headers: [] })).toBeUndefined()
    expect(update({ status: 200, headers: ['ETag', '"v2"'] }, {})).toBeUndefined()
  })
})
