import { expect, test } from 'vitest'
import { Rates } from '../../src/operate/rates.js'
import type { ProcessReport } from '../../src/report/types.js'

const ALL = { kind: 'route', name: '' } as const
const ROUTE = { kind: 'route', name: 'GET /a' } as const

function report(id: string, at: number, hits: number, name: string = ROUTE.name): ProcessReport {
  const stats = { hits, stale: 0, misses: { absent: 1 }, bypasses: {} }
  return { id, at, origins: [{ kind: 'route', name, stats }] } as unknown as ProcessReport
}

test('what was counted before one began to look is in no rate', () => {
  const rates = new Rates()
  expect(rates.next([])(ALL)).toBeNull()
  expect(rates.next([report('one', 1000, 5000)])(ALL)).toBeNull()
  const rateOf = rates.next([report('one', 3000, 5010)])
  expect([rateOf(ALL), rateOf(ROUTE), rateOf({ kind: 'namespace', name: 'x' })]).toEqual([5, 5, 0])
})

test('a process that begins to report, and one that starts anew, add nothing that no interval has', () => {
  const rates = new Rates()
  rates.next([report('one', 1000, 100)])
  expect(rates.next([report('one', 2000, 110), report('two', 1900, 90_000)])(ALL)).toBe(10)
  expect(rates.next([report('one', 3000, 120), report('two', 3900, 90_010)])(ROUTE)).toBe(15)
  expect(rates.next([report('one', 4000, 0), report('two', 4900, 90_020)])(ALL)).toBe(10)
})

test('a report that is read twice keeps its rate, and a route that appears has one with the next report', () => {
  const rates = new Rates()
  rates.next([report('one', 1000, 100)])
  rates.next([report('one', 2000, 110)])
  expect(rates.next([report('one', 2000, 110)])(ALL)).toBe(10)
  expect(rates.next([report('one', 3000, 700, 'GET /b')])(ALL)).toBe(0)
  expect(rates.next([report('one', 4000, 707, 'GET /b')])({ kind: 'route', name: 'GET /b' })).toBe(7)
})
