import { groupProblem, GROUPS_PER_ENTRY_MAX } from '../cache/group.js'
import type { PathRule } from '../cache/key.js'
import { OptionsError } from '../errors.js'
import { type HttpPolicy, resolveHttpPolicy } from '../http/index.js'
import type {
  CacheEvictOptions,
  CacheOptions,
  CachePutOptions,
  GroupOption,
  KeyOptions,
  ResponseDefaults,
} from './options.js'

/** What the application says once for all routes. */
export interface RouteDefaults {
  readonly defaultTtlMs: number
  /** Options that a route has when it does not say otherwise. */
  readonly defaults: ResponseDefaults
  /** Whether the Host is part of a key that is not told otherwise. */
  readonly host: boolean
  /** How the framework tells paths apart. */
  readonly path: PathRule
  /** Why a text cannot be a prefix. */
  readonly prefixProblem: (prefix: unknown) => string | undefined
}

export interface KeyPolicy<Req> {
  readonly key: KeyOptions<Req>['key']
  readonly per: KeyOptions<Req>['per']
  readonly prefix: string | undefined
  readonly host: boolean
  readonly path: PathRule
}

export interface RoutePolicy<Req> extends KeyPolicy<Req> {
  readonly enabled: boolean
  readonly group: GroupOption<Req> | undefined
  readonly earlyRefresh: number
  readonly http: HttpPolicy
}

export interface EvictPolicy<Req> extends KeyPolicy<Req> {
  readonly group: CacheEvictOptions<Req>['group']
  readonly evictKey: CacheEvictOptions<Req>['key']
  readonly mode: 'hard' | 'soft'
}

/** Options of `cache` and `cachePut`, checked once where they are declared. Throws OptionsError with every problem. */
export function resolvePolicy<Req>(
  where: string,
  options: CacheOptions<Req> | CachePutOptions<Req>,
  defaults: RouteDefaults,
): RoutePolicy<Req> {
  const problems: string[] = []
  if (!isObject(options)) throw new OptionsError(where, ['options must be an object'])
  checkNames(options, 'entry', problems)
  checkGroup(options.group, problems)
  const http = resolveHttpPolicy({ ...defaults.defaults, ...options }, problems, defaults)
  const policy = {
    ...resolveKey(options, { ...defaults, host: http.host, path: pathRule(defaults.path, http) }, problems),
    enabled: options.enabled !== false,
    group: options.group,
    earlyRefresh: fraction('earlyRefresh', options.earlyRefresh, problems),
    http,
  }
  if (problems.length > 0) throw new OptionsError(where, problems)
  return policy
}

/** Options of `cacheEvict`. */
export function resolveEvictPolicy<Req>(
  where: string,
  options: CacheEvictOptions<Req>,
  defaults: RouteDefaults,
): EvictPolicy<Req> {
  const problems: string[] = []
  if (!isObject(options)) throw new OptionsError(where, ['options must be an object with `group`, `key` or both'])
  checkNames(options, 'evict', problems)
  if (options.group === undefined && options.key === undefined) {
    problems.push("says nothing to evict: give `group`, or `key: 'path'` for the GET of this path")
  }
  checkGroup(options.group, problems)
  const { key, mode } = options
  if (key !== undefined && key !== 'path' && typeof key !== 'function' && !Array.isArray(key)) {
    problems.push("key: must be 'path', a list of key parts, or a function of the request and the result")
  }
  if (mode !== undefined && mode !== 'hard' && mode !== 'soft')
    problems.push(`mode: ${String(mode)} is not one of hard, soft`)
  const policy = {
    ...resolveKey({ ...options, key: undefined }, defaults, problems),
    group: options.group,
    evictKey: key,
    mode: mode ?? 'hard',
  }
  if (problems.length > 0) throw new OptionsError(where, problems)
  return policy
}

const KEY_OPTIONS = ['key', 'per', 'prefix', 'host', 'query', 'group']

const RESPONSE_OPTIONS = [
  ...['preset', 'ttl', 'staleWhileRevalidate', 'staleIfError', 'staleOnError', 'retain', 'jitter', 'statuses'],
  ...['override', 'heuristic', 'maxBodyBytes', 'maxHeaderBytes', 'clientDirectives', 'vary', 'auth', 'setCookie'],
  ...['unkeyedReads', 'encoded', 'etag', 'statusHeader', 'cacheStatus', 'freshnessHeaders', 'targets', 'revalidate'],
  ...['validateOtherVariants', 'forwardConditionals', 'partial', 'headUpdate', 'postContentLocation'],
  ...['autoInvalidate', 'invalidateLocations', 'groupInvalidation', 'invalidateSharedGroups', 'emitCacheGroups'],
  'collapse',
]

const KNOWN = {
  entry: new Set([...KEY_OPTIONS, ...RESPONSE_OPTIONS, 'private', 'unsafeShared', 'enabled', 'earlyRefresh']),
  evict: new Set([...KEY_OPTIONS, 'mode']),
  defaults: new Set([...RESPONSE_OPTIONS, 'host']),
}

/** A misspelt option would silently do nothing. */
export function checkNames(options: object, of: keyof typeof KNOWN, problems: string[]): void {
  for (const name of Object.keys(options)) if (!KNOWN[of].has(name)) problems.push(`${name}: there is no such option`)
}

/** What speaks HTTP caching itself knows its queries: they count as they are sent (RFC 9111 section 2). */
export function pathRule(path: PathRule, { preset }: Pick<HttpPolicy, 'preset'>): PathRule {
  return { ...path, query: preset === 'rfc9111' ? EXACT : undefined }
}

const EXACT = { sort: false } as const

function resolveKey<Req>(options: KeyOptions<Req>, defaults: RouteDefaults, problems: string[]): KeyPolicy<Req> {
  for (const name of ['key', 'per'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function')
      problems.push(`${name}: must be a function of the request`)
  }
  const prefixProblem = options.prefix === undefined ? undefined : defaults.prefixProblem(options.prefix)
  if (prefixProblem !== undefined) problems.push(`prefix: ${prefixProblem}`)
  checkQuery(options.query, problems)
  const path = options.query === undefined ? defaults.path : { ...defaults.path, query: options.query }
  return { key: options.key, per: options.per, prefix: options.prefix, host: options.host ?? defaults.host, path }
}

function checkQuery(query: KeyOptions<unknown>['query'], problems: string[]): void {
  if (query === undefined) return
  if (!isObject(query)) return void problems.push('query: must be an object with `ignore`, `only` or `sort`')
  for (const name of ['ignore', 'only'] as const) {
    const names: unknown = query[name]
    if (names !== undefined && !(Array.isArray(names) && names.every((one) => typeof one === 'string'))) {
      problems.push(`query.${name}: must be a list of parameter names`)
    }
  }
  if (query.ignore !== undefined && query.only !== undefined)
    problems.push('query: `ignore` and `only` exclude each other')
}

function checkGroup(group: unknown, problems: string[]): void {
  if (group === undefined || typeof group === 'function') return
  const names: readonly unknown[] = Array.isArray(group) ? group : [group]
  if (names.length > GROUPS_PER_ENTRY_MAX)
    problems.push(`group: an entry carries at most ${GROUPS_PER_ENTRY_MAX} groups, these are ${names.length}`)
  for (const problem of new Set(names.map(groupProblem))) if (problem !== undefined) problems.push(`group: ${problem}`)
}

function fraction(name: string, value: unknown, problems: string[]): number {
  if (value === undefined) return 0
  if (typeof value === 'number' && value >= 0 && value <= 1) return value
  problems.push(`${name}: must be a number from 0 to 1`)
  return 0
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Groups that are created for a fill live as long as the longest entry it may become; a longer one prolongs them when it is stored. */
export function longestLifeMs({ ttlMs, defaultTtlMs = 0, swrMs, sieMs, retainMs }: HttpPolicy): number {
  const lives = ttlMs === undefined ? [defaultTtlMs] : typeof ttlMs === 'number' ? [ttlMs] : [...ttlMs.values()]
  return Math.max(...lives) + Math.max(swrMs, sieMs, retainMs)
}
