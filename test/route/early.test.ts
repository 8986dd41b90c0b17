import { afterEach, expect, test, vi } from 'vitest'
import { isDueEarly } from '../../src/route/cached-route.js'

afterEach(() => vi.restoreAllMocks())

/** A hit `at` ms into a lifetime of 100 ms with `earlyRefresh: 0.5`, with a draw of 0 to 1. */
function isDue(at: number, draw: number, part = 0.5, freshUntil = 100): boolean {
  vi.spyOn(Math, 'random').mockReturnValue(draw)
  return isDueEarly({ storedAt: 0, freshUntil, staleUntil: freshUntil, errorUntil: freshUntil }, at, part)
}

test('a hit refreshes early only in the last part of the lifetime, and the likelier the later', () => {
  expect([isDue(0, 0.999), isDue(49, 0.999), isDue(50, 0.999)]).toEqual([false, false, false])
  expect([isDue(51, 0.9), isDue(51, 0.99)]).toEqual([false, true])
  expect([isDue(75, 0.49), isDue(75, 0.51)]).toEqual([false, true])
  expect([isDue(99, 0.01), isDue(99, 0.03)]).toEqual([false, true])
})

test('no early refresh without the option, or of an entry without an end', () => {
  expect([isDue(99, 0.999, 0), isDue(99, 0.999, 0.5, Infinity)]).toEqual([false, false])
})
