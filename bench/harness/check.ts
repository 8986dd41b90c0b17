import type { Outcome } from './row.js'
import { type Committed, readResults } from './report.js'
import type { Spread } from './stats.js'

/** Part of a ratio that is another machine's, and not a slower change: caches and clock rates differ. */
const MACHINE_PART = 0.1

/** Standard errors of both medians together. Three are exceeded by chance once in some hundred rows. */
const ERRORS = 3

/** The median of many normally distributed values has 0.93 quartile distances over the root of their number as its error. */
const ERROR_OF_MEDIAN = 0.93

export interface Slower {
  readonly outcome: Outcome
  readonly was: number
  readonly is: number
  /** The least that would have done. */
  readonly least: number
}

/** Rows whose CPU ratio is lower than the committed one, by more than both spreads and another machine explain. */
export function slower(outcomes: readonly Outcome[], rounds: number): Slower[] {
  const committed = readResults()
  return outcomes.flatMap((outcome) => {
    const before = committed.rows.find(({ id, what }) => id === outcome.id && what === outcome.what)
    if (before?.cpu === undefined || outcome.cpu === undefined) return []
    const least = leastOf(before.cpu, committed.rounds, outcome.cpu, rounds)
    const { median: is } = outcome.cpu
    return is < least ? [{ outcome, was: before.cpu.median, is, least }] : []
  })
}

/** How many of the outcomes have a committed line. */
export function comparable(outcomes: readonly Outcome[], rows: readonly Committed[] = readResults().rows): number {
  return outcomes.filter(
    ({ id, what, cpu }) => cpu && rows.some((row) => row.id === id && row.what === what && row.cpu),
  ).length
}

export function leastOf(before: Spread, beforeRounds: number, now: Spread, nowRounds: number): number {
  const error = ({ low, high }: Spread, rounds: number): number =>
    (ERROR_OF_MEDIAN * (high - low)) / Math.sqrt(Math.max(rounds, 1))
  const spread = Math.hypot(error(before, beforeRounds), error(now, nowRounds))
  return before.median * (1 - MACHINE_PART) - ERRORS * spread
}

export function told({ outcome: { id, what }, was, is, least }: Slower): string {
  return `${id} ${what}: CPU ratio ${is.toFixed(2)}, committed ${was.toFixed(2)}, at least ${least.toFixed(2)} expected`
}
