import { groupProblem, GROUPS_PER_ENTRY_MAX } from '../cache/group.js'
import type { Key } from '../cache/key.js'
import type { WriteStamp } from '../cache/write.js'
import { type Duration, DURATION_RULE, durationMs } from '../duration.js'
import { OptionsError } from '../errors.js'
import type { LoadContext, LoaderContext } from './loader.js'

/** Options that describe how long a value is kept and what invalidates it. */
export interface ValueOptions {
  /** Lifetime: seconds, or `'500ms' | '30s' | '5m' | '2h' | '1d'`. 0 or less keeps it until it is evicted. Default: `REDIS_DEFAULT_TTL`. */
  ttl?: Duration | undefined
  /** One call of `deleteGroup` with one of these names invalidates the value. */
  group?: string | readonly string[] | undefined
  /** How long after its lifetime the value may be served while it is loaded anew. Default 0. */
  staleWhileRevalidate?: Duration | undefined
  /** How long after its lifetime the value may be served when loading fails, or takes longer than `softTimeout`. Default 0. */
  staleIfError?: Duration | undefined
  /** Shortens each lifetime by a random part of up to this fraction (0 to 1), so that values do not expire together. Default 0. */
  jitter?: number | undefined
}

/** Options that describe how a value is loaded. */
export interface LoadOptions extends ValueOptions {
  /**
   * Lifetime of a negative result: a loader that gives `undefined` ("there is none") or `null`. Default: `undefined` is
   * not kept, and `null` is a value like any other.
   */
  negativeTtl?: Duration | undefined
  /** After so long the caller is given the stale value (within `staleIfError`), and the loader goes on behind it. Default: never. */
  softTimeout?: Duration | undefined
  /** After so long the loader is aborted and its lease given up; the caller gets the stale value, or a TimeoutError. Default: never. */
  timeout?: Duration | undefined
}

export interface ResolvedValueOptions {
  /** Infinity: until evicted. */
  readonly ttlMs: number
  readonly groups: readonly string[]
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
  readonly jitter: number
  /** Undefined: negative results are not kept. */
  readonly negativeTtlMs: number | undefined
  readonly softTimeoutMs: number
  readonly timeoutMs: number
}

/** What holds where nothing is said. */
export function plainOptions(defaultTtlMs: number): ResolvedValueOptions {
  return {
    ttlMs: endless(defaultTtlMs),
    groups: [],
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    jitter: 0,
    negativeTtlMs: undefined,
    softTimeoutMs: Infinity,
    timeoutMs: Infinity,
  }
}

/** Checks options where they are given, over those that hold otherwise; groups add up. Throws OptionsError with every problem. */
export function resolveValueOptions(
  where: string,
  options: LoadOptions,
  base: ResolvedValueOptions,
): ResolvedValueOptions {
  const problems: string[] = []
  const resolved = checkValueOptions(options, base, problems)
  if (problems.length > 0) throw new OptionsError(where, problems)
  return resolved
}

export function checkValueOptions(
  options: LoadOptions,
  base: ResolvedValueOptions,
  problems: string[],
): ResolvedValueOptions {
  const { ttl, group, jitter, negativeTtl } = options
  return {
    ttlMs: ttl === undefined ? base.ttlMs : lifetime('ttl', ttl, problems),
    groups: group === undefined ? base.groups : [...base.groups, ...resolveGroups(group, problems)],
    staleWhileRevalidateMs: span(
      'staleWhileRevalidate',
      options.staleWhileRevalidate,
      base.staleWhileRevalidateMs,
      problems,
    ),
    staleIfErrorMs: span('staleIfError', options.staleIfError, base.staleIfErrorMs, problems),
    jitter: jitter === undefined ? base.jitter : resolveJitter(jitter, problems),
    negativeTtlMs: negativeTtl === undefined ? base.negativeTtlMs : lifetime('negativeTtl', negativeTtl, problems),
    softTimeoutMs: limit('softTimeout', options.softTimeout, base.softTimeoutMs, problems),
    timeoutMs: limit('timeout', options.timeout, base.timeoutMs, problems),
  }
}

/** The options alone, without what else a caller's object holds on to (a request, a signal). */
export function sayings(options: LoadOptions): LoadOptions {
  const { ttl, group, staleWhileRevalidate, staleIfError, jitter, negativeTtl, softTimeout, timeout } = options
  return { ttl, group, staleWhileRevalidate, staleIfError, jitter, negativeTtl, softTimeout, timeout }
}

/** True where two sets of options are equal for sure. A list of groups may be changed by its owner, so it never is. */
export function saysTheSame(a: LoadOptions, b: LoadOptions): boolean {
  return (
    a.ttl === b.ttl &&
    a.group === b.group &&
    typeof a.group !== 'object' &&
    a.staleWhileRevalidate === b.staleWhileRevalidate &&
    a.staleIfError === b.staleIfError &&
    a.jitter === b.jitter &&
    a.negativeTtl === b.negativeTtl &&
    a.softTimeout === b.softTimeout &&
    a.timeout === b.timeout
  )
}

function endless(ms: number): number {
  return ms <= 0 ? Infinity : ms
}

function lifetime(name: string, ttl: Duration, problems: string[]): number {
  if (typeof ttl === 'number' && ttl <= 0) return Infinity
  return endless(span(name, ttl, 0, problems))
}

function limit(name: string, value: Duration | undefined, base: number, problems: string[]): number {
  if (value === undefined) return base
  const ms = span(name, value, 0, problems)
  if (ms === 0) problems.push(`${name}: a limit of 0 would leave no time at all`)
  return ms > TIMER_MAX_MS ? Infinity : ms
}

/** Timers of Node.js end at once where they are set for longer (24.8 days). */
const TIMER_MAX_MS = 2 ** 31 - 1

function span(name: string, value: Duration | undefined, base: number, problems: string[]): number {
  if (value === undefined) return base
  const ms = knownMs(value)
  if (ms === undefined) problems.push(`${name}: ${describe(value)} is not a duration; give ${DURATION_RULE}`)
  return ms ?? 0
}

/** Texts come again and again, at each call; over so many different ones somebody computes them. */
const KNOWN_MAX = 256

const known = new Map<string, number>()

function knownMs(value: Duration): number | undefined {
  if (typeof value !== 'string') return durationMs(value)
  const found = known.get(value)
  if (found !== undefined) return found
  const ms = durationMs(value)
  if (ms !== undefined && known.size < KNOWN_MAX) known.set(value, ms)
  return ms
}

function resolveGroups(group: string | readonly string[], problems: string[]): readonly string[] {
  const names: readonly unknown[] = Array.isArray(group) ? group : [group]
  if (names.length > GROUPS_PER_ENTRY_MAX) {
    problems.push(`group: an entry carries at most ${GROUPS_PER_ENTRY_MAX} groups, these are ${names.length}`)
    return []
  }
  for (const problem of new Set(names.map(groupProblem))) if (problem !== undefined) problems.push(`group: ${problem}`)
  return names as readonly string[]
}

function resolveJitter(jitter: number, problems: string[]): number {
  if (typeof jitter === 'number' && jitter >= 0 && jitter <= 1) return jitter
  problems.push(`jitter: ${describe(jitter)} is not a fraction from 0 to 1`)
  return 0
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

/** Options of every read. */
export interface ReadOptions {
  /** Groups the value was stored with. Naming them here saves a round trip; a value without them is a miss. */
  readonly group?: string | readonly string[] | undefined
  /** True: the value is deep-frozen, and as long as it is in this process' memory everybody is given the same object. */
  readonly shared?: boolean | undefined
}

export interface GetOptions extends ReadOptions {
  /** An object, such as the request, beside which the answer is remembered: for its life the same question is asked once. */
  readonly memo?: object | undefined
}

export interface SetOptions extends ValueOptions {
  /**
   * From `announce(key)`, taken before the value was made. The value is stored only if no other writer of the key was
   * active and nothing of it was invalidated since; otherwise nothing is left at the key and the next reader loads it.
   */
  readonly ifUnchangedSince?: WriteStamp | undefined
}

export interface GetOrSetOptions extends LoadOptions, GetOptions {
  readonly group?: string | readonly string[] | undefined
  /** Ends the caller's wait, and aborts the loader where it is this caller's. */
  readonly signal?: AbortSignal | undefined
}

export type GetOrSetManyOptions = Omit<GetOrSetOptions, 'memo'>

/** What the loader of many values is given. */
export interface BatchContext<T = unknown, Out = T> extends LoadContext {
  /** One for each key, in the same order: what was there before, and decisions about that value alone. */
  readonly items: readonly LoaderContext<T, Out>[]
}

/**
 * Loads many values at once: gives one for each key, in the same order. An Error in the place of a value fails its key
 * and no other; `undefined` is a negative result.
 */
export type BatchLoader<K, T, Out = T> = (
  keys: readonly K[],
  context: BatchContext<T, Out>,
) => readonly (T | Error)[] | Promise<readonly (T | Error)[]>

/** What `getEntry` tells of a key. */
export type ValueEntry<T> =
  | { readonly outcome: 'hit' | 'stale'; readonly value: T; readonly ageMs: number; readonly ttlMs: number }
  /** Known to be nothing (`negativeTtl`). */
  | { readonly outcome: 'negative'; readonly value: undefined; readonly ageMs: number; readonly ttlMs: number }
  | { readonly outcome: 'miss'; readonly reason: ValueMissReason; readonly value: undefined }

/**
 * - `absent`: nothing is stored, or it was invalidated
 * - `undecodable`: stored by another coder or version, or damaged
 * - `invalid`: the schema does not accept it
 * - `outage`: the store could not answer in time, so nobody knows
 */
export type ValueMissReason = 'absent' | 'undecodable' | 'invalid' | 'outage'

export interface SetResult {
  readonly stored: boolean
  /** `contested`: a writer of the key was active, or `ifUnchangedSince` does not hold. `outage`: the store was away. */
  readonly reason?: 'contested' | 'outage'
}

/** A value for `setMany`, with options of its own where it has some. */
export type SetItem<K = Key, T = unknown> = readonly [key: K, value: T, options?: ValueOptions | undefined]
