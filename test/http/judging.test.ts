import { describe, expect, test } from 'vitest'
import { gatewayTimeout, isFailure, planRequest } from '../../src/http/index.js'
import { HOUR, NOW, policyOf, request, response, SECOND, stored, verdictOf } from './support.js'

const at = (seconds: number) => NOW + seconds * SECOND
const H = (text: string, ...more: string[]) => response(['Cache-Control', text, ...more])
const asks = (cacheControl: string) => request({ 'cache-control': cacheControl })

describe('fresh and stale', () => {
  const run = { options: { ttl: 60 } }
  const entry = stored(run)

  test('RFC 9111 4.2: fresh before the end of the lifetime, not at it', () => {
    expect(verdictOf(entry, { ...run, now: at(60) - 1 }).action).toBe('fresh')
    expect(verdictOf(entry, { ...run, now: at(60) })).toMatchObject({
      action: 'validate',
      reason: 'stale',
      servableOnError: false,
    })
  })

  test('softly invalidated is stale, whatever its instants say', () => {
    expect(verdictOf(entry, { ...run, softened: true })).toMatchObject({ action: 'validate', reason: 'softened' })
    const swr = { options: { ttl: 60, staleWhileRevalidate: 60 } }
    expect(verdictOf(stored(swr), { ...swr, softened: true }).action).toBe('stale-while-revalidate')
    expect(verdictOf(entry, { ...run, softened: true, request: asks('max-stale') }).action).toBe('validate')
  })

  test('a clock that goes back makes nothing older', () => {
    expect(verdictOf(entry, { ...run, now: at(-10), request: asks('max-age=5') }).action).toBe('fresh')
  })
})

describe('request directives (RFC 9111 5.2.1)', () => {
  const run = { options: { ttl: 60 } }
  const entry = stored(run)

  test('5.2.1.1: an entry older than max-age is not used; max-age=0 is no-cache', () => {
    expect(verdictOf(entry, { ...run, now: at(10), request: asks('max-age=10') }).action).toBe('fresh')
    expect(verdictOf(entry, { ...run, now: at(11), request: asks('max-age=10') })).toMatchObject({
      action: 'validate',
      reason: 'request-max-age',
    })
    expect(verdictOf(entry, { ...run, request: asks('max-age=0') })).toMatchObject({
      action: 'validate',
      reason: 'request-no-cache',
    })
  })

  test('5.2.1.1: the age that the response came with counts', () => {
    const aged = stored({ response: H('max-age=60', 'Age', '20') })
    expect(verdictOf(aged, { request: asks('max-age=19') }).reason).toBe('request-max-age')
  })

  test('5.2.1.3: min-fresh', () => {
    expect(verdictOf(entry, { ...run, request: asks('min-fresh=60') }).action).toBe('fresh')
    expect(verdictOf(entry, { ...run, request: asks('min-fresh=61') })).toMatchObject({
      action: 'validate',
      reason: 'request-min-fresh',
    })
  })

  test('5.2.1.4: no-cache', () => {
    expect(verdictOf(entry, { ...run, request: asks('no-cache') })).toMatchObject({
      action: 'validate',
      reason: 'request-no-cache',
    })
  })

  test('5.2.1.2: max-stale accepts what is still retained, up to its value', () => {
    const kept = { options: { ttl: 60, retain: HOUR / 1000 } }
    const old = stored(kept)
    expect(verdictOf(old, { ...kept, now: at(70), request: asks('max-stale=10') })).toMatchObject({
      action: 'fresh',
      reason: 'max-stale',
    })
    expect(verdictOf(old, { ...kept, now: at(71), request: asks('max-stale=10') }).action).toBe('validate')
    expect(verdictOf(old, { ...kept, now: at(3000), request: asks('max-stale') }).action).toBe('fresh')
    expect(verdictOf(old, { ...kept, now: at(70), request: asks('max-stale=99, max-age=65') }).action).toBe('validate')
  })

  test('5.2.1.7: only-if-cached is part of the plan; our 504 has no status field', () => {
    expect(planRequest(asks('only-if-cached'), policyOf(run.options)).directives.onlyIfCached).toBe(true)
    expect(gatewayTimeout()).toMatchObject({ status: 504, headers: ['Cache-Control', 'no-store'] })
  })

  test('5.2.1.7: with no-store or a precondition it does not run the handler either', () => {
    const plan = (fields: Record<string, string>, method?: string) =>
      planRequest(request({ 'cache-control': 'only-if-cached, no-store', ...fields }, method), policyOf(run.options))
    const unstored = { bypass: undefined, directives: { onlyIfCached: true }, stores: 'none', collapsible: true }
    expect(plan({})).toMatchObject({ ...unstored, refusal: 'request-no-store' })
    expect(plan({}, 'HEAD')).toMatchObject({ ...unstored, refusal: 'request-no-store', collapsible: false })
    for (const field of ['if-match', 'if-unmodified-since']) {
      const conditional = request({ 'cache-control': 'only-if-cached', [field]: '*' })
      expect(planRequest(conditional, policyOf(run.options))).toMatchObject({ ...unstored, refusal: 'precondition' })
      expect(verdictOf(entry, { ...run, request: conditional })).toMatchObject({
        action: 'unusable',
        reason: 'precondition',
        servableOnError: false,
      })
    }
    expect(verdictOf(entry, { ...run, request: asks('only-if-cached, no-store') }).action).toBe('fresh')
    expect(planRequest(asks('no-store'), policyOf(run.options)).bypass).toBe('request-no-store')
  })

  test('RFC 8246 2: immutable ignores max-age while fresh, and honours no-cache', () => {
    const fixed = stored({ response: H('max-age=60, immutable') })
    expect(verdictOf(fixed, { request: asks('max-age=0'), now: at(30) }).action).toBe('fresh')
    expect(verdictOf(fixed, { request: asks('max-age=10'), now: at(30) }).action).toBe('fresh')
    expect(verdictOf(fixed, { request: asks('no-cache'), now: at(30) }).action).toBe('validate')
    expect(verdictOf(fixed, { request: asks('max-age=10'), now: at(60) }).action).toBe('validate')
  })
})

describe('no-cache in the response (RFC 9111 5.2.2.4)', () => {
  test('is used only after validation, however fresh', () => {
    const entry = stored({ options: { ttl: 60 }, response: H('no-cache', 'ETag', '"v1"') })
    expect(verdictOf(entry, { options: { ttl: 60 } })).toMatchObject({
      action: 'validate',
      reason: 'response-no-cache',
      conditional: true,
      servableOnError: false,
      mustRevalidate: true,
    })
    expect(verdictOf(entry, { options: { ttl: 60 }, request: asks('max-stale'), now: at(61) }).action).toBe('validate')
  })
})

describe('stale-while-revalidate (RFC 5861 3)', () => {
  test("the route's window, where the route governs", () => {
    const run = { options: { ttl: 60, staleWhileRevalidate: 30 }, response: H('stale-while-revalidate=999') }
    const entry = stored(run)
    expect(verdictOf(entry, { ...run, now: at(89) }).action).toBe('stale-while-revalidate')
    expect(verdictOf(entry, { ...run, now: at(90) }).action).toBe('validate')
  })

  test("the handler's directive, where it governs, and the route's option where it says nothing", () => {
    const said = stored({ response: H('max-age=60, stale-while-revalidate=30') })
    expect(verdictOf(said, { now: at(89) }).action).toBe('stale-while-revalidate')
    const silent = { options: { staleWhileRevalidate: 30 }, response: H('max-age=60') }
    expect(verdictOf(stored(silent), { ...silent, now: at(89) }).action).toBe('stale-while-revalidate')
  })
})

describe('never served stale (RFC 9111 4.2.4)', () => {
  test.each(['must-revalidate', 'proxy-revalidate', 's-maxage=60'])(
    '%s beats max-stale, SWR and SIE of client, route and handler',
    (directive) => {
      const options = { staleWhileRevalidate: 60, staleIfError: 60, staleOnError: true, retain: '1h' } as const
      for (const governed of [options, { ...options, ttl: 60 }]) {
        const entry = stored({
          options: governed,
          response: H(`max-age=60, stale-while-revalidate=60, stale-if-error=60, ${directive}`, 'ETag', '"v"'),
        })
        const verdict = verdictOf(entry, {
          options: governed,
          now: at(70),
          request: asks('max-stale, stale-if-error=999'),
        })
        expect(verdict).toMatchObject({ action: 'validate', servableOnError: false, mustRevalidate: true })
      }
    },
  )
})

test('RFC 9111 4.2.4: an entry that is never served stale is not, whatever its instants say', () => {
  const entry = stored({ options: { ttl: 60 }, response: H('must-revalidate') })
  const odd = { ...entry, staleUntil: entry.staleUntil + HOUR, errorUntil: entry.errorUntil + HOUR }
  expect(verdictOf(odd, { options: { ttl: 60 }, now: at(61) })).toMatchObject({
    action: 'validate',
    servableOnError: false,
  })
})

describe('stale-if-error (RFC 5861 4)', () => {
  test('the window ends', () => {
    const run = { options: { ttl: 60, staleIfError: 30 } }
    expect(verdictOf(stored(run), { ...run, now: at(89) }).servableOnError).toBe(true)
    expect(verdictOf(stored(run), { ...run, now: at(90) }).servableOnError).toBe(false)
  })

  test('the window ends although the entry is retained longer', () => {
    for (const run of [
      { options: { ttl: 60, staleIfError: 30, retain: '1h' as const } },
      { options: { retain: '1h' as const }, response: H('max-age=60, stale-if-error=30') },
      { options: { retain: '1h' as const, staleIfError: 30 }, response: H('max-age=60') },
      {
        options: { retain: '1h' as const },
        response: response(['Redis-Cache-Control', 'max-age=60, stale-if-error=30']),
      },
    ]) {
      expect(verdictOf(stored(run), { ...run, now: at(89) }).servableOnError).toBe(true)
      expect(verdictOf(stored(run), { ...run, now: at(90) }).servableOnError).toBe(false)
    }
  })

  test('no window: the error goes out, unless staleOnError', () => {
    const kept = { options: { ttl: 60, retain: '1h' as const } }
    expect(verdictOf(stored(kept), { ...kept, now: at(61) }).servableOnError).toBe(false)
    const targeted = { ...kept, response: H('stale-if-error=99', 'Redis-Cache-Control', 'max-age=60') }
    expect(verdictOf(stored(targeted), { ...targeted, now: at(61) }).servableOnError).toBe(false)
    const unruled = { options: { retain: '1h' as const }, response: targeted.response }
    expect(verdictOf(stored(unruled), { ...unruled, now: at(61) }).servableOnError).toBe(false)
    const always = { options: { ttl: 60, staleOnError: true } }
    expect(verdictOf(stored(always), { ...always, now: at(3600) }).servableOnError).toBe(true)
    expect(verdictOf(stored(always), { ...always, now: at(3660) }).servableOnError).toBe(false)
  })

  test('RFC 9111 4.2.4: rfc9111 serves stale what cannot be validated, but no longer than a stale-if-error says', () => {
    const gateway = { options: { preset: 'rfc9111' as const } }
    const unnamed = { ...gateway, response: H('max-age=60') }
    expect(verdictOf(stored(unnamed), { ...unnamed, now: at(3600) }).servableOnError).toBe(true)
    const named = { ...gateway, response: H('max-age=60, stale-if-error=20') }
    expect(verdictOf(stored(named), { ...named, now: at(79) }).servableOnError).toBe(true)
    expect(verdictOf(stored(named), { ...named, now: at(80) }).servableOnError).toBe(false)
    for (const never of ['must-revalidate', 'proxy-revalidate', 's-maxage=60', 'stale-if-error=0']) {
      const bound = { ...gateway, response: H(`max-age=60, ${never}`, 'ETag', '"v1"') }
      expect(verdictOf(stored(bound), { ...bound, now: at(61) }).servableOnError).toBe(false)
    }
  })

  test("the client's own stale-if-error is honoured for what is still there", () => {
    const kept = { options: { ttl: 60, retain: '1h' as const } }
    expect(verdictOf(stored(kept), { ...kept, now: at(70), request: asks('stale-if-error=20') }).servableOnError).toBe(
      true,
    )
    expect(verdictOf(stored(kept), { ...kept, now: at(80), request: asks('stale-if-error=20') }).servableOnError).toBe(
      false,
    )
  })

  test('failures are 500, 502, 503 and 504', () => {
    expect([500, 502, 503, 504].every(isFailure)).toBe(true)
    expect([200, 404, 499, 501, 505].some(isFailure)).toBe(false)
  })
})

describe('validation (RFC 9111 4.3)', () => {
  test('only validators that the handler made are sent to it', () => {
    const made = stored({ options: { ttl: 60 }, response: response(['ETag', '"v1"']) })
    const generated = stored({ options: { ttl: 60 } })
    expect(verdictOf(made, { options: { ttl: 60 }, now: at(61) }).conditional).toBe(true)
    expect(verdictOf(generated, { options: { ttl: 60 }, now: at(61) }).conditional).toBe(false)
    expect(verdictOf(made, { options: { ttl: 60, revalidate: false }, now: at(61) }).conditional).toBe(false)
  })
})
