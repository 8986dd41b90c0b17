import { describe, expect, test } from 'vitest'
import { leastOf } from '../../bench/harness/check.js'

const ratio = (median: number, quartile: number) => ({ low: median - quartile, median, high: median + quartile })

describe('a CPU ratio against the committed one', () => {
  test('may be a tenth lower, for another machine', () => {
    expect(leastOf(ratio(1, 0), 12, ratio(0.9, 0), 8)).toBeCloseTo(0.9)
  })

  test('may be lower by what the spreads of both runs explain, and more rounds explain less', () => {
    const few = leastOf(ratio(1, 0.05), 4, ratio(0.8, 0.05), 4)
    expect(few).toBeLessThan(0.8)
    expect(leastOf(ratio(1, 0.05), 64, ratio(0.8, 0.05), 64)).toBeGreaterThan(few)
    expect(leastOf(ratio(1, 0.02), 12, ratio(0.8, 0.02), 8)).toBeGreaterThan(0.8)
  })
})
