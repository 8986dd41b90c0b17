import type { PathRule } from '../cache/key.js'
import { OptionsError, unknownOptions } from '../errors.js'
import { HTTP_OPTIONS, type HttpPolicy, resolveHttpPolicy, resolveOptions } from '../http/index.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import {
  type CacheEvictOptions,
  type CacheOptions,
  type CachePutOptions,
  EVICT_OPTIONS,
  type GroupOption,
  isObject,
  type KeyOptions,
  type Principal,
  type ResponseDefaults,
  ROUTE_OPTIONS,
} from './options.js'

/** Settings of the application for all its routes. */
export interface RouteDefaults {
  readonly defaultTtlMs: number
  /** Options of a route that does not set its own. */
  readonly defaults: ResponseDefaults
  /** Whether the Host is part of the key of a route that does not set `host`. */
  readonly host: boolean
  /** Which paths the framework's router treats as equal. */
  readonly path: PathRule
  /** Why a text cannot be a prefix; undefined where it can. */
  readonly prefixProblem: (prefix: unknown) => string | undefined
}

export interface KeyPolicy<Req> {
  readonly key: KeyOptions<Req>['key']
  readonly per: ((request: Req) => MaybePromise<string | undefined>) | undefined
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
  if (!isObject(options)) throw new OptionsError(where, ['options must be an object'])
  const problems: string[] = []
  checkNames(options, 'entry', problems)
  const { enabled, earlyRefresh, query } = resolveOptions(ROUTE_OPTIONS, options, 'app', problems)
  const http = resolveHttpPolicy({ ...defaults.defaults, ...options }, problems, defaults)
  const key = resolveKey(
    options,
    { ...defaults, host: http.host, path: pathRule(defaults.path, http) },
    query,
    problems,
  )
  if (problems.length > 0) throw new OptionsError(where, problems)
  return { ...key, enabled, group: options.group, earlyRefresh, http }
}

/** Options of `cacheEvict`. */
export function resolveEvictPolicy<Req>(
  where: string,
  options: CacheEvictOptions<Req>,
  defaults: RouteDefaults,
): EvictPolicy<Req> {
  if (!isObject(options)) throw new OptionsError(where, ['options must be an object with `group`, `key` or both'])
  const problems: string[] = []
  checkNames(options, 'evict', problems)
  if (options.group === undefined && options.key === undefined) {
    problems.push("names nothing to evict: write `group`, or `key: 'path'` for the GET of this path")
  }
  const { mode, query } = resolveOptions(EVICT_OPTIONS, options, 'app', problems)
  const { group, key: evictKey } = options
  const key = resolveKey({ ...options, key: undefined }, defaults, query, problems)
  if (problems.length > 0) throw new OptionsError(where, problems)
  return { ...key, group, evictKey, mode }
}

const KNOWN = {
  entry: [...Object.keys(HTTP_OPTIONS), ...Object.keys(ROUTE_OPTIONS)],
  evict: Object.keys(EVICT_OPTIONS),
  defaults: Object.keys(HTTP_OPTIONS).filter((name) => name !== 'private' && name !== 'unsafeShared'),
}

/** A misspelt option would silently do nothing. */
export function checkNames(options: object, of: keyof typeof KNOWN, problems: string[]): void {
  problems.push(...unknownOptions(options, KNOWN[of]))
}

/** A handler that sets HTTP caching fields itself expects its query as it was sent (RFC 9111 section 2). */
export function pathRule(path: PathRule, { preset }: Pick<HttpPolicy, 'preset'>): PathRule {
  return { ...path, query: preset === 'rfc9111' ? EXACT : undefined }
}

const EXACT = { sort: false } as const

function resolveKey<Req>(
  options: KeyOptions<Req>,
  defaults: RouteDefaults,
  query: KeyOptions<Req>['query'],
  problems: string[],
): KeyPolicy<Req> {
  const prefixProblem = options.prefix === undefined ? undefined : defaults.prefixProblem(options.prefix)
  if (prefixProblem !== undefined) problems.push(`prefix: ${prefixProblem}`)
  const { key, per, prefix, host = defaults.host } = options
  const path = query === undefined ? defaults.path : { ...defaults.path, query }
  return { key, per: per && ((request) => chain(per(request), principalText)), prefix, host, path }
}

/** A number without a value, such as the id of a missing user, is no principal. */
function principalText(principal: Principal | undefined): string | undefined {
  if (typeof principal === 'number') return Number.isNaN(principal) ? undefined : String(principal)
  return typeof principal === 'bigint' ? String(principal) : principal
}

/** The longest life of an entry. Groups created for a fill live as long; a longer entry extends them when it is stored. */
export function longestLifeMs(http: HttpPolicy): number {
  const { ttlMs, defaultTtlMs = 0, staleWhileRevalidateMs, staleIfErrorMs, retainMs } = http
  const lives = ttlMs === undefined ? [defaultTtlMs] : typeof ttlMs === 'number' ? [ttlMs] : [...ttlMs.values()]
  return Math.max(...lives) + Math.max(staleWhileRevalidateMs, staleIfErrorMs, retainMs)
}
