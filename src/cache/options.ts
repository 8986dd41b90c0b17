import { DURATION_RULE, type Duration, durationMs } from '../duration.js'
import { OptionsError } from '../errors.js'
import { GROUPS_PER_ENTRY_MAX, groupProblem } from './group.js'

/** Options that describe how long a value is kept and what invalidates it. */
export interface ValueOptions {
  /** Lifetime: seconds, or `'500ms' | '30s' | '5m' | '2h' | '1d'`. 0 or less keeps it until it is evicted. Default: `REDIS_DEFAULT_TTL`. */
  ttl?: Duration | undefined
  /** One call of `deleteGroup` with one of these names invalidates the value. */
  group?: string | readonly string[] | undefined
  /** How long after its lifetime the value may be served while it is loaded anew. Default 0. */
  staleWhileRevalidate?: Duration | undefined
  /** How long after its lifetime the value may be served when loading fails. Default 0. */
  staleIfError?: Duration | undefined
  /** Shortens each lifetime by a random part of up to this fraction (0 to 1), so that values do not expire together. Default 0. */
  jitter?: number | undefined
}

export interface ResolvedValueOptions {
  /** Infinity: until evicted. */
  readonly ttlMs: number
  readonly groups: readonly string[]
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
  readonly jitter: number
}

/** Checks options once, where they are given. Throws OptionsError with every problem. */
export function resolveValueOptions(where: string, options: ValueOptions, defaultTtlMs: number): ResolvedValueOptions {
  const problems: string[] = []
  const resolved = {
    ttlMs: options.ttl === undefined ? endless(defaultTtlMs) : lifetime(options.ttl, problems),
    groups: resolveGroups(options.group, problems),
    staleWhileRevalidateMs: optionalDuration('staleWhileRevalidate', options.staleWhileRevalidate, problems),
    staleIfErrorMs: optionalDuration('staleIfError', options.staleIfError, problems),
    jitter: resolveJitter(options.jitter, problems),
  }
  if (problems.length > 0) throw new OptionsError(where, problems)
  return resolved
}

function endless(ms: number): number {
  return ms <= 0 ? Infinity : ms
}

function lifetime(ttl: Duration, problems: string[]): number {
  if (typeof ttl === 'number' && ttl <= 0) return Infinity
  return endless(optionalDuration('ttl', ttl, problems))
}

function optionalDuration(name: string, value: Duration | undefined, problems: string[]): number {
  if (value === undefined) return 0
  const ms = durationMs(value)
  if (ms === undefined) problems.push(`${name}: ${describe(value)} is not a duration; give ${DURATION_RULE}`)
  return ms ?? 0
}

function resolveGroups(group: string | readonly string[] | undefined, problems: string[]): readonly string[] {
  const names: readonly unknown[] = group === undefined ? [] : Array.isArray(group) ? group : [group]
  if (names.length > GROUPS_PER_ENTRY_MAX) {
    problems.push(`group: an entry carries at most ${GROUPS_PER_ENTRY_MAX} groups, these are ${names.length}`)
    return []
  }
  for (const problem of new Set(names.map(groupProblem))) if (problem !== undefined) problems.push(`group: ${problem}`)
  return names as readonly string[]
}

function resolveJitter(jitter: number | undefined, problems: string[]): number {
  if (jitter === undefined) return 0
  if (typeof jitter === 'number' && jitter >= 0 && jitter <= 1) return jitter
  problems.push(`jitter: ${describe(jitter)} is not a fraction from 0 to 1`)
  return 0
}

function describe(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}
