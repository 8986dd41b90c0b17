import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatHttpDate, parseHttpDate } from '../../src/http/fields.js'
import { NOW } from './support.js'

const EXPECTED = Date.UTC(1994, 10, 6, 8, 49, 37)

describe('HTTP-dates', () => {
  test.each([
    'Sun, 06 Nov 1994 08:49:37 GMT',
    'Sunday, 06-Nov-94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994',
    'sun, 06 nov 1994 08:49:37 gmt',
    'SUNDAY, 06-NOV-94 08:49:37 GMT',
    '  Sun, 06 Nov 1994 08:49:37 GMT ',
  ])('RFC 9110 5.6.7: all three formats, in any case: %s', (text) => {
    expect(parseHttpDate(text, NOW)).toBe(EXPECTED)
  })

  test.each([
    '0',
    '',
    '-1',
    '1994-11-06T08:49:37Z',
    'Sun, 06 Nov 1994 08:49:37 +0000',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 24:49:37 GMT',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    'Sun, 06 Foo 1994 08:49:37 GMT',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:60:37 GMT',
    'Sun, 06 Nov 94 08:49:37 GMT',
    'Sun Nov  6 08:49:37 1994 GMT',
    'Sun, 06 Nov 1994 08:49:37 GMT, x',
  ])('RFC 9111 4.2: anything else is no date: %s', (text) => {
    expect(parseHttpDate(text, NOW)).toBeUndefined()
  })

  test('RFC 9110 5.6.7: a two-digit year more than 50 years ahead is in the past', () => {
    expect(parseHttpDate('Sunday, 06-Nov-76 08:49:37 GMT', NOW)).toBe(Date.UTC(2076, 10, 6, 8, 49, 37))
    expect(parseHttpDate('Sunday, 06-Nov-77 08:49:37 GMT', NOW)).toBe(Date.UTC(1977, 10, 6, 8, 49, 37))
  })

  test('a leap second is accepted', () => {
    expect(parseHttpDate('Sat, 31 Dec 2016 23:59:60 GMT', NOW)).toBe(Date.UTC(2017, 0, 1))
  })

  test('what is written is read again, to the second', () => {
    const instants = fc.integer({ min: 0, max: Date.UTC(9999, 0, 1) })
    fc.assert(fc.property(instants, (ms) => parseHttpDate(formatHttpDate(ms), NOW) === Math.floor(ms / 1000) * 1000))
  })
})
