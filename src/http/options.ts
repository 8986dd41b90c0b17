import type { Duration } from '../duration.js'
import { checkOptions, OptionReader } from './check-options.js'
import { normaliser, type VaryNormaliser, type VaryRule } from './vary.js'

/** What a route says about its responses as HTTP. Durations are seconds, or `'500ms' | '30s' | '5m' | '2h' | '1d'`. */
export interface HttpOptions {
  /**
   * The values that options have when they are left out. `app`: for routes of an application. `rfc9111`: the
   * behaviour of a shared HTTP cache, for gateways, proxies and handlers that speak HTTP caching themselves. Default
   * `app`.
   */
  preset?: 'app' | 'rfc9111' | undefined
  /**
   * Lifetime; 0 keeps the entry until it is evicted. By status: `{ 200: '5m', 404: '10s' }`. Left out, the handler's
   * own Cache-Control or Expires counts, and where it has none `REDIS_DEFAULT_TTL` (in `rfc9111`: nothing is stored).
   */
  ttl?: Duration | Readonly<Record<number, Duration>> | undefined
  /**
   * How long after its lifetime an entry may be served while it is refreshed in the background (RFC 5861). Default 0.
   */
  staleWhileRevalidate?: Duration | undefined
  /**
   * How long after its lifetime an entry may stand in for a handler that throws, times out or answers 500, 502, 503,
   * 504. Default 0.
   */
  staleIfError?: Duration | undefined
  /**
   * Keep any retained entry to stand in for a failing handler, where no `stale-if-error` says how long (RFC 9111 section
   * 4.2.4). Default false; `rfc9111`: true.
   */
  staleOnError?: boolean | undefined
  /**
   * How long after its lifetime an entry is kept for validation and for `max-stale`. Default 0; `rfc9111`,
   * `staleOnError`: 1 hour.
   */
  retain?: Duration | undefined
  /** Shortens each lifetime of the route's by a random part of up to this fraction (0 to 1). Default 0. */
  jitter?: number | undefined
  /**
   * Statuses that are stored. Default: those that `ttl` names, otherwise 200; where the handler's own freshness counts,
   * the statuses of RFC 9110 section 15.1 and redirects. `'any'`: every final one but 304 (default in `rfc9111`).
   */
  statuses?: readonly number[] | 'any' | undefined
  /**
   * What outranks what the response says: `lifetime` puts `ttl` before the response's own targeted field; `all` also
   * disregards its `no-store`, `private`, `no-cache` and `must-revalidate`. Needs `ttl`.
   */
  override?: 'lifetime' | 'all' | undefined
  /**
   * Lifetime as this fraction of the time since Last-Modified, where the response says nothing (RFC 9111 section
   * 4.2.2). Default: none; `rfc9111`: 0.1.
   */
  heuristic?: number | undefined
  /** A longer body is served whole and not stored. Bytes. Default 10 MiB. */
  maxBodyBytes?: number | undefined
  /** A response with more bytes of header fields is served and not stored. Default 8 KiB. */
  maxHeaderBytes?: number | undefined
  /** `ignore`: a client's Cache-Control cannot make the handler run (RFC 9111 section 5.2.1). Default `honour`. */
  clientDirectives?: 'honour' | 'ignore' | undefined
  /**
   * Request fields that select the response, and how their values compare: names, or `{ 'accept-language': 'language'
   * }`.
   */
  vary?: string | readonly string[] | Readonly<Record<string, VaryRule>> | undefined
  /** Keep entries to one principal (`per`) and say `private` to other caches. Default: whether there is a `per`. */
  private?: boolean | undefined
  /**
   * Allow `private` without `per`: all clients share the entry, only other caches are told not to keep it. Default
   * false.
   */
  unsafeShared?: boolean | undefined
  /** Whose entry it is. Its type is the adapter's; here it only matters whether there is one. */
  per?: unknown
  /**
   * Requests with Authorization. `bypass`: only responses that allow sharing are used and stored (RFC 9111 section
   * 3.5). `keyed`: each principal has its own; needs `per`, and is the default with it. `shared`: you assert that
   * credentials make no difference to the response.
   */
  auth?: 'bypass' | 'keyed' | 'shared' | undefined
  /**
   * A response with Set-Cookie: `refuse` to store it, `strip` the field, or `store` it. Default `refuse`; `rfc9111`:
   * `store`.
   */
  setCookie?: 'refuse' | 'strip' | 'store' | undefined
  /**
   * A handler that reads a cookie or credential that is not in the key: `refuse` to store, or `ignore`. Names of more
   * fields, such as `['x-forwarded-host']`: refuse for those as well. Default `refuse`; `rfc9111`: `ignore`.
   */
  unkeyedReads?: 'refuse' | 'ignore' | readonly string[] | undefined
  /**
   * A response with Content-Encoding: store it only where it varies on Accept-Encoding (`vary`), or `store` any.
   * Default `vary`; `rfc9111`: `store`.
   */
  encoded?: 'vary' | 'store' | undefined
  /** Make a weak ETag from the body where the handler gave none. Default true. */
  etag?: boolean | undefined
  /** Send `X-Redis-Cache: HIT | MISS | BYPASS`. Default true. */
  statusHeader?: boolean | undefined
  /**
   * Send Cache-Status (RFC 9211) under this name; false: not. It tells clients how the cache works. Default false;
   * `rfc9111`: `redwell`.
   */
  cacheStatus?: string | false | undefined
  /**
   * How a hit tells its age. `age`: stored Date and an Age. `countdown`: fresh Date, lifetimes less the age. `auto`:
   * countdown where the route's lifetime counts, otherwise age. Default `auto`.
   */
  freshnessHeaders?: 'auto' | 'age' | 'countdown' | undefined
  /** Targeted fields this cache obeys (RFC 9213), first valid one wins. Default `['Redis-Cache-Control']`. */
  targets?: readonly string[] | undefined
  /** Ask the handler about a stale entry with the validators it made (RFC 9111 section 4.3). Default true. */
  revalidate?: boolean | undefined
  /** Send the ETags of other variants with a vary miss (RFC 9111 section 4.1). Default false. */
  validateOtherVariants?: boolean | undefined
  /** Let the handler see the client's own conditions when nothing is stored. Default false; `rfc9111`: true. */
  forwardConditionals?: boolean | undefined
  /** Store a 206 and answer ranges inside it (RFC 9111 section 3.3). Default false; `rfc9111`: true. */
  partial?: boolean | undefined
  /**
   * A 200 to HEAD freshens the stored GET, or marks it stale (RFC 9111 section 4.3.5). Default false; `rfc9111`:
   * true.
   */
  headUpdate?: boolean | undefined
  /**
   * Store a POST's 200 with its own URI as Content-Location for GET (RFC 9110 section 9.3.3). Default false;
   * `rfc9111`: true.
   */
  postContentLocation?: boolean | undefined
  /** A successful unsafe method invalidates its URI (RFC 9111 section 4.4). Default true. */
  autoInvalidate?: boolean | undefined
  /** … and those its Location and Content-Location name, of the same origin. Default true. */
  invalidateLocations?: boolean | undefined
  /** Obey Cache-Group-Invalidation (RFC 9875 section 3). Default true. */
  groupInvalidation?: boolean | undefined
  /** A URI's invalidation invalidates its groups, too (RFC 9875 section 2.2.1). Default false. */
  invalidateSharedGroups?: boolean | undefined
  /** Send the route's groups as Cache-Groups (RFC 9875), for caches in front. Default false. */
  emitCacheGroups?: boolean | undefined
  /** Whether the Host is part of the key. Default false; `rfc9111`: true. */
  host?: boolean | undefined
  /** One handler run for simultaneous requests of a key. Default true. */
  collapse?: boolean | undefined
}

/** A route's options as the decisions read them; resolved once, where the route is declared. */
export interface HttpPolicy {
  readonly preset: 'app' | 'rfc9111'
  /** Lifetime, or lifetime by status; Infinity: until evicted. Undefined: the handler's own freshness counts. */
  readonly ttlMs: number | ReadonlyMap<number, number> | undefined
  /** Lifetime where neither route nor handler gives one; undefined: not stored. */
  readonly defaultTtlMs: number | undefined
  readonly swrMs: number
  readonly sieMs: number
  readonly staleOnError: boolean
  readonly retainMs: number
  readonly jitter: number
  /** Undefined: the default of whoever governs. */
  readonly statuses: ReadonlySet<number> | 'any' | undefined
  readonly override: 'lifetime' | 'all' | undefined
  readonly heuristic: number
  readonly maxBodyBytes: number
  readonly maxHeaderBytes: number
  readonly clientDirectives: 'honour' | 'ignore'
  /** Request fields of the route, lower case, sorted. */
  readonly vary: readonly string[]
  readonly varyRules: ReadonlyMap<string, VaryNormaliser>
  /** There is a `per`. */
  readonly hasPrincipal: boolean
  /** Generated Cache-Control says `private`. */
  readonly private: boolean
  /** The author lets all clients share an entry that is private to other caches. */
  readonly unsafeShared: boolean
  /** Entries belong to one principal: a response that says `private` may be stored. */
  readonly personal: boolean
  readonly auth: 'bypass' | 'keyed' | 'shared'
  readonly setCookie: 'refuse' | 'strip' | 'store'
  readonly unkeyedReads: 'refuse' | 'ignore'
  /** Fields beside the credentials that a handler must not read, lower case. */
  readonly unkeyedFields: readonly string[]
  readonly encoded: 'vary' | 'store'
  readonly etag: boolean
  readonly statusHeader: boolean
  readonly cacheStatus: string | undefined
  readonly freshnessHeaders: 'auto' | 'age' | 'countdown'
  /** Lower case. */
  readonly targets: readonly string[]
  readonly revalidate: boolean
  readonly validateOtherVariants: boolean
  readonly forwardConditionals: boolean
  readonly partial: boolean
  readonly headUpdate: boolean
  readonly postContentLocation: boolean
  readonly autoInvalidate: boolean
  readonly invalidateLocations: boolean
  readonly groupInvalidation: boolean
  readonly invalidateSharedGroups: boolean
  readonly emitCacheGroups: boolean
  readonly host: boolean
  readonly collapse: boolean
}

/** Option values of a preset; a preset is nothing more. */
export interface Preset extends Omit<HttpPolicy, OfTheRoute> {
  /** Whether `REDIS_DEFAULT_TTL` counts where nobody gives a lifetime. */
  readonly useDefaultTtl: boolean
  readonly statuses: 'any' | undefined
}

/** What no preset has an opinion on. */
type OfTheRoute =
  | 'preset'
  | 'ttlMs'
  | 'statuses'
  | 'defaultTtlMs'
  | 'swrMs'
  | 'sieMs'
  | 'jitter'
  | 'override'
  | 'vary'
  | 'varyRules'
  | 'hasPrincipal'
  | 'private'
  | 'unsafeShared'
  | 'personal'
  | 'unkeyedFields'

/** The field only this cache reads; it never leaves the server. */
export const OWN_TARGET = 'redis-cache-control'

/** Larger bodies cost more to keep and to move than most handlers to run. */
const BODY_BYTES_MAX = 10 * 1024 * 1024

/** What Node and most proxies accept as a response head is 8 to 16 KiB. */
const HEADER_BYTES_MAX = 8 * 1024

/** Long enough that a client's next visit can still be answered by a validation. */
const RETAIN_MS = 3_600_000

/** The share of the time since Last-Modified that RFC 9111 section 4.2.2 calls typical. */
const HEURISTIC = 0.1

const APP: Preset = {
  useDefaultTtl: true,
  retainMs: 0,
  staleOnError: false,
  statuses: undefined,
  heuristic: 0,
  maxBodyBytes: BODY_BYTES_MAX,
  maxHeaderBytes: HEADER_BYTES_MAX,
  clientDirectives: 'honour',
  auth: 'bypass',
  setCookie: 'refuse',
  unkeyedReads: 'refuse',
  encoded: 'vary',
  etag: true,
  statusHeader: true,
  cacheStatus: undefined,
  freshnessHeaders: 'auto',
  targets: [OWN_TARGET],
  revalidate: true,
  validateOtherVariants: false,
  forwardConditionals: false,
  partial: false,
  headUpdate: false,
  postContentLocation: false,
  autoInvalidate: true,
  invalidateLocations: true,
  groupInvalidation: true,
  invalidateSharedGroups: false,
  emitCacheGroups: false,
  host: false,
  collapse: true,
}

const RFC9111: Preset = {
  ...APP,
  useDefaultTtl: false,
  retainMs: RETAIN_MS,
  statuses: 'any',
  heuristic: HEURISTIC,
  staleOnError: true,
  setCookie: 'store',
  unkeyedReads: 'ignore',
  encoded: 'store',
  cacheStatus: 'redwell',
  forwardConditionals: true,
  partial: true,
  headUpdate: true,
  postContentLocation: true,
  host: true,
}

export const PRESETS = { app: APP, rfc9111: RFC9111 } as const

/** What is known beside the options of the route. */
export interface HttpDefaults {
  /** `REDIS_DEFAULT_TTL` in milliseconds; 0 keeps entries until they are evicted. Default 0. */
  readonly defaultTtlMs?: number | undefined
}

/**
 * Resolves options as written on a route. Never throws: each problem goes into `problems` and its option has its
 * default.
 */
export function resolveHttpPolicy(options: HttpOptions, problems: string[], defaults: HttpDefaults = {}): HttpPolicy {
  const read = new OptionReader(options as Readonly<Record<string, unknown>>, problems)
  const name = read.choice('preset', ['app', 'rfc9111'], 'app')
  const preset = PRESETS[name]
  const policy: HttpPolicy = {
    preset: name,
    ...resolveLifetimes(read, preset),
    defaultTtlMs: preset.useDefaultTtl ? endless(defaults.defaultTtlMs ?? 0) : undefined,
    ...resolveStorage(read, preset),
    ...resolveSharing(options, read, preset),
    ...resolveFields(read, preset),
    ...resolveSwitches(read, preset),
  }
  checkOptions(options, policy, problems)
  return Object.freeze(policy)
}

function resolveLifetimes(read: OptionReader, preset: Preset) {
  const staleOnError = read.flag('staleOnError', preset.staleOnError)
  return {
    ttlMs: resolveTtl(read),
    swrMs: read.duration('staleWhileRevalidate', 0),
    sieMs: read.duration('staleIfError', 0),
    staleOnError,
    retainMs: read.duration('retain', staleOnError ? PRESETS.rfc9111.retainMs : preset.retainMs),
    jitter: read.fraction('jitter', 0),
    override: read.choice('override', ['lifetime', 'all', undefined], undefined),
    heuristic: read.fraction('heuristic', preset.heuristic),
  }
}

function resolveTtl(read: OptionReader): number | ReadonlyMap<number, number> | undefined {
  const ttl = read.durationOrMap('ttl')
  if (ttl === undefined || typeof ttl === 'number') return ttl === undefined ? undefined : endless(ttl)
  return new Map([...ttl].map(([status, ms]) => [status, endless(ms)]))
}

/** 0 is "until evicted". */
function endless(ms: number): number {
  return ms <= 0 ? Infinity : ms
}

function resolveStorage(read: OptionReader, preset: Preset) {
  return {
    statuses: read.statuses('statuses', preset.statuses),
    maxBodyBytes: read.bytes('maxBodyBytes', preset.maxBodyBytes),
    maxHeaderBytes: read.bytes('maxHeaderBytes', preset.maxHeaderBytes),
    setCookie: read.choice('setCookie', ['refuse', 'strip', 'store'], preset.setCookie),
    ...read.unkeyedReads('unkeyedReads', preset.unkeyedReads),
    encoded: read.choice('encoded', ['vary', 'store'], preset.encoded),
  }
}

/** `per` alone already makes entries personal; `private: false` beside it says that the principal is not a person. */
function resolveSharing(options: HttpOptions, read: OptionReader, preset: Preset) {
  const hasPrincipal = options.per !== undefined
  const isPrivate = read.flag('private', hasPrincipal)
  const personal = hasPrincipal && isPrivate
  return {
    hasPrincipal,
    private: isPrivate,
    personal,
    unsafeShared: read.flag('unsafeShared', false),
    auth: read.choice('auth', ['bypass', 'keyed', 'shared'], personal ? 'keyed' : preset.auth),
    clientDirectives: read.choice('clientDirectives', ['honour', 'ignore'], preset.clientDirectives),
  }
}

function resolveFields(read: OptionReader, preset: Preset) {
  const rules = read.varyRules('vary')
  return {
    vary: [...rules.keys()].sort(),
    varyRules: new Map([...rules].map(([name, rule]) => [name, normaliser(name, rule)])),
    targets: read.names('targets', preset.targets),
    cacheStatus: read.cacheStatus('cacheStatus', preset.cacheStatus),
    freshnessHeaders: read.choice('freshnessHeaders', ['auto', 'age', 'countdown'], preset.freshnessHeaders),
  }
}

function resolveSwitches(read: OptionReader, preset: Preset) {
  return {
    etag: read.flag('etag', preset.etag),
    statusHeader: read.flag('statusHeader', preset.statusHeader),
    revalidate: read.flag('revalidate', preset.revalidate),
    validateOtherVariants: read.flag('validateOtherVariants', preset.validateOtherVariants),
    forwardConditionals: read.flag('forwardConditionals', preset.forwardConditionals),
    partial: read.flag('partial', preset.partial),
    headUpdate: read.flag('headUpdate', preset.headUpdate),
    postContentLocation: read.flag('postContentLocation', preset.postContentLocation),
    autoInvalidate: read.flag('autoInvalidate', preset.autoInvalidate),
    invalidateLocations: read.flag('invalidateLocations', preset.invalidateLocations),
    groupInvalidation: read.flag('groupInvalidation', preset.groupInvalidation),
    invalidateSharedGroups: read.flag('invalidateSharedGroups', preset.invalidateSharedGroups),
    emitCacheGroups: read.flag('emitCacheGroups', preset.emitCacheGroups),
    host: read.flag('host', preset.host),
    collapse: read.flag('collapse', preset.collapse),
  }
}
