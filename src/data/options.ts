import { encodeGroup, groupProblem, GROUPS_PER_ENTRY_MAX } from '../cache/key.js'
import { durationMs, durationProblem } from '../duration.js'
import { describeValue, isOptionsObject, OptionsError, unknownOptions, UsageError } from '../errors.js'
import type { Coder } from './coder.js'
import { type Compressor, resolveCompression } from './compression.js'
import type { LoadOptions, NamespaceOptions, StandardSchema } from './types.js'

/** Options after defaults and checks. */
export interface ResolvedValueOptions {
  /** Infinity: until evicted. */
  readonly ttlMs: number
  readonly groups: readonly string[]
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
  readonly jitter: number
  /** Undefined: negative results are not stored. */
  readonly negativeTtlMs: number | undefined
  readonly softTimeoutMs: number
  readonly timeoutMs: number
  /** Undefined: the timeout, or the default of all waits. */
  readonly waitMs: number | undefined
  /** Undefined: no limit. */
  readonly concurrency: number | undefined
}

export function defaultOptions(defaultTtlMs: number): ResolvedValueOptions {
  return {
    ttlMs: endless(defaultTtlMs),
    groups: [],
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    jitter: 0,
    negativeTtlMs: undefined,
    softTimeoutMs: Infinity,
    timeoutMs: Infinity,
    waitMs: undefined,
    concurrency: undefined,
  }
}

/** Options that describe a value; `Compared` are those that change how a call is resolved. */
const COMPARED: readonly string[] = [
  ...['ttl', 'group', 'staleWhileRevalidate', 'staleIfError', 'jitter'],
  ...['negativeTtl', 'softTimeout', 'timeout', 'wait', 'concurrency'],
]

/** An object of options may be written once and given to several calls, so every call accepts the names of all. */
const CALL_OPTIONS: readonly string[] = [...COMPARED, 'shared', 'default', 'memo', 'signal', 'ifUnchangedSince']

const NAMESPACE_OPTIONS: readonly string[] = [...COMPARED, 'shared', 'version', 'coder', 'compression', 'schema', 'key']

/** Checks the options of a call; groups add to those of `base`. Throws OptionsError with every problem. */
export function resolveOptions(where: string, options: LoadOptions, base: ResolvedValueOptions): ResolvedValueOptions {
  if (!isOptionsObject(options)) {
    const meant = durationMs(options) === undefined ? '{ ttl: … }' : `{ ttl: ${describeValue(options)} }`
    throw new OptionsError(where, [`${describeValue(options)} is not an options object; write ${meant}`])
  }
  const problems = unknownOptions(options, CALL_OPTIONS)
  const resolved = readOptions(options, base, problems)
  if (problems.length > 0) throw new OptionsError(where, problems)
  return resolved
}

/** A namespace after defaults and checks. */
export interface ResolvedNamespace {
  readonly defaults: ResolvedValueOptions
  readonly compressor: Compressor
}

/** Throws OptionsError with every problem. `name` is undefined for the cache itself. */
export function resolveNamespace<K>(
  name: string | undefined,
  options: NamespaceOptions<K>,
  base: ResolvedValueOptions,
): ResolvedNamespace {
  const where = `options of namespace '${name}'`
  if (!isOptionsObject(options)) throw new OptionsError(where, [`${describeValue(options)} is not an options object`])
  const problems = unknownOptions(options, NAMESPACE_OPTIONS)
  const { group, coder, schema, version, key } = options
  const nameProblem = name === undefined ? undefined : groupProblem(name)
  if (nameProblem !== undefined) problems.push(`name: ${nameProblem.replace('group', 'namespace')}`)
  if (schema !== undefined && !isSchema(schema))
    problems.push('schema: not a Standard Schema (Zod 3.24+, Valibot 1+, ArkType 2+ and others are)')
  if (coder !== undefined) problems.push(...coderProblems(coder))
  if (version !== undefined && (version === '' || (typeof version !== 'string' && !Number.isFinite(version))))
    problems.push(`version: ${describeValue(version)} is not a number or a non-empty string`)
  if (key !== undefined && typeof key !== 'function') problems.push(`key: ${describeValue(key)} is not a function`)
  const compressor = resolveCompression(options.compression, problems)
  const fixed = { ...options, group: typeof group === 'function' ? undefined : group }
  const defaults = readOptions(fixed, base, problems)
  if (problems.length > 0) throw new OptionsError(where, problems)
  return { defaults, compressor }
}

function coderProblems(coder: unknown): string[] {
  const problems: string[] = []
  const { name, encode, decode }: Partial<Coder> = Object(coder)
  if (typeof encode !== 'function' || typeof decode !== 'function')
    problems.push('coder: needs a name, encode(value) and decode(bytes)')
  // It is written to the entry's header fields, which are latin1.
  if (typeof name !== 'string' || !/^[\x20-\x7e]+$/.test(name)) problems.push('coder: its name must be printable ASCII')
  return problems
}

function isSchema(schema: unknown): schema is StandardSchema {
  return (isObject(schema) || typeof schema === 'function') && '~standard' in schema
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function readOptions(options: LoadOptions, base: ResolvedValueOptions, problems: string[]): ResolvedValueOptions {
  const duration = (name: DurationOption, fallback: number): number => {
    const value = options[name]
    if (value === undefined) return fallback
    const ms = durationMs(value)
    if (ms === undefined) problems.push(`${name}: ${durationProblem(value, describeValue(value))}`)
    return ms ?? fallback
  }
  const lifetime = <T extends number | undefined>(name: DurationOption, fallback: T): number | T => {
    const value = options[name]
    if (value === undefined) return fallback
    return typeof value === 'number' && value <= 0 ? Infinity : endless(duration(name, 0))
  }
  const limit = (name: DurationOption, fallback: number): number => {
    const ms = duration(name, fallback)
    if (options[name] !== undefined && ms === 0) problems.push(`${name}: must be more than 0; write a duration`)
    return ms > TIMER_MAX_MS ? Infinity : ms
  }
  const { shared, signal }: { readonly shared?: unknown; readonly signal?: unknown } = options as object
  if (shared !== undefined && typeof shared !== 'boolean')
    problems.push(`shared: ${describeValue(shared)} must be true or false`)
  if (signal !== undefined && !(signal instanceof AbortSignal))
    problems.push(`signal: ${describeValue(signal)} must be an AbortSignal`)
  const { group, jitter = base.jitter } = options
  if (!(typeof jitter === 'number' && jitter >= 0 && jitter <= 1))
    problems.push(`jitter: ${describeValue(jitter)} is not a fraction; write a number from 0 to 1`)
  const { concurrency = base.concurrency } = options
  const waitMs = options.wait === undefined ? base.waitMs : Math.min(duration('wait', 0), TIMER_MAX_MS)
  if (concurrency !== undefined && !(Number.isSafeInteger(concurrency) && concurrency >= 1))
    problems.push(`concurrency: ${describeValue(concurrency)} must be a whole number of at least 1`)
  if (concurrency !== undefined && waitMs === 0)
    problems.push('concurrency: excludes `wait: 0`, with which no caller waits for its turn')
  return {
    ttlMs: lifetime('ttl', base.ttlMs),
    groups: group === undefined ? base.groups : [...base.groups, ...groupNames(group, problems)],
    staleWhileRevalidateMs: duration('staleWhileRevalidate', base.staleWhileRevalidateMs),
    staleIfErrorMs: duration('staleIfError', base.staleIfErrorMs),
    jitter,
    negativeTtlMs: lifetime('negativeTtl', base.negativeTtlMs),
    softTimeoutMs: limit('softTimeout', base.softTimeoutMs),
    timeoutMs: limit('timeout', base.timeoutMs),
    waitMs,
    concurrency,
  }
}

type DurationOption = Exclude<keyof LoadOptions, 'group' | 'jitter' | 'concurrency'>

/** Node.js timers that are set for longer (24.8 days) fire at once. */
const TIMER_MAX_MS = 2 ** 31 - 1

function endless(ms: number): number {
  return ms <= 0 ? Infinity : ms
}

function groupNames(group: unknown, problems: string[]): string[] {
  const names: readonly unknown[] = Array.isArray(group) ? group : [group]
  if (names.length > GROUPS_PER_ENTRY_MAX) {
    problems.push(`group: an entry can have at most ${GROUPS_PER_ENTRY_MAX} groups, not ${names.length}`)
    return []
  }
  for (const problem of new Set(names.map(groupProblem))) if (problem !== undefined) problems.push(`group: ${problem}`)
  return names.filter((name) => typeof name === 'string')
}

function checkedGroups(where: string, group: unknown): string[] {
  const problems: string[] = []
  const names = groupNames(group, problems)
  if (problems.length > 0) throw new OptionsError(where, problems)
  return names
}

/** `base` with further groups. Throws OptionsError. */
export function withGroups(where: string, base: ResolvedValueOptions, group: unknown): ResolvedValueOptions {
  return { ...base, groups: [...base.groups, ...checkedGroups(where, group)] }
}

/** Names of groups to invalidate, encoded. Throws OptionsError. */
export function encodedGroups(operation: string, group: unknown): string[] {
  return checkedGroups(`argument of ${operation}`, group).map(encodeGroup)
}

/** The options that matter, without what else the caller's object refers to (a request, a signal). */
export function pickOptions(options: LoadOptions): LoadOptions {
  const { ttl, group, staleWhileRevalidate, staleIfError, jitter } = options
  const { negativeTtl, softTimeout, timeout, wait, concurrency } = options
  const load = { negativeTtl, softTimeout, timeout, wait, concurrency }
  return { ttl, group, staleWhileRevalidate, staleIfError, jitter, ...load }
}

/** Whether options are certainly equal. A list of groups never is: its owner may change it. Unknown names differ. */
export function sameOptions(a: LoadOptions, b: LoadOptions): boolean {
  if (typeof a !== 'object' || a === null) return false
  // The usual names first: a set lookup for each would be a tenth of a hit from memory.
  for (const name in a)
    if (name !== 'ttl' && name !== 'group' && name !== 'shared' && !CALL_NAMES.has(name)) return false
  return (
    a.ttl === b.ttl &&
    a.group === b.group &&
    typeof a.group !== 'object' &&
    a.staleWhileRevalidate === b.staleWhileRevalidate &&
    a.staleIfError === b.staleIfError &&
    a.jitter === b.jitter &&
    a.negativeTtl === b.negativeTtl &&
    a.softTimeout === b.softTimeout &&
    a.timeout === b.timeout &&
    a.wait === b.wait &&
    a.concurrency === b.concurrency
  )
}

const CALL_NAMES = new Set(CALL_OPTIONS)

export function checkLoader(operation: string, loader: unknown): void {
  if (typeof loader === 'function') return
  const what = `The loader of ${operation} is ${describeValue(loader)}`
  throw new UsageError(`${what}; pass a function that returns the value.`)
}
