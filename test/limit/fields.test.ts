import { expect, test } from 'vitest'
import { rateLimitFields, refusalOf } from '../../src/limit/fields.js'
import { parseRates, type RateInput } from '../../src/limit/rate.js'
import { type LimitReason, type RateLimitVerdict, verdictOf } from '../../src/limit/verdict.js'
import { type Algorithm, charge, type Sections } from '../../src/limit/window.js'

/** The verdict after so many hits at one time. */
function after(hits: number, rate: RateInput | RateInput[], algorithm: Algorithm = 'sliding-window', cost = 1) {
  const rates = parseRates(rate, [])
  const sections: Sections = new Map()
  let verdict: RateLimitVerdict | undefined
  for (let hit = 0; hit < hits; hit += 1) {
    const outcomes = charge(sections, { algorithm, rates, cost }, 1e15)
    const reason: LimitReason | undefined = outcomes.some(({ retryMs }) => retryMs > 0) ? 'limited' : undefined
    verdict = verdictOf(rates, outcomes, reason, 'redis')
  }
  if (verdict === undefined) throw new Error('no hit')
  return verdict
}

test('the fields of the draft name all policies once; those before them are of the rate that binds first', () => {
  const verdicts = [after(3, { limit: 9, window: '1m' }), after(2, ['3/minute', '50/hour'])]
  const fields = Object.fromEntries(rateLimitFields(verdicts, 'both', 1_000_000))
  expect(fields).toEqual({
    'RateLimit-Policy': '"minute";q=9;w=60, "minute-2";q=3;w=60, "hour";q=50;w=3600',
    RateLimit: '"minute";r=6;t=60, "minute-2";r=1;t=60, "hour";r=48;t=3600',
    'X-RateLimit-Limit': '3',
    'X-RateLimit-Remaining': '1',
    'X-RateLimit-Reset': '1061',
  })
  expect(rateLimitFields(verdicts, 'none', 0)).toEqual([])
  expect(rateLimitFields(verdicts, 'legacy', 0).map(([name]) => name)).not.toContain('RateLimit')
})

test('`t` is when the first unit is back, by each algorithm', () => {
  const states = (['sliding-window', 'fixed-window', 'token-bucket'] as const).map(
    (algorithm) => Object.fromEntries(rateLimitFields([after(2, '10/minute', algorithm)], 'draft', 0))['RateLimit'],
  )
  expect(states).toEqual(['"minute";r=8;t=60', '"minute";r=8;t=60', '"minute";r=8;t=6'])
})

test('a refusal says after how long, unless it is for good', () => {
  const refused = refusalOf(after(3, ['2/minute', '9/hour']))
  expect(refused).toMatchObject({ status: 429, fields: expect.arrayContaining([['Retry-After', '61']]) })
  expect(JSON.parse(refused.body)).toMatchObject({ 'violated-policies': ['minute'] })
  const never = refusalOf(after(1, '2/minute', 'fixed-window', 3))
  expect(never.fields.map(([name]) => name)).toEqual(['Content-Type', 'Cache-Control'])
  const types = (['limited', 'banned', 'unavailable', 'unidentified'] as const).map((reason) => {
    const { status, body } = refusalOf({ ...after(1, '2/minute'), reason, retryAfter: 0.2 })
    return [status, (JSON.parse(body) as { type: string }).type.split('#')[1]]
  })
  expect(types).toEqual([
    [429, 'quota-exceeded'],
    [429, 'abnormal-usage-detected'],
    [503, 'temporary-reduced-capacity'],
    [429, 'quota-exceeded'],
  ])
})
