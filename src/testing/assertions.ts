import { AssertionError } from 'node:assert'
import { isDeepStrictEqual } from 'node:util'
import type { ValueEntry } from '../data/types.js'

/** The caches that assertions read: `redis.cache`, or a namespace of it. */
export interface Readable<K> {
  /** The entry of a key, as of the data cache. */
  getEntry(key: K): Promise<ValueEntry<unknown>>
}

/** A response of any framework or client: `fetch`, `app.inject`, `app.request`, supertest. */
export interface ResponseLike {
  /** Header fields: `Headers`, or an object with lower-case names. */
  readonly headers: { get(name: string): string | null } | Readonly<Record<string, unknown>>
}

/** Values of `X-Redis-Cache`. */
export type CacheOutcome = 'HIT' | 'MISS' | 'BYPASS'

/** The result of a check. */
interface CheckResult {
  readonly pass: boolean
  readonly expected: string
  readonly found: string
}

const NO_VALUE = Symbol('any value')

function describeEntry(entry: ValueEntry<unknown>): string {
  if (entry.outcome === 'miss') return `a miss (${entry.reason})`
  if (entry.outcome === 'negative') return 'a negative result'
  return `${entry.outcome === 'hit' ? 'a fresh' : 'a stale'} value, ${JSON.stringify(entry.value) ?? 'not JSON'}`
}

async function checkCached<K>(cache: Readable<K>, key: K, value: unknown): Promise<CheckResult> {
  const entry = await cache.getEntry(key)
  const same = value === NO_VALUE || (entry.outcome === 'hit' && isDeepStrictEqual(entry.value, value))
  const wanted = value === NO_VALUE ? 'a fresh value' : `the fresh value ${JSON.stringify(value) ?? 'given'}`
  return checkResult(key, entry.outcome === 'hit' && same, wanted, entry)
}

async function checkStale<K>(cache: Readable<K>, key: K): Promise<CheckResult> {
  const entry = await cache.getEntry(key)
  return checkResult(key, entry.outcome === 'stale', 'a stale value', entry)
}

/** An outage does not prove that there is no value. */
async function checkAbsent<K>(cache: Readable<K>, key: K): Promise<CheckResult> {
  const entry = await cache.getEntry(key)
  const absent = entry.outcome === 'negative' || (entry.outcome === 'miss' && entry.reason !== 'outage')
  return checkResult(key, absent, 'nothing', entry)
}

function checkResult(key: unknown, pass: boolean, wanted: string, entry: ValueEntry<unknown>): CheckResult {
  return { pass, expected: `${wanted} at key ${JSON.stringify(key)}`, found: describeEntry(entry) }
}

function checkOutcome(response: ResponseLike, outcome: CacheOutcome): CheckResult {
  const { headers } = response
  const value =
    typeof headers['get'] === 'function'
      ? headers['get']('x-redis-cache')
      : (headers as Readonly<Record<string, unknown>>)['x-redis-cache']
  const found = value === undefined || value === null ? 'no such field' : String(value)
  return { pass: found === outcome, expected: `X-Redis-Cache: ${outcome}`, found }
}

function assertPassed({ pass, expected, found }: CheckResult, caller: (...args: never) => unknown): void {
  if (pass) return
  throw new AssertionError({ message: `expected ${expected}, found ${found}`, stackStartFn: caller })
}

/** Asserts that there is a fresh value, deeply equal to `value` if that is passed. */
export async function assertCached<K>(cache: Readable<K>, key: K, ...value: [value?: unknown]): Promise<void> {
  assertPassed(await checkCached(cache, key, value.length === 0 ? NO_VALUE : value[0]), assertCached)
}

/** Asserts that there is a stale value that may still be served. */
export async function assertStale<K>(cache: Readable<K>, key: K): Promise<void> {
  assertPassed(await checkStale(cache, key), assertStale)
}

/** Asserts that there is no value. Fails during an outage, which proves nothing. */
export async function assertNotCached<K>(cache: Readable<K>, key: K): Promise<void> {
  assertPassed(await checkAbsent(cache, key), assertNotCached)
}

/** Asserts the outcome of a cached route, by its `X-Redis-Cache` field. */
export function assertCacheOutcome(response: ResponseLike, outcome: CacheOutcome): void {
  assertPassed(checkOutcome(response, outcome), assertCacheOutcome)
}

interface MatcherResult {
  readonly pass: boolean
  readonly message: () => string
}

function matcherResult({ pass, expected, found }: CheckResult): MatcherResult {
  return { pass, message: () => `expected ${pass ? `not ${expected}` : `${expected}, found ${found}`}` }
}

/**
 * The assertions as matchers, for `expect.extend(cacheMatchers)` of Vitest and others that have it.
 *
 * @example
 * await expect(redis.cache).toHaveCached('stats', { visits: 1 })
 * expect(response).toBeCacheHit()
 */
export const cacheMatchers = {
  /** There is a fresh value, deeply equal to `value` if that is passed. */
  async toHaveCached(cache: Readable<unknown>, key: unknown, ...value: [value?: unknown]): Promise<MatcherResult> {
    return matcherResult(await checkCached(cache, key, value.length === 0 ? NO_VALUE : value[0]))
  },
  /** There is a stale value that may still be served. */
  async toHaveStale(cache: Readable<unknown>, key: unknown): Promise<MatcherResult> {
    return matcherResult(await checkStale(cache, key))
  },
  /** The response has `X-Redis-Cache: HIT`. */
  toBeCacheHit: (response: ResponseLike): MatcherResult => matcherResult(checkOutcome(response, 'HIT')),
  /** The response has `X-Redis-Cache: MISS`. */
  toBeCacheMiss: (response: ResponseLike): MatcherResult => matcherResult(checkOutcome(response, 'MISS')),
  /** The response has `X-Redis-Cache: BYPASS`. */
  toBeCacheBypass: (response: ResponseLike): MatcherResult => matcherResult(checkOutcome(response, 'BYPASS')),
}

/** The types of `cacheMatchers`: `declare module 'vitest' { interface Matchers<T> extends CacheMatchers<T> {} }`. */
export interface CacheMatchers<R = unknown> {
  /** A cache or namespace has a fresh value, deeply equal to `value` if that is passed. */
  toHaveCached(key: unknown, value?: unknown): Promise<R>
  /** A cache or namespace has a stale value that may still be served. */
  toHaveStale(key: unknown): Promise<R>
  /** A response has `X-Redis-Cache: HIT`. */
  toBeCacheHit(): R
  /** A response has `X-Redis-Cache: MISS`. */
  toBeCacheMiss(): R
  /** A response has `X-Redis-Cache: BYPASS`. */
  toBeCacheBypass(): R
}
