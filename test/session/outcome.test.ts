import { expect, test } from 'vitest'
import { decideOutcome, type SessionFacts, type SessionOutcome } from '../../src/session/outcome.js'

const FLAGS = [false, true]

/** Every combination of what can be known. */
const SPACE: readonly SessionFacts[] = (['none', 'absent', 'moved', 'unavailable', 'loaded'] as const).flatMap(
  (state) =>
    (['same', 'signed-in', 'switched', 'signed-out'] as const).flatMap((principal) =>
      FLAGS.flatMap((ended) =>
        FLAGS.flatMap((changed) =>
          FLAGS.flatMap((empty) =>
            FLAGS.flatMap((rotates) =>
              FLAGS.flatMap((touches) =>
                FLAGS.map((success) => ({ state, principal, ended, changed, empty, rotates, touches, success })),
              ),
            ),
          ),
        ),
      ),
    ),
)

const of = (facts: Partial<SessionFacts>): readonly [SessionFacts, SessionOutcome][] =>
  SPACE.filter((one) => Object.entries(facts).every(([name, value]) => Reflect.get(one, name) === value)).map(
    (one) => [one, decideOutcome(one)] as const,
  )

const outcomes = (facts: Partial<SessionFacts>): SessionOutcome[] =>
  [...new Set(of(facts).map(([, outcome]) => outcome))].toSorted()

test('the space is whole, and every outcome is in it', () => {
  expect(SPACE).toHaveLength(5 * 4 * 64)
  expect(outcomes({})).toEqual(
    [
      'clear-cookie',
      'create',
      'end',
      'moved',
      'nothing',
      'rotate',
      'suppress',
      'touch',
      'unavailable',
      'write',
    ].toSorted(),
  )
})

test('who changes nothing and asks for nothing gets nothing, in every state', () => {
  const idle = { changed: false, rotates: false, touches: false, ended: false, principal: 'same' } as const
  expect(outcomes(idle)).toEqual(['nothing'])
})

test('the principal never changes without another id, and never with a response that failed', () => {
  for (const principal of ['signed-in', 'switched', 'signed-out'] as const) {
    expect(outcomes({ state: 'loaded', principal, success: true })).toEqual(['end', 'rotate'])
    expect(outcomes({ state: 'loaded', principal, success: false })).toEqual(['suppress'])
  }
  expect(outcomes({ state: 'loaded', rotates: true, success: false })).toEqual(['suppress'])
  for (const principal of ['signed-in', 'switched'] as const)
    for (const [, outcome] of of({ success: false, principal }))
      expect(['suppress', 'nothing', 'clear-cookie', 'unavailable']).toContain(outcome)
})

test('only a loaded session is written to, rotated or touched; one that is ended is there or may be', () => {
  const theirs: readonly SessionOutcome[] = ['write', 'rotate', 'touch']
  const states = of({}).flatMap(([{ state }, outcome]) => (theirs.includes(outcome) ? [state] : []))
  expect(new Set(states)).toEqual(new Set(['loaded']))
  const ended = of({}).flatMap(([{ state }, outcome]) => (outcome === 'end' ? [state] : []))
  expect(new Set(ended)).toEqual(new Set(['unavailable', 'loaded']))
})

test('a session is made of something that was written, and nowhere a session is there or may be', () => {
  const made = of({}).flatMap(([facts, outcome]) => (outcome === 'create' ? [facts] : []))
  for (const { state, changed, empty } of made)
    expect([['none', 'absent', 'moved'].includes(state), changed, empty]).toEqual([true, true, false])
})

test('with an id that has moved only a sign-in makes a session; any other change is refused', () => {
  expect(outcomes({ state: 'moved', changed: true, principal: 'same' })).toEqual(['moved'])
  expect(outcomes({ state: 'moved', changed: true, principal: 'signed-out' })).toEqual(['moved'])
  expect(outcomes({ state: 'moved', changed: true, empty: false, principal: 'signed-in', success: true })).toEqual([
    'create',
  ])
  expect(outcomes({ state: 'moved', changed: false, rotates: false, ended: false })).toEqual(['nothing'])
})

test('while Redis cannot say, every change is refused, and signing out ends', () => {
  for (const principal of ['same', 'signed-in', 'switched'] as const)
    expect(outcomes({ state: 'unavailable', changed: true, principal })).toEqual(['unavailable'])
  expect(outcomes({ state: 'unavailable', principal: 'signed-out', success: true })).toEqual(['end'])
  expect(outcomes({ state: 'unavailable', principal: 'signed-out', changed: true, success: false })).toEqual([
    'unavailable',
  ])
  for (const state of ['unavailable', 'moved'] as const)
    expect(outcomes({ state, rotates: true, principal: 'same', success: true })).toEqual([state])
  const idle = { changed: false, rotates: false, principal: 'same' } as const
  expect(outcomes({ state: 'unavailable', ...idle, ended: false })).toEqual(['nothing'])
})

test('the cookie of a session that was ended goes, unless another session takes its place', () => {
  for (const [{ changed, empty }, outcome] of of({ state: 'none', ended: true, principal: 'same' }))
    expect(outcome).toBe(changed && !empty ? 'create' : 'clear-cookie')
  const cleared = of({}).flatMap(([{ ended }, outcome]) => (outcome === 'clear-cookie' ? [ended] : []))
  expect(new Set(cleared)).toEqual(new Set([true]))
})

test('a change of a loaded session is written with any status', () => {
  for (const success of FLAGS)
    expect(outcomes({ state: 'loaded', changed: true, principal: 'same', rotates: false, success })).toEqual(['write'])
})
