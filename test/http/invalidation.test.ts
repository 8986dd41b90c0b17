import { parseList } from 'structured-headers'
import { describe, expect, test } from 'vitest'
import { type HttpOptions, invalidationOf, isSafe } from '../../src/http/index.js'
import { hit, miss, policyOf, refusal, response, storable, stored, value, values } from './support.js'

const ITEMS_URL = 'https://shop.example/items?x=1'
const invalidated = (method: string, headers: readonly string[] = [], status = 200, options: HttpOptions = {}) =>
  invalidationOf(method, ITEMS_URL, { status, headers }, policyOf(options))

describe('invalidation by unsafe methods (RFC 9111 4.4)', () => {
  test('RFC 9110 9.2.1: unknown methods are unsafe, OPTIONS and QUERY are safe, names are case-sensitive', () => {
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY', 'SEARCH', 'PROPFIND', 'REPORT']) {
      expect(isSafe(method)).toBe(true)
      expect(invalidated(method, ['Cache-Group-Invalidation', '"a"']).targets).toEqual([])
    }
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'FOO', 'get'])
      expect(invalidated(method).targets).toEqual(['/items?x=1'])
  })

  test('2xx and 3xx do, errors do not', () => {
    for (const status of [200, 201, 204, 302, 303]) expect(invalidated('POST', [], status).targets).toHaveLength(1)
    for (const status of [400, 404, 409, 500, 503])
      expect(invalidated('POST', [], status)).toEqual({ targets: [], groups: [] })
  })

  test('Location and Content-Location of the same origin go, too', () => {
    const fields = ['Location', '/items/7', 'content-location', 'https://shop.example:443/items/7?full']
    const all = ['/items?x=1', '/items/7?full', '/items/7']
    expect(invalidated('POST', fields, 201).targets).toEqual(all)
    expect(invalidated('POST', fields, 303, { preset: 'rfc9111' }).targets).toEqual(all)
    expect(invalidated('POST', ['Location', '7'], 201).targets).toEqual(['/items?x=1', '/7'])
  })

  test('a redirect after a POST does not evict the page it leads to, unless the route asks for that', () => {
    for (const status of [200, 204, 302, 303]) {
      expect(invalidated('POST', ['Location', '/'], status).targets).toEqual(['/items?x=1'])
      expect(invalidated('POST', ['Location', '/'], status, { invalidateLocations: true }).targets).toContain('/')
    }
  })

  test('a percent-encoded Location stays as it is', () => {
    expect(invalidated('POST', ['Location', '/items/caf%C3%A9?q=%20'], 201).targets).toContain('/items/caf%C3%A9?q=%20')
  })

  test('cross-origin locations do not, nor what is no URI', () => {
    for (const location of [
      'https://other.example/items/7',
      'http://shop.example/items/7',
      'https://shop.example:8443/items/7',
      '//other.example/items',
      'https://',
      'data:text/plain,x',
      'https://shop.example@other.example/items',
    ]) {
      expect(invalidated('POST', ['Location', location], 201).targets).toEqual(['/items?x=1'])
    }
  })

  test('each can be switched off', () => {
    const fields = ['Location', '/b', 'Cache-Group-Invalidation', '"g"']
    expect(invalidated('POST', fields, 200, { autoInvalidate: false })).toEqual({ targets: [], groups: ['g'] })
    expect(invalidated('POST', fields, 201, { invalidateLocations: false }).targets).toEqual(['/items?x=1'])
    expect(invalidated('POST', fields, 200, { groupInvalidation: false }).groups).toEqual([])
  })
})

describe('groups (RFC 9875)', () => {
  const groups = (text: string) => storable({ options: { ttl: 60 }, response: response(['Cache-Groups', text]) }).groups

  test('section 2: a List of Strings, compared exactly, lines joined, parameters ignored', () => {
    expect(groups('"a", "B c";x=1, "a"')).toEqual(['a', 'B c'])
    const lines = response(['Cache-Groups', '"a"', 'cache-groups', '"b"'])
    expect(storable({ options: { ttl: 60 }, response: lines }).groups).toEqual(['a', 'b'])
  })

  test.each(['a, "b"', '"a', '"a",', '("a" "b")', '1', '?1', ''])(
    'section 2: what is no List of Strings is ignored: %s',
    (text) => {
      expect(groups(text)).toEqual([])
    },
  )

  test('section 2: at least 32 groups of 32 characters; what cannot be invalidated is not stored', () => {
    const many = (count: number, length: number) =>
      Array.from({ length: count }, (_, index) => `"${String(index).padStart(length, 'x')}"`).join(', ')
    expect(groups(many(32, 32))).toHaveLength(32)
    expect(refusal({ options: { ttl: 60 }, response: response(['Cache-Groups', many(129, 4)]) })).toBe(
      'too-many-groups',
    )
    expect(refusal({ options: { ttl: 60 }, response: response(['Cache-Groups', many(1, 300)]) })).toBe(
      'too-many-groups',
    )
  })

  test('Cache-Groups is passed on, from a miss and from a hit', () => {
    const run = { options: { ttl: 60 }, response: response(['Cache-Groups', '"a"']) }
    expect(value(miss(run), 'cache-groups')).toBe('"a"')
    expect(value(hit(stored(run)), 'cache-groups')).toBe('"a"')
  })

  test('section 3: Cache-Group-Invalidation counts on unsafe methods only, once each', () => {
    expect(invalidated('POST', ['Cache-Group-Invalidation', '"a", "b", "a"']).groups).toEqual(['a', 'b'])
    expect(invalidated('POST', ['Cache-Group-Invalidation', 'a']).groups).toEqual([])
    expect(invalidated('GET', ['Cache-Group-Invalidation', '"a"']).groups).toEqual([])
    expect(invalidated('POST', ['Cache-Group-Invalidation', '"a"'], 500).groups).toEqual([])
  })

  test('emitCacheGroups sends the groups of the route to caches in front', () => {
    const run = { options: { ttl: 60, emitCacheGroups: true }, facts: { routeGroups: ['a"b', 'ü', 'c'] } }
    const text = value(hit(stored(run), run), 'cache-groups') as string
    expect(parseList(text).map(([name]) => name)).toEqual(['a"b', 'c'])
    expect(values(miss(run), 'cache-groups')).toEqual([text])
    expect(value(miss({ options: { ttl: 60 }, facts: run.facts }), 'cache-groups')).toBeUndefined()
    const both = { ...run, response: response(['Cache-Groups', '"own"']) }
    expect(values(miss(both), 'cache-groups')).toEqual([`"own", ${text}`])
    expect(values(hit(stored(both), both), 'cache-groups')).toEqual([`"own", ${text}`])
    expect(storable(both).groups).toEqual(['own'])
  })
})
