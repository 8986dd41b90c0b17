import { describe, expect, test } from 'vitest'
import { Flag } from '../../src/http/index.js'
import { policyOf, problemsOf } from './support.js'

describe('options of a route', () => {
  test('defaults of app', () => {
    expect(policyOf()).toMatchObject({
      ttlMs: undefined,
      defaultTtlMs: Infinity,
      statuses: undefined,
      maxBodyBytes: 10_485_760,
      maxHeaderBytes: 8192,
      clientDirectives: 'honour',
      auth: 'bypass',
      setCookie: 'refuse',
      unkeyedReads: 'refuse',
      etag: true,
      statusHeader: true,
      cacheStatus: false,
      host: false,
      retainMs: 0,
      partial: false,
      forwardConditionals: false,
      revalidate: true,
      targets: ['redis-cache-control'],
      autoInvalidate: true,
    })
  })

  test('rfc9111 is nothing but other values, and each can be given on its own', () => {
    expect(policyOf({ preset: 'rfc9111' })).toMatchObject({
      defaultTtlMs: undefined,
      statuses: 'any',
      heuristic: 0.1,
      staleOnError: true,
      setCookie: 'store',
      unkeyedReads: 'ignore',
      cacheStatus: 'redwell',
      host: true,
      retainMs: 3_600_000,
      partial: true,
      forwardConditionals: true,
      headUpdate: true,
      postContentLocation: true,
    })
    expect(policyOf({ preset: 'rfc9111', setCookie: 'refuse', cacheStatus: false })).toMatchObject({
      setCookie: 'refuse',
      cacheStatus: false,
    })
  })

  test('durations are seconds or have a unit, 0 has no end', () => {
    expect(policyOf({ ttl: '1.5s' }).ttlMs).toBe(1500)
    expect(policyOf({ ttl: 0 }).ttlMs).toBe(Infinity)
    expect(policyOf({ ttl: { 200: '5m', 404: 0 } }).ttlMs).toEqual(
      new Map([
        [200, 300_000],
        [404, Infinity],
      ]),
    )
  })

  test('`per` makes entries personal and responses private', () => {
    expect(policyOf({ per: () => 'u' })).toMatchObject({ private: true, personal: true, auth: 'keyed' })
    expect(policyOf({ per: () => 't', private: false })).toMatchObject({
      private: false,
      personal: false,
      auth: 'bypass',
    })
  })

  test.each<[string, unknown, string]>([
    [
      'ttl',
      { ttl: '5 minutes' },
      "ttl: '5 minutes' is not a duration; write '5m', or a number of seconds, or '500ms', '30s', '5m', '2h', '1d'",
    ],
    ['ttl', { ttl: -1 }, 'ttl: -1 is not a duration'],
    ['ttl', { ttl: { 200: 'x' } }, "ttl.200: 'x' is not a duration"],
    ['ttl', { ttl: { 304: 5 } }, 'ttl: 304 has no content of its own'],
    ['ttl', { ttl: { 700: 5 } }, "ttl: '700' is not a final HTTP status"],
    ['ttl', { ttl: {} }, 'ttl: names no status'],
    ['jitter', { jitter: 2 }, 'jitter: 2 must be a fraction'],
    ['heuristic', { heuristic: -1 }, 'heuristic: -1 must be a fraction'],
    ['statuses', { statuses: [99] }, 'statuses: 99 is not a final HTTP status'],
    ['statuses', { statuses: 200 }, 'statuses: 200 must be a list'],
    ['statuses', { statuses: [200], ttl: { 200: 5 } }, 'statuses: `ttl` names the statuses already'],
    ['maxBodyBytes', { maxBodyBytes: '1MB' }, "maxBodyBytes: '1MB' must be a whole number of bytes"],
    ['clientDirectives', { clientDirectives: 'no' }, "clientDirectives: 'no' must be one of 'honour', 'ignore'"],
    ['vary', { vary: ['a b'] }, "vary: 'a b' is not the name of a header field"],
    ['vary', { vary: '*' }, "vary: '*' matches no request"],
    [
      'vary',
      { vary: { accept: 'some' } },
      "vary.accept: 'some' must be 'list', 'exact' or 'language' for a request field",
    ],
    ['private', { private: true }, 'private: needs `per`'],
    ['auth', { auth: 'keyed' }, "auth: 'keyed' needs `per`"],
    ['override', { override: 'all' }, 'override: needs `ttl`'],
    ['cacheStatus', { cacheStatus: 'a b' }, "cacheStatus: 'a b' is not a name for a cache"],
    ['etag', { etag: 'yes' }, "etag: 'yes' must be true or false"],
    ['targets', { targets: ['x y'] }, "targets: 'x y' is not the name of a header field"],
    ['preset', { preset: 'cdn' }, "preset: 'cdn' must be one of 'app', 'rfc9111'"],
  ])('a problem names its option: %s %j', (_, options, text) => {
    expect(problemsOf(options)).toHaveLength(1)
    expect(problemsOf(options)[0]).toContain(text)
  })

  test('all problems are told at once', () => {
    expect(problemsOf({ ttl: 'x', etag: 1, jitter: 'y', private: true })).toHaveLength(4)
  })

  test('shared allows private without per, and excludes per', () => {
    expect(problemsOf({ private: true, shared: true })).toEqual([])
    expect(problemsOf({ shared: true, per: () => 'ann' })).toEqual([expect.stringMatching(/excludes `per`/)])
  })

  test('names of unkeyed reads are refused in addition to credentials', () => {
    const fields = policyOf({ unkeyedReads: ['X-Forwarded-Host'], preset: 'rfc9111' }).unkeyedReads
    expect(fields).toEqual(['x-forwarded-host'])
    expect(policyOf({ unkeyedReads: 'ignore' }).unkeyedReads).toBe('ignore')
  })

  test("the caller's object is not changed", () => {
    const options = Object.freeze({ ttl: 60, vary: Object.freeze(['Accept']) })
    expect(policyOf(options).vary).toEqual(['accept'])
  })
})

test('flags are distinct bits and fit 16', () => {
  const bits = Object.values(Flag)
  expect(bits.reduce((sum, bit) => sum | bit, 0)).toBe(bits.reduce((sum, bit) => sum + bit, 0))
  expect(Math.max(...bits)).toBeLessThan(2 ** 16)
})
