import { describe, expect, test } from 'vitest'
import type { Topology } from './actors.js'
import { FIRST, HOLDS, LONG, PATH_GROUP, PLAIN } from './cases.js'
import { check, COLD, serverWith } from './protocol.js'

/** The largest cases have more states than fit into memory: they are explored up to this many. */
const STATES_MAX = 1_000_000
const MINUTES = 60_000

const CASES = [
  ...HOLDS.map((example) => ({ ...example, isLarge: false })),
  ...LONG.map((example) => ({ ...example, isLarge: true })),
]

describe.each<Topology>(['server', 'cluster'])('on a %s', (topology) => {
  test.each(CASES)(
    '$title: nothing stale, no lease left',
    ({ cast, faults, isLarge }) => {
      const example = { cast: cast(topology), faults, probes: [PLAIN, FIRST] }
      for (const server of [serverWith(['g', PATH_GROUP]), COLD]) {
        const { failure, isComplete } = check({ ...example, server }, STATES_MAX)
        expect(failure).toBeUndefined()
        expect(isComplete || isLarge).toBe(true)
      }
    },
    20 * MINUTES,
  )
})
