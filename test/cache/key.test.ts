import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  encodeGroup,
  namespaceGroup,
  customKey,
  digest,
  type Key,
  KEY_MAX,
  type KeyContext,
  keyProblem,
  pathKey,
  valueKey,
  variantKey,
} from '../../src/cache/key.js'

/** Texts that have tried to break key schemes before: separators, escapes, globs, braces, percent signs, surrogates. */
const nasty = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.string({
    unit: fc.constantFrom(
      '/',
      '?',
      '&',
      '=',
      '|',
      ':',
      '!',
      '#',
      '%',
      '{',
      '}',
      '*',
      '[',
      ']',
      '\\',
      '2',
      'F',
      'f',
      'u',
      ',',
      '(',
      ')',
      '\ud800',
    ),
    maxLength: 8,
  }),
)

/** Enough fields to make a key that is digested. */
function times(count: number): [string, string][] {
  return Array.from({ length: count }, (_, index) => [`x-field-${index}`, 'value'])
}

const SAFE = /^[A-Za-z0-9\-._~/@:$&'()+,;=%!#|?]*$/

describe('keys of paths', () => {
  test('ordinary paths stay readable', () => {
    expect(pathKey('/products/42?color=red&size=m')).toBe('/products/42?color=red&size=m')
  })

  test('the order of parameters makes no difference; that of the values of one parameter does, and so does their number', () => {
    expect(pathKey('/a?x=1&y=2&x=3')).toBe(pathKey('/a?y=2&x=1&x=3'))
    expect(pathKey('/a?sort=a&sort=b')).not.toBe(pathKey('/a?sort=b&sort=a'))
    expect(pathKey('/a?x=1&x=1')).not.toBe(pathKey('/a?x=1'))
  })

  test('parameters that some parsers fold into one keep their order as well', () => {
    expect(pathKey('/a?id=1&id[]=2')).not.toBe(pathKey('/a?id[]=2&id=1'))
    expect(pathKey('/a?id%5B%5D=1&x=2')).toBe(pathKey('/a?x=2&id%5B%5D=1'))
  })

  test('RFC 3986 6.2.2: equivalent spellings of a URI share a key, an encoded slash is not a slash', () => {
    expect(pathKey('/%7euser/%e4?q=%41')).toBe(pathKey('/~user/%E4?q=A'))
    expect(pathKey('/a%2Fb')).not.toBe(pathKey('/a/b'))
    expect(pathKey('/a?x=%26y')).not.toBe(pathKey('/a?x=&y'))
  })

  test('an empty query is no query, an empty pair is no pair', () => {
    expect(pathKey('/a?')).toBe('/a')
    expect(pathKey('/a?&x=1&')).toBe('/a?x=1')
  })

  test('a trailing slash and double slashes differ unless the framework says otherwise; case always does', () => {
    expect(pathKey('/items/')).not.toBe(pathKey('/items'))
    expect(pathKey('/items/', { ignoreTrailingSlash: true })).toBe('/items')
    expect(pathKey('/', { ignoreTrailingSlash: true })).toBe('/')
    expect(pathKey('//a//b', { ignoreDuplicateSlashes: true })).toBe('/a/b')
    expect(pathKey('/Items')).not.toBe(pathKey('/items'))
  })

  test('an absolute request target is the same as its path (RFC 9112 3.2.2)', () => {
    expect(pathKey('http://host.example/a?b=1')).toBe('/a?b=1')
  })

  test('query rules choose which parameters count, by their decoded names', () => {
    expect(pathKey('/a?utm_source=x&id=1', { query: { ignore: ['utm_source'] } })).toBe('/a?id=1')
    expect(pathKey('/a?utm%5Fsource=x&id=1', { query: { ignore: ['utm_source'] } })).toBe('/a?id=1')
    expect(pathKey('/a?z=1&id=1&id=2', { query: { only: ['id'] } })).toBe('/a?id=1&id=2')
    expect(pathKey('/a?id[]=1', { query: { only: ['id'] } })).not.toBe(
      pathKey('/a?id[]=2', { query: { only: ['id'] } }),
    )
    expect(pathKey('/a?id[]=1', { query: { ignore: ['id'] } })).not.toBe(pathKey('/a', {}))
    expect(pathKey('/a?b=1&a=2', { query: { sort: false } })).toBe('/a?b=1&a=2')
  })

  test('the host is part of the key where it is asked for, in any case', () => {
    expect(pathKey('/a', {}, { host: 'Shop.Example:8080' })).toBe(pathKey('/a', {}, { host: 'shop.example:8080' }))
    expect(pathKey('/a', {}, { host: 'a.example' })).not.toBe(pathKey('/a', {}, { host: 'b.example' }))
    expect(pathKey('/a', {}, { host: 'a.example' })).not.toBe(pathKey('/a'))
  })

  test('the prefix is part of the key where it is asked for', () => {
    const keys = [
      pathKey('/a'),
      pathKey('/a', {}, { prefix: 'v1' }),
      pathKey('/a', {}, { prefix: 'v1', host: 'https' }),
      customKey('/a'),
      customKey('/a', 'v1'),
    ]
    expect(new Set(keys).size).toBe(keys.length)
  })

  test('I1: prefix, path and host never imitate one another', () => {
    const option = fc.option(nasty, { nil: undefined })
    const place = fc.record({ path: nasty, prefix: option, host: option })
    const meaning = (p: { path: string } & KeyContext): string =>
      JSON.stringify([pathKey(`/${p.path}`), p.prefix ?? null, p.host?.toLowerCase() ?? null])
    const key = ({ path, ...context }: { path: string } & KeyContext): string => pathKey(`/${path}`, {}, context)
    fc.assert(
      fc.property(place, place, (a, b) => (meaning(a) === meaning(b)) === (key(a) === key(b))),
      { numRuns: 2000 },
    )
  })

  test('no character of a path or query can be a brace, a glob, a space or a control', () => {
    fc.assert(fc.property(nasty, nasty, (path, query) => SAFE.test(pathKey(`/${path}?${query}`))))
  })

  test('I1: different paths and queries never share a key; queries with other orders of their parameters do', () => {
    const text = nasty.map((value) => value.replaceAll(/[?#&]/g, '').replaceAll('%', '%25'))
    const request = fc.record({
      path: text,
      pairs: fc.array(
        text.filter((pair) => pair !== ''),
        { maxLength: 4 },
      ),
    })
    const nameOf = (pair: string): string =>
      decodeURIComponent(pair.split('=', 1)[0]?.replaceAll('+', ' ') ?? '').split('[', 1)[0] ?? ''
    // Sorting is stable, so the pairs of one name keep their order.
    const meaning = (r: { path: string; pairs: string[] }): string =>
      JSON.stringify([
        r.path,
        [...r.pairs].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0)),
      ])
    const key = (r: { path: string; pairs: string[] }): string => pathKey(`/${r.path}?${r.pairs.join('&')}`)
    fc.assert(
      fc.property(request, request, (a, b) => (meaning(a) === meaning(b)) === (key(a) === key(b))),
      { numRuns: 2000 },
    )
  })

  test('long keys are digested, never cut', () => {
    const long = `/${'a'.repeat(5000)}`
    expect(pathKey(`${long}1`).length).toBeLessThanOrEqual(KEY_MAX)
    expect(pathKey(`${long}1`)).not.toBe(pathKey(`${long}2`))
  })
})

describe('keys of parts', () => {
  const part: fc.Arbitrary<Key> = fc.letrec<{ part: Key }>((tie) => ({
    part: fc.oneof(
      { maxDepth: 2 },
      nasty,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('part'), { maxLength: 3 }),
      fc.dictionary(
        fc.string({ maxLength: 3 }).filter((name) => name !== '__proto__'),
        tie('part'),
        { maxKeys: 3 },
      ),
    ),
  })).part

  /** Text as JSON would have it, with numbers and booleans as texts and names sorted: what "equal" means for parts. */
  const meaning = (value: Key): unknown => {
    if (value === null) return null
    if (Array.isArray(value)) return value.map((inner) => meaning(inner as Key))
    if (typeof value !== 'object') return String(value)
    return {
      sorted: Object.entries(value as Record<string, Key>)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, inner]) => [name, meaning(inner)]),
    }
  }
  const same = (a: Key, b: Key): boolean => JSON.stringify(meaning([a])) === JSON.stringify(meaning([b]))

  test('I1: different parts never share a key; equal ones always do', () => {
    fc.assert(
      fc.property(
        fc.array(part, { minLength: 1, maxLength: 3 }),
        fc.array(part, { minLength: 1, maxLength: 3 }),
        (a, b) => {
          const equal = same(a, b)
          return (customKey(a) === customKey(b)) === equal && (valueKey('n', a) === valueKey('n', b)) === equal
        },
      ),
      { numRuns: 3000 },
    )
  })

  test('an empty list is not a list of one empty text, however deep', () => {
    const keys = [['a', []], ['a', ['']], ['a', [[]]], ['a', [['']]], ['a', ['', '']], ['a', {}], ['a', ''], ['a']]
    expect(new Set(keys.map((key) => valueKey('n', key))).size).toBe(keys.length)
    expect(valueKey('n', ['a', '!empty'])).not.toBe(valueKey('n', ['a', []]))
  })

  test('parameters count by name, not by order, and undefined ones not at all', () => {
    expect(customKey(['users', { page: 2, sort: 'name', filter: undefined }])).toBe(
      customKey(['users', { sort: 'name', page: '2' }]),
    )
  })

  test('routes, custom keys, values and namespaces never meet', () => {
    const keys = [
      pathKey('/a'),
      customKey('/a'),
      customKey('a'),
      valueKey('', 'a'),
      valueKey('a', ''),
      valueKey('a', 'a'),
    ]
    expect(new Set(keys).size).toBe(keys.length)
  })

  test.each([
    [undefined, /undefined/],
    [[], /at least one part/],
    [Number.NaN, /NaN/],
    [new Date(Number.NaN), /Date/],
    [() => 1, /function/],
    [new Map(), /plain objects/],
    [['a', { b: Symbol('x') }], /symbol/],
  ])('what cannot be a key is told: %s', (key, problem) => {
    expect(keyProblem(key)).toMatch(problem)
  })
})

describe('variants', () => {
  test('principals never show in a key and never share one', () => {
    const key = variantKey('/me', { principal: 'ann@example.org' })
    expect(key).not.toContain('ann')
    expect(key).not.toBe(variantKey('/me', { principal: 'bob@example.org' }))
    expect(variantKey('/me', { principal: '' })).not.toBe('/me')
  })

  test('RFC 9111 4.1: an absent field is not an empty one', () => {
    expect(variantKey('/a', { fields: [['accept', undefined]] })).not.toBe(
      variantKey('/a', { fields: [['accept', '']] }),
    )
  })

  test('credentials that select a variant are digested', () => {
    expect(variantKey('/a', { fields: [['cookie', 'sid=secret']] })).not.toContain('secret')
  })

  test('a value that is digested never imitates a key that is', () => {
    const path = `/${'a'.repeat(79 - '|cookie'.length)}`
    const long = variantKey(path, { fields: [['cookie', 'x'.repeat(600)], ...times(40)] })
    const crafted = variantKey(path, { fields: [['cookie', 'y'.repeat(600)]] })
    expect(long).toContain('#')
    expect(crafted).not.toContain('#')
    expect(variantKey('/a', { fields: [['accept', `!d${digest('z'.repeat(65))}`]] })).not.toBe(
      variantKey('/a', { fields: [['accept', 'z'.repeat(65)]] }),
    )
  })

  test('I1: different selections never share a key', () => {
    const fields = fc.uniqueArray(
      fc.tuple(
        fc.constantFrom('accept', 'accept-language', 'cookie', 'per', 'host'),
        fc.option(nasty, { nil: undefined }),
      ),
      { selector: ([name]) => name, maxLength: 3 },
    )
    const selector = fc.record({ principal: fc.option(nasty, { nil: undefined }), fields })
    const meaning = (s: { principal: string | undefined; fields: [string, string | undefined][] }): string =>
      JSON.stringify([s.principal ?? null, s.fields.map(([name, value]) => [name, value ?? null])])
    fc.assert(
      fc.property(
        selector,
        selector,
        (a, b) => (meaning(a) === meaning(b)) === (variantKey('/a', a) === variantKey('/a', b)),
      ),
      { numRuns: 2000 },
    )
  })
})

describe('groups', () => {
  test('names of any characters are told apart, and from namespaces', () => {
    fc.assert(
      fc.property(
        nasty,
        nasty,
        (a, b) => (a === b) === (encodeGroup(a) === encodeGroup(b)) && encodeGroup(a) !== namespaceGroup(b),
      ),
    )
  })

  test('an encoded name has no space, comma or line feed, which separate names in an entry', () => {
    fc.assert(fc.property(nasty, (name) => /^[^\s,]*$/.test(encodeGroup(name))))
  })
})
