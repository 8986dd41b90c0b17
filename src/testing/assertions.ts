import { AssertionError } from 'node:assert'
import { isDeepStrictEqual } from 'node:util'
import type { ValueEntry } from '../data/types.js'

/** What the assertions ask: `redis.cache`, or a namespace of it. */
export interface Readable<K> {
  getEntry(key: K): Promise<ValueEntry<unknown>>
}

/** A response of any framework or client: `fetch`, `app.inject`, `app.request`, supertest. */
export interface ResponseLike {
  readonly headers: { get(name: string): string | null } | Readonly<Record<string, unknown>>
}

export type CacheOutcome = 'HIT' | 'MISS' | 'BYPASS'

/** What a check found: whether it holds, and the message for either case. */
interface Verdict {
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

async function checkCached<K>(cache: Readable<K>, key: K, value: unknown): Promise<Verdict> {
  const entry = await cache.getEntry(key)
  const same = value === NO_VALUE || (entry.outcome === 'hit' && isDeepStrictEqual(entry.value, value))
  const wanted = value === NO_VALUE ? 'a fresh value' : `the fresh value ${JSON.stringify(value) ?? 'given'}`
  return verdict(key, entry.outcome === 'hit' && same, wanted, entry)
}

async function checkStale<K>(cache: Readable<K>, key: K): Promise<Verdict> {
  const entry = await cache.getEntry(key)
  return verdict(key, entry.outcome === 'stale', 'a stale value', entry)
}

/** An outage is no proof of anything, so it is not "nothing". */
async function checkAbsent<K>(cache: Readable<K>, key: K): Promise<Verdict> {
  const entry = await cache.getEntry(key)
  const absent = entry.outcome === 'negative' || (entry.outcome === 'miss' && entry.reason !== 'outage')
  return verdict(key, absent, 'nothing', entry)
}

function verdict(key: unknown, pass: boolean, wanted: string, entry: ValueEntry<unknown>): Verdict {
  return { pass, expected: `${wanted} at key ${JSON.stringify(key)}`, found: describeEntry(entry) }
}

function checkOutcome(response: ResponseLike, outcome: CacheOutcome): Verdict {
  const { headers } = response
  const value =
    typeof headers['get'] === 'function'
      ? headers['get']('x-redis-cache')
      : (headers as Readonly<Record<string, unknown>>)['x-redis-cache']
  const found = value === undefined || value === null ? 'no such field' : String(value)
  return { pass: found === outcome, expected: `X-Redis-Cache: ${outcome}`, found }
}

function demand({ pass, expected, found }: Verdict, caller: (...args: never) => unknown): void {
  if (pass) return
  throw new AssertionError({ message: `expected ${expected}, found ${found}`, stackStartFn: caller })
}

/** There is a fresh value; where one is given, it is deeply equal. */
export async function assertCached<K>(cache: Readable<K>, key: K, ...value: [value?: unknown]): Promise<void> {
  demand(await checkCached(cache, key, value.length === 0 ? NO_VALUE : value[0]), assertCached)
}

/** There is a value that is not fresh any more and may still be served. */
export async function assertStale<K>(cache: Readable<K>, key: K): Promise<void> {
  demand(await checkStale(cache, key), assertStale)
}

/** There is no value, and the store was there to say so. */
export async function assertNotCached<K>(cache: Readable<K>, key: K): Promise<void> {
  demand(await checkAbsent(cache, key), assertNotCached)
}

/** What a cached route did, by its `X-Redis-Cache` field. */
export function assertCacheOutcome(response: ResponseLike, outcome: CacheOutcome): void {
  demand(checkOutcome(response, outcome), assertCacheOutcome)
}

interface MatcherResult {
  readonly pass: boolean
  readonly message: () => string
}

function matcherResult({ pass, expected, found }: Verdict): MatcherResult {
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
  async toHaveCached(cache: Readable<unknown>, key: unknown, ...value: [value?: unknown]): Promise<MatcherResult> {
    return matcherResult(await checkCached(cache, key, value.length === 0 ? NO_VALUE : value[0]))
  },
  async toHaveStale(cache: Readable<unknown>, key: unknown): Promise<MatcherResult> {
    return matcherResult(await checkStale(cache, key))
  },
  toBeCacheHit: (response: ResponseLike): MatcherResult => matcherResult(checkOutcome(response, 'HIT')),
  toBeCacheMiss: (response: ResponseLike): MatcherResult => matcherResult(checkOutcome(response, 'MISS')),
  toBeCacheBypass: (response: ResponseLike): MatcherResult => matcherResult(checkOutcome(response, 'BYPASS')),
}

/** The types of `cacheMatchers`: `declare module 'vitest' { interface Matchers<T> extends CacheMatchers<T> {} }`. */
export interface CacheMatchers<R = unknown> {
  /** Of a cache or namespace: there is a fresh value; where one is given, it is deeply equal. */
  toHaveCached(key: unknown, value?: unknown): Promise<R>
  /** Of a cache or namespace: there is a value that is not fresh any more and may still be served. */
  toHaveStale(key: unknown): Promise<R>
  /** Of a response: `X-Redis-Cache: HIT`. */
  toBeCacheHit(): R
  toBeCacheMiss(): R
  toBeCacheBypass(): R
}
