import { describe, expect, test } from 'vitest'
import { type HttpOptions, evaluateReuse, planRequest, type StoredResponseContext } from '../../src/http/index.js'
import { hit, miss, NOW, policyOf, request, response, SECOND, stored, value, values } from './support.js'

const options: HttpOptions = { ttl: 60, cacheStatus: 'redwell' }
const entry = stored({ options })
const at = (seconds: number) => NOW + seconds * SECOND

function verdict(now: number, fields: Record<string, string> = {}) {
  const policy = policyOf(options)
  return evaluateReuse(entry, planRequest(request(fields), policy), policy, now)
}

describe('Cache-Status (RFC 9211)', () => {
  test('is off by default: it tells how the cache works (section 6)', () => {
    expect(value(miss({ options: { ttl: 60 } }), 'cache-status')).toBeUndefined()
  })

  test('a fresh hit: hit and what is left of its lifetime', () => {
    expect(value(hit(entry, { options, now: at(10) }), 'cache-status')).toBe('redwell; hit; ttl=50')
  })

  test('a stale answer: negative', () => {
    expect(value(hit(entry, { options, now: at(70), how: { kind: 'stale' } }), 'cache-status')).toBe(
      'redwell; hit; ttl=-10',
    )
  })

  test('a stored response in place of a failed run is no hit (section 2.1)', () => {
    const instead = (how: StoredResponseContext) => value(hit(entry, { options, now: at(70), how }), 'cache-status')
    expect(instead({ kind: 'error', reuse: verdict(at(70)) })).toBe(
      'redwell; fwd=stale; ttl=-10; detail=stale-if-error',
    )
    expect(instead({ kind: 'error', reuse: verdict(at(1), { 'cache-control': 'no-cache' }) })).toBe(
      'redwell; fwd=request; ttl=-10; detail=stale-if-error',
    )
  })

  test('an entry without an end has no ttl', () => {
    const endless = { ttl: 0, cacheStatus: 'redwell' }
    expect(value(hit(stored({ options: endless }), { options: endless }), 'cache-status')).toBe('redwell; hit')
  })

  test('a miss says why the request went forward, and whether it was stored', () => {
    const said = (run: Parameters<typeof miss>[0]) => value(miss({ options, ...run }), 'cache-status')
    expect(said({})).toBe('redwell; fwd=uri-miss; stored')
    expect(said({ run: { varyMiss: true } })).toBe('redwell; fwd=vary-miss; stored')
    expect(said({ run: { reuse: verdict(at(70)) } })).toBe('redwell; fwd=stale; stored')
    expect(said({ run: { reuse: verdict(at(1), { 'cache-control': 'no-cache' }) } })).toBe(
      'redwell; fwd=request; stored',
    )
    expect(said({ request: request({ 'cache-control': 'no-store' }) })).toBe('redwell; fwd=request')
    expect(said({ request: request({}, 'PUT') })).toBe('redwell; fwd=method')
    expect(said({ request: request({ 'if-match': '*' }) })).toBe('redwell; fwd=bypass')
    expect(said({ run: { reuse: verdict(at(1), { authorization: 'x' }) } })).toBe('redwell; fwd=bypass; stored')
    expect(said({ response: response([], 500) })).toBe('redwell; fwd=uri-miss')
  })

  test('a revalidation and a shared run', () => {
    const revalidated = hit(entry, { options, how: { kind: 'revalidated', reuse: verdict(at(70)) } })
    expect(value(revalidated, 'cache-status')).toBe('redwell; fwd=stale; fwd-status=304; stored')
    expect(value(hit(entry, { options, how: { kind: 'collapsed' } }), 'cache-status')).toBe(
      'redwell; fwd=uri-miss; ttl=60; collapsed',
    )
  })

  test("section 2: it stands after the handler's own, which is stored; ours is not", () => {
    const behind = response(['Cache-Status', 'origin; hit'])
    expect(values(miss({ options, response: behind }), 'cache-status')).toEqual([
      'origin; hit, redwell; fwd=uri-miss; stored',
    ])
    const kept = stored({ options, response: behind })
    expect(values(kept, 'cache-status')).toEqual(['origin; hit'])
    expect(values(hit(kept, { options }), 'cache-status')).toEqual(['origin; hit, redwell; hit; ttl=60'])
  })
})
