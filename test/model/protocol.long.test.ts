import { describe, expect, test } from 'vitest'
import type { Topology } from './actors.js'
import { FIRST, HOLDS, LONG, PATH_GROUP, PLAIN } from './cases.js'
import { check, COLD, serverWith } from './protocol.js'

const STATES_MAX = 1_500_000
const MINUTES = 60_000

describe.each<Topology>(['server', 'cluster'])('on a %s', (topology) => {
  test.each([...HOLDS, ...LONG])(
    '$title: nothing stale, no lease left',
    ({ cast, faults }) => {
      const example = { cast: cast(topology), faults, probes: [PLAIN, FIRST] }
      for (const server of [serverWith(['g', PATH_GROUP]), COLD])
        expect(check({ ...example, server }, STATES_MAX)).toMatchObject({ isComplete: true })
    },
    20 * MINUTES,
  )
})
