import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeEntry, decodeGroupStamp, ENTRY_FORMAT, encodeEntry, HEAD_BYTES } from '../../src/store/entry.js'
import type { Entry } from '../../src/store/entry.js'
import { makeEntry } from '../support/entries.js'

const value = fc.string({
  unit: fc
    .oneof(fc.constant(9), fc.integer({ min: 32, max: 126 }), fc.integer({ min: 128, max: 255 }))
    .map((code) => String.fromCharCode(code)),
  maxLength: 12,
})
const name = fc.stringMatching(/^X-[!#$%&'*+.^_`|~0-9A-Za-z-]{0,8}$/)
const instant = fc.oneof(fc.double({ min: 0, max: 1e15, noNaN: true }), fc.constant(Infinity))

const entry: fc.Arbitrary<Entry> = fc.record({
  kind: fc.constantFrom('response', 'value', 'variants'),
  flags: fc.nat(65_535),
  status: fc.integer({ min: 200, max: 599 }),
  storedAt: fc.nat(2e9),
  incarnation: fc.nat(2e9),
  stamp: fc.nat(2e9),
  writeStamp: fc.nat(2e9),
  ownGroups: fc.array(fc.stringMatching(/^[a-z!.]{1,8}$/), { maxLength: 2 }),
  freshUntil: instant,
  staleUntil: instant,
  errorUntil: instant,
  initialAgeMs: fc.nat(1e9),
  softened: fc.boolean(),
  groups: fc.array(fc.stringMatching(/^[a-z!.]{1,8}$/), { maxLength: 4 }).map((names) => ['', ...names]),
  headers: fc.array(fc.tuple(name, value), { maxLength: 6 }).map((fields) => fields.flat()),
  body: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  memo: fc.constant(undefined),
})

test('every entry decodes to what was encoded', () => {
  fc.assert(fc.property(entry, (one) => void expect(decodeEntry(encodeEntry(one) as Buffer)).toEqual(one)))
})

test('foreign, truncated, extended and other-format strings are no entries, and never throw', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      (bytes) => void expect(decodeEntry(Buffer.from(bytes.fill(7, 0, 1)))).toBeUndefined(),
    ),
  )
  fc.assert(
    fc.property(entry, fc.nat(), (one, cut) => {
      const bytes = encodeEntry(one) as Buffer
      expect(decodeEntry(bytes.subarray(0, cut % bytes.length))).toBeUndefined()
      expect(decodeEntry(Buffer.concat([bytes, Buffer.from('x')]))).toBeUndefined()
      bytes[0] = ENTRY_FORMAT + 1
      expect(decodeEntry(bytes)).toBeUndefined()
    }),
  )
})

test('bytes of a head in any disorder never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: HEAD_BYTES, maxLength: HEAD_BYTES + 40 }), (bytes) => {
      bytes[0] = ENTRY_FORMAT
      decodeEntry(Buffer.from(bytes))
    }),
  )
})

test('a header field with a line feed or a character outside latin1 is refused, not split', () => {
  expect(encodeEntry(makeEntry({ headers: ['x', 'a\nset-cookie'] }))).toBeUndefined()
  expect(encodeEntry(makeEntry({ headers: ['x', 'π'] }))).toBeUndefined()
})

/** Replaces text in a stored entry by other text of the same length, as a foreign program would. */
function tampered(headers: readonly string[], from: string, to: string): Entry | undefined {
  const bytes = encodeEntry(makeEntry({ headers })) ?? Buffer.alloc(0)
  bytes.write(to, bytes.indexOf(from), 'latin1')
  return decodeEntry(bytes)
}

test.each([
  ['a carriage return in a value', 'value', 'va\rue'],
  ['NUL in a value', 'value', 'va\0ue'],
  ['a name that is no token', 'x-a-name', 'x a name'],
  ['an empty name', 'x-a-name\nvalue', '\nx-a-namevalue'],
  ['Transfer-Encoding', 'x-a-name-and-more', 'Transfer-Encoding'],
  ['Connection', 'x-a-name-l', 'connection'],
  ['Keep-Alive', 'x-a-name-l', 'Keep-Alive'],
])('a stored response with %s is a miss (5.7)', (_, from, to) => {
  const headers = from.startsWith('x-a-name') ? [from.split('\n')[0] ?? '', 'value'] : ['x-a-name', 'value']
  expect(tampered(headers, from, from)).toBeDefined()
  expect(tampered(headers, from, to)).toBeUndefined()
})

test.each([0, 100, 101, 199, 600, 999, 65_535])('a stored response with status %d is a miss (5.7)', (status) => {
  expect(decodeEntry(encodeEntry(makeEntry({ status })) as Buffer)).toBeUndefined()
})

test('an entry with 8 headers and one group takes at most 400 bytes beside its body', () => {
  const headers = Array.from({ length: 8 }, (_, index) => [`x-header-name-${index}`, `value-of-header-${index}`]).flat()
  const one = makeEntry({ headers, groups: ['', 'products'] })
  expect((encodeEntry(one) as Buffer).length - one.body.length).toBeLessThanOrEqual(400)
})

test('the stamp of a group is three numbers; a mark and anything else is a missing one', () => {
  expect(decodeGroupStamp('7 1700000000000001 0')).toEqual({ incarnation: 7, hard: 1_700_000_000_000_001, soft: 0 })
  expect(decodeGroupStamp(Buffer.from('7 5 8'))).toEqual({ incarnation: 7, hard: 5, soft: 8 })
  for (const text of ['', 'x', '5', '5 6', '5 6 7 8', '?mark', '7 -1 0', '7 NaN 0', '7 5 8 '])
    expect(decodeGroupStamp(text)).toBeUndefined()
})
