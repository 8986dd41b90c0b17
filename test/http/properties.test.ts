import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseRequestDirectives, parseResponseDirectives, targetedDirectives } from '../../src/http/cache-control.js'
import { listMembers, mergeFields, parseContentRange, parseDeltaSeconds, parseHttpDate } from '../../src/http/fields.js'
import { parseAge } from '../../src/http/freshness.js'
import { groupList, invalidationOf } from '../../src/http/invalidation.js'
import { listNames, parseRange, sliceOf, weakMatch } from '../../src/http/conditions.js'
import { storableFields } from '../../src/http/storage.js'
import { normaliser } from '../../src/http/vary.js'
import { decide, hit, miss, NOW, policyOf, request, response, stored, value as fieldValue } from './support.js'

/** Characters that mean something to some parser here, so that random texts reach every branch. */
const piece = fc.constantFrom(
  ',',
  ';',
  '=',
  '"',
  '\\',
  ' ',
  '\t',
  '-',
  '/',
  '*',
  'W/',
  'q=',
  'q=0.5',
  'bytes',
  '0',
  '9',
  'max-age',
  'no-store',
  'private',
  'GMT',
  'é',
  '(',
  ')',
  '?1',
  'a',
)
const text = fc.oneof(
  fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join('')),
  fc.string({ maxLength: 60 }),
)

const PARSERS: Readonly<Record<string, (value: string) => unknown>> = {
  'request directives': parseRequestDirectives,
  'response directives': parseResponseDirectives,
  'targeted field': (value) => targetedDirectives(['X', value], ['x']),
  date: (value) => parseHttpDate(value, NOW),
  age: parseAge,
  'delta-seconds': parseDeltaSeconds,
  range: parseRange,
  'content-range': parseContentRange,
  'entity-tag list': (value) => listNames(value, '"v"'),
  'cache-groups': (value) => groupList(['Cache-Groups', value], 'cache-groups'),
  'cache-group-invalidation': (value) =>
    invalidationOf('POST', 'http://a/', { status: 200, headers: ['Cache-Group-Invalidation', value] }, policyOf()),
  'token list': listMembers,
  'vary list': normaliser('x-any'),
  'vary preferences': normaliser('accept'),
  'vary language': normaliser('accept-language', 'language'),
}

describe.each(Object.entries(PARSERS))('parser of %s', (_, parse) => {
  test('never throws', () => {
    fc.assert(fc.property(text, (value) => void parse(value)))
  })

  test('takes linear time on hostile input', () => {
    const hostile = [
      'a,',
      '",',
      '"\\',
      'a="',
      '=',
      'max-age=',
      ';',
      ' ',
      '\t,',
      'W/"a",',
      '0',
      '-',
      'bytes=',
      'q=0.5;',
      '("a" ',
      '"a";a=1,',
      '((',
      'x="\\',
    ]
    for (const unit of hostile) {
      const input = unit.repeat(Math.ceil(HOSTILE_CHARACTERS / unit.length))
      const before = process.cpuUsage()
      parse(input)
      const { user, system } = process.cpuUsage(before)
      expect((user + system) / 1000).toBeLessThan(QUADRATIC_MS)
    }
  })
})

/** Far over what Node accepts as a header, so that the two kinds of work are three orders of magnitude apart. */
const HOSTILE_CHARACTERS = 256 * 1024
/** CPU time, not time that passes: linear work takes some milliseconds of it, quadratic work over a minute. */
const QUADRATIC_MS = 5000

describe('Cache-Control', () => {
  const name = fc.constantFrom('no-store', 'No-Cache', 'private', 'public', 'x', 'must-revalidate')
  const filler = fc.constantFrom('', ' ', 'foo', 'a="b, c"', 'x="y\\"z"', 'bar=1')

  test('a prohibition counts wherever it stands between well-formed members', () => {
    fc.assert(
      fc.property(fc.array(filler), fc.array(filler), (before, after) => {
        const field = [...before, 'no-store', ...after].join(',')
        return parseResponseDirectives(field).noStore && parseRequestDirectives(field).noStore
      }),
    )
  })

  test('case and white space make no difference', () => {
    fc.assert(
      fc.property(fc.array(name, { maxLength: 5 }), (members) => {
        expect(parseResponseDirectives(members.join(' ,\t').toUpperCase())).toEqual(
          parseResponseDirectives(members.join(',')),
        )
      }),
    )
  })

  test('numbers are those that digits say, up to 2^31', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        (seconds) => parseResponseDirectives(`max-age=${seconds}`).maxAge === Math.min(seconds, 2 ** 31),
      ),
    )
  })
})

describe('entity-tags', () => {
  const etag = fc
    .tuple(fc.boolean(), fc.stringMatching(/^[!#-~]{0,6}$/))
    .map(([weak, opaque]) => `${weak ? 'W/' : ''}"${opaque}"`)

  test('weak comparison is symmetric and reflexive', () => {
    fc.assert(
      fc.property(etag, etag, (one, other) => weakMatch(one, other) === weakMatch(other, one) && weakMatch(one, one)),
    )
  })

  test('a list names a tag exactly when one of its members matches', () => {
    fc.assert(
      fc.property(fc.array(etag, { maxLength: 6 }), etag, fc.constantFrom(',', ', ', ' ,\t'), (tags, tag, comma) => {
        return listNames(tags.join(comma), tag) === tags.some((member) => weakMatch(member, tag))
      }),
    )
  })
})

describe('ranges', () => {
  test('a slice is what naive slicing gives', () => {
    const bound = fc.option(fc.nat(40), { nil: undefined })
    fc.assert(
      fc.property(bound, bound, fc.nat(30), (first, last, length) => {
        const spec = parseRange(`bytes=${first ?? ''}-${last ?? ''}`)
        if (spec === undefined) return first === undefined ? last === undefined : last !== undefined && last < first
        const bytes = Array.from({ length }, (_, index) => index)
        const naive =
          first === undefined
            ? bytes.slice(Math.max(0, length - (last ?? 0)))
            : bytes.slice(first, last === undefined ? undefined : last + 1)
        const slice = sliceOf(spec, length)
        if (slice === 'whole') return length === 0 && first === undefined
        if (slice === 'unsatisfiable') return naive.length === 0
        return JSON.stringify(bytes.slice(slice.first, slice.last + 1)) === JSON.stringify(naive) && slice.last < length
      }),
      { numRuns: 2000 },
    )
  })
})

describe('header lists', () => {
  const field = fc.tuple(
    fc.constantFrom(
      'Connection',
      'connection',
      'X-A',
      'x-a',
      'X-B',
      'Keep-Alive',
      'Set-Cookie',
      'TE',
      'Proxy-X',
      'Date',
      'Vary',
    ),
    fc.constantFrom('x-a', 'X-B, close', 'v', ''),
  )
  const headers = fc.array(field, { maxLength: 10 }).map((fields) => fields.flat())

  test('the stored fields of stored fields are the same', () => {
    fc.assert(
      fc.property(headers, (list) => void expect(storableFields(storableFields(list))).toEqual(storableFields(list))),
    )
  })

  test('stored fields are a subsequence of what was sent', () => {
    fc.assert(
      fc.property(headers, (list) => {
        const kept = storableFields(list)
        let from = 0
        for (let index = 0; index < kept.length; index += 2) {
          while (from < list.length && (list[from] !== kept[index] || list[from + 1] !== kept[index + 1])) from += 2
          if (from >= list.length) return false
          from += 2
        }
        return true
      }),
    )
  })

  test('RFC 9111 3.2: merging gives every line of the update, and of the base what the update does not name', () => {
    fc.assert(
      fc.property(headers, headers, (base, update) => {
        const named = new Set(update.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase()))
        const merged = mergeFields(base, update)
        const pairs = (list: readonly string[]) =>
          list.flatMap((line, index) => (index % 2 === 0 ? [`${line.toLowerCase()}:${list[index + 1]}`] : []))
        const kept = pairs(base).filter((pair) => !named.has(pair.slice(0, pair.indexOf(':'))))
        expect(pairs(merged).sort()).toEqual([...kept, ...pairs(update)].sort())
        expect(mergeFields(merged, update).length).toBe(merged.length)
      }),
    )
  })
})

describe('Vary values', () => {
  test('normalising twice is normalising once', () => {
    for (const normalise of [normaliser('x-any'), normaliser('accept'), normaliser('x', 'exact')]) {
      fc.assert(fc.property(text, (value) => normalise(normalise(value)) === normalise(value)))
    }
  })

  test('absent and present never compare equal', () => {
    fc.assert(
      fc.property(
        text,
        (value) => normaliser('accept')(value) !== undefined && normaliser('accept')(undefined) === undefined,
      ),
    )
  })
})

describe('decisions', () => {
  const headerValue = text.map((value) => value.replace(/[\r\n]/g, ''))
  const fields = fc.dictionary(
    fc.constantFrom(
      'cache-control',
      'if-none-match',
      'if-modified-since',
      'range',
      'if-range',
      'authorization',
      'accept',
    ),
    headerValue,
  )
  const responseName = fc.constantFrom(
    'Cache-Control',
    'Expires',
    'Date',
    'Age',
    'ETag',
    'Last-Modified',
    'Vary',
    'Cache-Groups',
    'Redis-Cache-Control',
    'Connection',
    'Content-Encoding',
  )
  const headers = fc.array(fc.tuple(responseName, headerValue), { maxLength: 5 }).map((pairs) => pairs.flat())
  const options = fc.constantFrom(
    {},
    { ttl: 60 },
    { preset: 'rfc9111' as const },
    { preset: 'rfc9111' as const, ttl: 0, heuristic: 0.1 },
  )

  test('no request and no response makes them throw, and an entry is never of use after it is gone', () => {
    fc.assert(
      fc.property(
        fields,
        headers,
        options,
        fc.constantFrom('GET', 'HEAD', 'PUT', 'POST'),
        (asked, list, route, method) => {
          const run = { options: route, request: request(asked, method), response: response(list) }
          miss(run)
          const decision = decide(run)
          if (!decision.store) return
          const entry = stored(run)
          const { freshUntil, staleUntil, errorUntil } = entry
          expect(Math.max(freshUntil, staleUntil, errorUntil)).toBeGreaterThan(NOW)
          expect(Number.isNaN(freshUntil + staleUntil + errorUntil + entry.initialAgeMs)).toBe(false)
          hit(entry, { options: route, request: request(asked) })
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('an answer never has both an Age and a lifetime that shrinks', () => {
    fc.assert(
      fc.property(headers, options, fc.integer({ min: 1, max: 50 }), (list, route, seconds) => {
        const run = { options: route, response: response(list) }
        if (!decide(run).store) return
        const [early, late] = [hit(stored(run), run), hit(stored(run), { ...run, now: NOW + seconds * 1000 })]
        const shrinks = fieldValue(early, 'cache-control') !== fieldValue(late, 'cache-control')
        expect(shrinks && fieldValue(late, 'age') !== undefined).toBe(false)
      }),
    )
  })
})
