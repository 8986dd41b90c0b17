import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseRates, type Rate } from '../../src/limit/rate.js'
import { type Algorithm, charge, inspect, refund, type Sections, SLOTS } from '../../src/limit/window.js'

function ratesOf(...input: { limit: number; windowMs: number; burst?: number }[]): Rate[] {
  return input.map(({ limit, windowMs, burst = limit }) => ({ name: `w${windowMs}`, limit, windowMs, burst }))
}

interface Step {
  readonly waitMs: number
  readonly cost: number
}

const steps = (windowMs: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.record({
      waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: windowMs })),
      cost: fc.integer({ min: 1, max: 3 }),
    }),
    { maxLength: 60 },
  )

interface Hit {
  readonly at: number
  readonly units: number
}

/** Runs steps, and notes what was admitted. */
function run(
  algorithm: Algorithm,
  rates: Rate[],
  all: Step[],
  each?: (state: Sections, at: number, step: Step) => void,
): Hit[] {
  const sections: Sections = new Map()
  const hits: Hit[] = []
  let at = 1_700_000_000_000
  for (const step of all) {
    at += step.waitMs
    each?.(sections, at, step)
    const outcomes = charge(sections, { algorithm, rates, cost: step.cost }, at * 1000)
    if (outcomes.every((outcome) => outcome.retryMs === 0)) hits.push({ at, units: step.cost })
  }
  return hits
}

function unitsIn(hits: readonly Hit[], from: number, to: number): number {
  return hits.filter(({ at }) => at >= from && at <= to).reduce((sum, { units }) => sum + units, 0)
}

describe('sliding window', () => {
  test('never lets more than the limit pass in any window of its length', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 500 }),
        steps(500),
        (limit, windowMs, all) => {
          const hits = run('sliding-window', ratesOf({ limit, windowMs }), all)
          for (const { at } of hits) expect(unitsIn(hits, at, at + windowMs)).toBeLessThanOrEqual(limit)
        },
      ),
    )
  })

  test('up to a limit of 16 it is an exact log; above, a unit returns at most a sixteenth of a window late', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 16, max: 500 }),
        steps(500),
        (limit, windowMs, all) => {
          const hits: Hit[] = []
          const sections: Sections = new Map()
          const rates = ratesOf({ limit, windowMs })
          const late = limit <= 16 ? 0 : Math.ceil(windowMs / SLOTS)
          let at = 1_700_000_000_000
          for (const { waitMs, cost } of all) {
            at += waitMs
            const [outcome] = charge(sections, { algorithm: 'sliding-window', rates, cost }, at * 1000)
            const before = unitsIn(hits, at - windowMs - late, at)
            const allowed = outcome?.retryMs === 0
            if (allowed) hits.push({ at, units: cost })
            expect(allowed || before + cost > limit).toBe(true)
          }
        },
      ),
    )
  })
})

test('a fixed window lets its limit pass from its first hit to its end, and no more', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 500 }),
      steps(500),
      (limit, windowMs, all) => {
        const hits = run('fixed-window', ratesOf({ limit, windowMs }), all)
        let start = -Infinity
        let units = 0
        for (const hit of hits) {
          if (hit.at >= start + windowMs) [start, units] = [hit.at, 0]
          units += hit.units
          expect(units).toBeLessThanOrEqual(limit)
        }
      },
    ),
  )
})

test('a token bucket lets burst and what came back since pass in any window', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 30 }),
      fc.integer({ min: 10, max: 500 }),
      steps(500),
      (limit, burst, windowMs, all) => {
        const hits = run('token-bucket', ratesOf({ limit, windowMs, burst }), all)
        for (const { at } of hits) {
          for (const { at: to } of hits.filter((hit) => hit.at >= at)) {
            expect(unitsIn(hits, at, to)).toBeLessThanOrEqual(burst + ((to - at) * limit) / windowMs + 1e-6)
          }
        }
      },
    ),
  )
})

const algorithms: Algorithm[] = ['sliding-window', 'fixed-window', 'token-bucket']

describe.each(algorithms)('%s', (algorithm) => {
  test('starts with exactly its limit', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), (limit) => {
        const all = Array.from({ length: limit + 5 }, () => ({ waitMs: 0, cost: 1 }))
        expect(run(algorithm, ratesOf({ limit, windowMs: 60_000 }), all)).toHaveLength(limit)
      }),
    )
  })

  test('`retryMs` is exact: refused a millisecond before, allowed at it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 2, max: 500 }),
        steps(500),
        (limit, windowMs, all) => {
          const rates = ratesOf({ limit, windowMs }, { limit: limit * 2, windowMs: windowMs * 3 })
          run(algorithm, rates, all, (sections, at, { cost }) => {
            const ask = (ms: number) => inspect(structuredClone(sections), { algorithm, rates, cost }, (at + ms) * 1000)
            const retryMs = Math.max(...ask(0).map((outcome) => outcome.retryMs))
            if (retryMs === 0 || retryMs === Infinity) return
            expect(ask(retryMs).every((outcome) => outcome.retryMs === 0)).toBe(true)
            expect(ask(retryMs - 1).some((outcome) => outcome.retryMs > 0)).toBe(true)
          })
        },
      ),
    )
  })

  test('several rates are one decision: where one refuses, none is charged', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 }), steps(300), (limit, all) => {
        const rates = ratesOf({ limit, windowMs: 100 }, { limit: limit * 2, windowMs: 300 })
        run(algorithm, rates, all, (sections, at, { cost }) => {
          const before = structuredClone(sections)
          const outcomes = charge(structuredClone(sections), { algorithm, rates, cost }, at * 1000)
          if (outcomes.every((outcome) => outcome.retryMs === 0)) return
          const after = structuredClone(sections)
          charge(after, { algorithm, rates, cost }, at * 1000)
          const seen = (state: Sections) => inspect(structuredClone(state), { algorithm, rates, cost: 0 }, at * 1000)
          expect(seen(after)).toEqual(seen(before))
        })
      }),
    )
  })

  test('a cost above the limit is refused for good, and says so', () => {
    const [outcome] = charge(new Map(), { algorithm, rates: ratesOf({ limit: 2, windowMs: 100 }), cost: 3 }, 1e15)
    expect(outcome).toMatchObject({ retryMs: Infinity, remaining: 2 })
  })

  test('units that are given back to a hit whose window is over go to nobody', () => {
    const rates = ratesOf({ limit: 20, windowMs: 160 })
    const call = { algorithm, rates, cost: 5 }
    const sections: Sections = new Map()
    const start = 1_700_000_000_000
    charge(sections, call, start * 1000)
    const later = start + 400
    charge(sections, { ...call, cost: 20 }, later * 1000)
    // A bucket has no hits to give back to: its level is all it knows.
    if (algorithm !== 'token-bucket') refund(sections, call, later * 1000, start)
    expect(inspect(sections, { ...call, cost: 0 }, later * 1000)[0]?.remaining).toBe(0)
    refund(sections, call, later * 1000, later)
    expect(inspect(sections, { ...call, cost: 0 }, later * 1000)[0]?.remaining).toBe(5)
  })

  test('a limit that is changed is in force at once and keeps what was counted', () => {
    const sections: Sections = new Map()
    charge(sections, { algorithm, rates: ratesOf({ limit: 10, windowMs: 60_000 }), cost: 10 }, 1e15)
    const [outcome] = inspect(sections, { algorithm, rates: ratesOf({ limit: 5, windowMs: 60_000 }), cost: 1 }, 1e15)
    expect(outcome?.retryMs).toBeGreaterThan(0)
  })
})

test('a clock that goes back makes clients wait, and gives nobody more', () => {
  const rates = ratesOf({ limit: 3, windowMs: 1000 })
  const sections: Sections = new Map()
  const call = { algorithm: 'sliding-window', rates, cost: 1 } as const
  for (const at of [5000, 4500, 4000]) charge(sections, call, at * 1000)
  expect(charge(sections, call, 4900 * 1000)[0]?.retryMs).toBe(1001)
})

test('rates in words and in numbers', () => {
  const read = (input: unknown) => {
    const problems: string[] = []
    return { rates: parseRates(input, problems).map(({ name, limit, windowMs }) => [name, limit, windowMs]), problems }
  }
  expect(read('100/minute').rates).toEqual([['minute', 100, 60_000]])
  expect(read('10/15 seconds').rates).toEqual([['15-seconds', 10, 15_000]])
  expect(read('10/15seconds').rates).toEqual([['15-seconds', 10, 15_000]])
  expect(read('100 per 2 minutes').rates).toEqual([['2-minutes', 100, 120_000]])
  expect(read(['30/hour', '5/min']).rates).toEqual([
    ['minute', 5, 60_000],
    ['hour', 30, 3_600_000],
  ])
  expect(read({ limit: 7, window: '90s', name: 'odd' }).rates).toEqual([['odd', 7, 90_000]])
  for (const wrong of [
    '5/ms',
    '0/minute',
    '1.5/minute',
    '-1/minute',
    '5/fortnight',
    '5',
    '',
    'minute',
    { limit: 5 },
    [],
    undefined,
    '5/0 s',
  ]) {
    expect({ wrong, problems: read(wrong).problems.length }).not.toEqual({ wrong, problems: 0 })
  }
  expect(read(['5/minute', '9/60 s']).problems).toEqual([expect.stringContaining('same window')])
})
