import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeEntry, decodeStamp, ENTRY_FORMAT, encodeEntry, HEAD_BYTES } from '../../src/store/codec.js'
import type { Entry } from '../../src/store/entry.js'
import { makeEntry } from '../support/entries.js'

const latin1 = fc.string({
  unit: fc
    .integer({ min: 1, max: 255 })
    .filter((code) => code !== 10)
    .map((code) => String.fromCharCode(code)),
  maxLength: 12,
})
const instant = fc.oneof(fc.double({ min: 0, max: 1e15, noNaN: true }), fc.constant(Infinity))

const entry: fc.Arbitrary<Entry> = fc.record({
  kind: fc.constantFrom('response', 'value', 'pass', 'variants'),
  flags: fc.nat(65_535),
  status: fc.nat(999),
  storedAt: fc.nat(2e9),
  stamp: fc.nat(2e9),
  freshUntil: instant,
  staleUntil: instant,
  errorUntil: instant,
  initialAgeMs: fc.nat(1e9),
  family: fc.constantFrom('', 'f4mily'),
  groups: fc.array(fc.stringMatching(/^[a-z!.]{1,8}$/), { maxLength: 4 }).map((names) => ['', ...names]),
  headers: fc.array(fc.tuple(latin1, latin1), { maxLength: 6 }).map((fields) => fields.flat()),
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

test('an entry with 8 headers and one group takes at most 400 bytes beside its body', () => {
  const headers = Array.from({ length: 8 }, (_, index) => [`x-header-name-${index}`, `value-of-header-${index}`]).flat()
  const one = makeEntry({ headers, groups: ['', 'products'] })
  expect((encodeEntry(one) as Buffer).length - one.body.length).toBeLessThanOrEqual(400)
})

test('stamps are one number or two; anything else is a lost stamp', () => {
  expect(decodeStamp(Buffer.from('1700000000000001'))).toEqual({ hard: 1_700_000_000_000_001, soft: 0 })
  expect(decodeStamp(Buffer.from('5 7'))).toEqual({ hard: 5, soft: 7 })
  for (const text of ['', 'x', '5 x', '5 6 7', '-1', 'NaN']) expect(decodeStamp(Buffer.from(text))).toBeUndefined()
})
