import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { OptionsError } from '../../src/errors.js'
import { HTTP_OPTIONS, resolveOptions } from '../../src/http/index.js'
import { principalText } from '../../src/route/principal.js'
import { type CacheEvictOptions, type CacheOptions, ROUTE_OPTIONS } from '../../src/route/options.js'
import { checkNames, resolveEvictPolicy, resolvePolicy, type RouteDefaults } from '../../src/route/policy.js'

const DEFAULTS: RouteDefaults = { defaultTtlMs: 0, defaults: {}, host: false, path: {}, prefixProblem: () => undefined }

const policyOf = (options: unknown) => resolvePolicy('here', options as CacheOptions<unknown>, DEFAULTS)

const evictPolicyOf = (options: unknown) => resolveEvictPolicy('here', options as CacheEvictOptions<unknown>, DEFAULTS)

function problemsOf(resolve: (options: unknown) => unknown, options: unknown): readonly string[] {
  try {
    resolve(options)
  } catch (error) {
    if (error instanceof OptionsError) return error.problems
    throw error
  }
  return []
}

describe('options of a route', () => {
  test.each([
    [{ jitter: '0.1' }, "jitter: '0.1' must be a fraction from 0 to 1"],
    [{ enabled: 'false' }, "enabled: 'false' must be true or false"],
    [{ enabled: 0 }, 'enabled: 0 must be true or false'],
    [{ enabled: () => false }, 'enabled: a function must be true or false'],
    [{ earlyRefresh: 2 }, 'earlyRefresh: 2 must be a fraction from 0 to 1'],
    [
      { wait: 'soon' },
      "wait: 'soon' is not a duration; write a number of seconds, or '500ms', '30s', '5m', '2h', '1d'",
    ],
    [{ lease: 0 }, 'lease: a lease of 0 leaves no time; write a duration'],
    [{ concurrency: 0 }, 'concurrency: 0 must be a whole number of at least 1'],
    [{ concurrency: '2' }, "concurrency: '2' must be a whole number of at least 1"],
    [{ concurrency: 2, wait: 0 }, 'concurrency: excludes `wait: 0`, with which no request waits for its turn'],
    [{ key: '/a' }, "key: '/a' must be a function of the request"],
    [{ per: 'user' }, "per: 'user' must be true, for the application's `principal`, or a function of the request"],
    [{ query: ['a'] }, 'query: a list must be an object with `ignore`, `only` or `sort`'],
    [{ query: { only: 'a' } }, "query.only: 'a' must be a list of parameter names"],
    [{ query: { sort: 'no' } }, "query.sort: 'no' must be true or false"],
    [{ query: { only: ['a', 5] } }, 'query.only: a list must be a list of parameter names'],
    [{ query: { only: [], ignore: [] } }, 'query: `ignore` and `only` cannot be combined'],
    [{ vary: 5 }, "vary: 5 must name request fields, or be an object such as { cookie: 'lang' }"],
    [
      { vary: { Accept: 'some' } },
      "vary.Accept: 'some' must be 'list', 'exact' or 'language' for a request field, a function of the request, or { value: (request) => …, from: 'field' }",
    ],
    [
      { vary: { tenant: { value: String } } },
      "vary.tenant: an object must be 'list', 'exact' or 'language' for a request field, a function of the request, or { value: (request) => …, from: 'field' }",
    ],
    [{ vary: { tenant: { value: String, from: 'a b' } } }, "vary.tenant.from: 'a b' is not the name of a header field"],
    [{ vary: { cookie: [] } }, "vary.cookie: a list is not the name of a cookie, such as 'lang'"],
    [{ vary: { cookie: 'a;b' } }, "vary.cookie: 'a;b' is not the name of a cookie, such as 'lang'"],
    [{ invalidateLocations: 'all' }, "invalidateLocations: 'all' must be one of true, false, 'created'"],
  ])('a value is refused with what is right: %o', (options, problem) => {
    expect(problemsOf(policyOf, options)).toEqual([problem])
  })

  test.each([
    { query: { only: ['a'], sort: false } },
    { key: () => 'a', per: () => 'u' },
    { group: ['a'], enabled: false },
  ])('these are right: %o', (options) => expect(problemsOf(policyOf, options)).toEqual([]))

  test.each([
    ['tll', 'ttl'],
    ['TTL', 'ttl'],
    ['groups', 'group'],
    ['staleIfErorr', 'staleIfError'],
  ])('a misspelt name is answered with the nearest: %s', (name, near) => {
    expect(problemsOf(policyOf, { [name]: 1 })).toEqual([
      `${name}: there is no such option (given: 1); did you mean \`${near}\`?`,
    ])
  })

  test('a name that resembles none is answered with all of them', () => {
    const [problem] = problemsOf(policyOf, { colour: 1 })
    for (const name of ['ttl', 'vary', 'group', 'per', 'enabled']) expect(problem).toContain(name)
  })

  test('cacheEvict', () => {
    expect(problemsOf(evictPolicyOf, { key: '/a', mode: 'sof' })).toEqual([
      "key: '/a' must be 'path', a list of key parts, or a function of the request and the result",
      "mode: 'sof' must be one of 'hard', 'soft'",
    ])
    expect(problemsOf(evictPolicyOf, { ttl: 5, group: 'a' })).toEqual([
      expect.stringContaining('ttl: there is no such option'),
    ])
    expect(evictPolicyOf({ group: 'a' }).mode).toBe('hard')
  })

  test('a principal may be a number or a bigint', () => {
    const principal = (value: unknown) => principalText(value as string, 'per')
    expect([principal(42), principal(42n), principal('42'), principal(0)]).toEqual(['42', '42', '42', '0'])
    expect([NaN, undefined, null, ''].map(principal)).toEqual([undefined, undefined, undefined, undefined])
    for (const wrong of [true, false, {}, ['a']])
      expect(() => principal(wrong)).toThrow(/result of `per`[^]*must be a string/)
  })

  test('the defaults of a route are those of its row', () => {
    const { http } = policyOf({})
    for (const name of ['etag', 'partial', 'jitter', 'maxBodyBytes', 'encoded', 'collapse'] as const) {
      expect(http[name]).toBe(HTTP_OPTIONS[name].app)
    }
  })
})

test('the tables of the docs and the defaults in comments are those of the rows', () => {
  const script = join(import.meta.dirname, '../../scripts/option-tables.mjs')
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
})

describe('every option refuses what it cannot mean, naming itself', () => {
  // What each option takes of these values. A new option has to be added, or refuses them all.
  const WRONG: readonly (readonly [string, unknown])[] = [
    ['a text', 'false'],
    ['minus one', -1],
    ['NaN', Number.NaN],
    ['null', null],
    ['a symbol', Symbol('x')],
    ['an empty object', {}],
  ]
  const TAKES: Readonly<Record<string, readonly string[]>> = {
    cacheStatus: ['a text'],
    group: ['a text'],
    query: ['an empty object'],
    targets: ['a text'],
    vary: ['a text', 'an empty object'],
  }
  const names = [...new Set([...Object.keys(HTTP_OPTIONS), ...Object.keys(ROUTE_OPTIONS)])].filter(
    (name) => name !== 'prefix',
  )
  const table = { ...HTTP_OPTIONS, ...ROUTE_OPTIONS }

  test.each(names.flatMap((name) => WRONG.map(([what, value]) => [name, what, value] as const)))(
    '%s: %s',
    (name, what, value) => {
      const problems: string[] = []
      resolveOptions(table, { [name]: value }, 'app', problems)
      expect(problems.length === 0).toBe(TAKES[name]?.includes(what) === true)
      expect(problems.filter((problem) => !problem.startsWith(`${name}:`) && !problem.startsWith(`${name}.`))).toEqual(
        [],
      )
    },
  )

  test.each(names.filter((name) => name.length > 3))('%s misspelt is answered with its name', (name) => {
    const swapped = `${name.slice(0, 2)}${name[3]}${name[2]}${name.slice(4)}`
    const snake = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    for (const wrong of new Set([name.slice(0, -1), `${name}s`, swapped, snake, name.toUpperCase()])) {
      if (names.includes(wrong)) continue
      const problems: string[] = []
      checkNames({ [wrong]: 1 }, 'entry', problems)
      expect(problems).toEqual([expect.stringMatching(/did you mean `\w+`\?$/)])
    }
  })
})

test.each([
  [
    { key: String, query: { only: ['a'] } },
    'query: has no effect with `key`, which takes its place; leave one of the two out',
  ],
  [{ key: String, host: true }, 'host: has no effect with `key`, which takes its place; leave one of the two out'],
  [{ collapse: false, wait: 1 }, 'wait: has no effect with `collapse: false`; leave one of the two out'],
  [
    { etag: false, clientMaxAge: 0 },
    'clientMaxAge: `0` needs an ETag for clients to ask by, and `etag` is false; leave one of the two out',
  ],
])('options of which one leaves the other without effect: %o', (options, problem) => {
  expect(problemsOf(policyOf, { ttl: 60, ...options })).toEqual([problem])
})
