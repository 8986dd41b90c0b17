import { describe, expect, test } from 'vitest'
import { fill, invalidation, type Topology } from './actors.js'
import { FAILS, FIRST, HOLDS, PATH, PATH_GROUP, PLAIN } from './cases.js'
import { check, COLD, serverWith } from './protocol.js'

/** The cases on one server are explored to their end, those on a cluster to a depth; protocol.long.test.ts does the rest. */
const STATES_MAX = { server: 20_000, cluster: 3000 }

const WARM = serverWith(['g', PATH_GROUP])

describe.each<Topology>(['server', 'cluster'])('on a %s', (topology) => {
  test.each(HOLDS)('$title: nothing stale, no lease left', ({ cast, faults }) => {
    const example = { cast: cast(topology), faults, probes: [PLAIN, FIRST] }
    for (const server of [WARM, COLD]) {
      const { failure, isComplete } = check({ ...example, server }, STATES_MAX[topology])
      expect(failure).toBeUndefined()
      expect(isComplete || topology === 'cluster').toBe(true)
    }
  })

  test.each(FAILS)('$title fails', ({ cast, faults }) => {
    const { failure } = check({ cast: cast(topology), faults, server: WARM })
    expect(failure?.problem).toMatch(/version \d/)
  })
})

test('a group that is created without a mark fails on a cluster (F1)', () => {
  const named = { key: PATH, groups: [], named: ['g'] }
  const cast = [fill('cluster', { ...named, without: 'marks' }), invalidation('cluster', ['g'])]
  expect(check({ cast, faults: { 'g is lost': 1 }, server: WARM }).failure?.problem).toMatch(/version/)
})
