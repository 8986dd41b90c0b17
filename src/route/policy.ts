import type { PathRule } from '../cache/key.js'
import { describeValue, isOptionsObject, OptionsError, unknownOptions } from '../errors.js'
import { HTTP_OPTIONS, type HttpOptions, type HttpPolicy, resolveHttpPolicy, resolveOptions } from '../http/index.js'
import {
  type CacheEvictOptions,
  type CacheOptions,
  type CachePutOptions,
  type EntryOptions,
  EVICT_OPTIONS,
  type GroupOption,
  type KeyOptions,
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
  /** Request fields that the router decides by: other caches have to know them. Lower case; `*`: not known which. */
  readonly routedBy?: readonly string[] | undefined
  /** Why a text cannot be a prefix; undefined where it can. */
  readonly prefixProblem: (prefix: unknown) => string | undefined
}

export interface KeyPolicy<Req> {
  readonly key: KeyOptions<Req>['key']
  readonly per: KeyOptions<Req>['per']
  readonly when: EntryOptions<Req>['when']
  /** All requests share an entry, regardless of their principal. */
  readonly shared: boolean
  readonly prefix: string | undefined
  readonly host: boolean
  readonly path: PathRule
}

export interface RoutePolicy<Req> extends KeyPolicy<Req> {
  readonly enabled: boolean
  readonly group: GroupOption<Req> | undefined
  readonly storeWhen: EntryOptions<Req>['storeWhen']
  readonly earlyRefresh: number
  /** Undefined: the default of all waits. */
  readonly wait: number | undefined
  /** Undefined: no limit. */
  readonly concurrency: number | undefined
  /** Undefined: the default of all leases. */
  readonly lease: number | undefined
  /** Of entries that requests share; of those with `per` as a function, that of a principal's. */
  readonly http: HttpPolicy
  /** Neither route nor application says whether hosts share entries. */
  readonly hostUndeclared: boolean
  /** Of a principal's entry. */
  readonly personal: HttpPolicy
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
  checkObject(where, options, "{ ttl: '5m' }")
  const problems: string[] = []
  checkNames(options, 'entry', problems)
  checkContradictions(options, problems)
  const own = resolveOptions(ROUTE_OPTIONS, options, 'app', problems)
  const { earlyRefresh, wait, concurrency, lease, query } = own
  const enabled = options.enabled === undefined ? (defaults.defaults.enabled ?? own.enabled) : own.enabled
  if (concurrency !== undefined && wait === 0)
    problems.push('concurrency: excludes `wait: 0`, with which no request waits for its turn')
  const written: HttpOptions & { readonly per?: unknown } = { ...defaults.defaults, ...options }
  // A principal is made of credentials: other caches, and browsers before and after a login, must not mix the two.
  const context = {
    ...defaults,
    varyBehind: [...(options.per === true ? ['authorization', 'cookie'] : []), ...(defaults.routedBy ?? [])],
  }
  const personal = resolveHttpPolicy(written, problems, context)
  const http = options.per === true ? resolveHttpPolicy(anonymous(written), [], context) : personal
  const key = resolveKey(
    options,
    { ...defaults, host: http.host, path: pathRule(defaults.path, http) },
    query,
    problems,
    http.shared,
  )
  if (problems.length > 0) throw new OptionsError(where, problems)
  const { group, when, storeWhen } = options
  const hostUndeclared = written.host === undefined && !http.host && options.key === undefined
  const run = { enabled, earlyRefresh, wait, concurrency, lease }
  return { ...key, ...run, when, storeWhen, hostUndeclared, group, http, personal }
}

/** The options of a route with `per: true` for the entry that anonymous requests share. */
function anonymous(options: HttpOptions): Parameters<typeof resolveHttpPolicy>[0] {
  return { ...options, per: undefined, private: undefined, auth: options.auth === 'keyed' ? undefined : options.auth }
}

/** `app.get('/a', cache, handler)` hands a request to the function that makes the middleware. */
function checkObject(where: string, options: unknown, sample: string): void {
  const isRequest = isOptionsObject(options) && ['headers', 'req', 'raw'].some((name) => name in options)
  if (isOptionsObject(options) && !isRequest) return
  const given = isRequest ? 'a request' : describeValue(options)
  const word = where.replace(/^options of /, '')
  const call = isRequest ? `, and call it where the route is declared: ${word}(${sample})` : ''
  throw new OptionsError(where, [`${given} is not an object of options; write ${sample}${call}`])
}

/** Options of which one leaves the other without effect. */
function checkContradictions<Req>(options: CacheOptions<Req> | CachePutOptions<Req>, problems: string[]): void {
  const { key, query, host, collapse, wait, etag, clientMaxAge } = options
  const excludes = (name: string, why: string): void => void problems.push(`${name}: ${why}; leave one of the two out`)
  if (key !== undefined && query !== undefined) excludes('query', 'has no effect with `key`, which takes its place')
  if (key !== undefined && host === true) excludes('host', 'has no effect with `key`, which takes its place')
  if (collapse === false && wait !== undefined) excludes('wait', 'has no effect with `collapse: false`')
  if (etag === false && clientMaxAge === 0)
    excludes('clientMaxAge', '`0` needs an ETag for clients to ask by, and `etag` is false')
}

/** Options of `cacheEvict`. */
export function resolveEvictPolicy<Req>(
  where: string,
  options: CacheEvictOptions<Req>,
  defaults: RouteDefaults,
): EvictPolicy<Req> {
  checkObject(where, options, "{ key: 'path' }")
  const problems: string[] = []
  checkNames(options, 'evict', problems)
  if (options.group === undefined && options.key === undefined) {
    problems.push("nothing to evict: write `group`, or `key: 'path'` for the GET of this path")
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
  defaults: [...Object.keys(HTTP_OPTIONS).filter((name) => name !== 'private' && name !== 'shared'), 'enabled'],
}

/** A misspelt option would silently do nothing. */
export function checkNames(options: object, of: keyof typeof KNOWN, problems: string[]): void {
  problems.push(...unknownOptions(options, KNOWN[of]))
}

/** The options of `defaults` that are not HTTP options. */
export function checkDefaults(defaults: ResponseDefaults, problems: string[]): void {
  checkNames(defaults, 'defaults', problems)
  resolveOptions({ enabled: ROUTE_OPTIONS.enabled }, defaults, 'app', problems)
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
  shared = true,
): KeyPolicy<Req> {
  const prefixProblem = options.prefix === undefined ? undefined : defaults.prefixProblem(options.prefix)
  if (prefixProblem !== undefined) problems.push(`prefix: ${prefixProblem}`)
  const { key, per, prefix, host = defaults.host } = options
  const path = query === undefined ? defaults.path : { ...defaults.path, query }
  return { key, per, when: undefined, shared, prefix, host, path }
}

/** The longest life of an entry. Groups created for a fill live as long; a longer entry extends them when it is stored. */
export function longestLifeMs(http: HttpPolicy): number {
  const { ttlMs, defaultTtlMs = 0, staleWhileRevalidateMs, staleIfErrorMs, retainMs } = http
  const lives = ttlMs === undefined ? [defaultTtlMs] : typeof ttlMs === 'number' ? [ttlMs] : [...ttlMs.values()]
  return Math.max(...lives) + Math.max(staleWhileRevalidateMs, staleIfErrorMs, retainMs)
}
