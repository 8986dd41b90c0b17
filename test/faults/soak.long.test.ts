import { expect, test } from 'vitest'
import { problemsOf, soak } from './soak-run.js'

/** `npm run soak` is the long form. */
const SECONDS = 30

test(
  'traffic under one random fault after the other: nothing is wrong, old, lost or left behind',
  { timeout: 120_000 },
  async () => {
    const report = await soak(SECONDS)
    expect(Object.keys(report.faults).length).toBeGreaterThan(2)
    expect(report.findings.reads).toBeGreaterThan(1000)
    expect(problemsOf(report)).toEqual([])
  },
)
