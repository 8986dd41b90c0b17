import type { Duration } from '../duration.js'
import { OWN_TARGET } from './fields.js'
import {
  bytes,
  checkCacheName,
  checkDuration,
  checkLifetime,
  checkFieldNames,
  checkStatuses,
  checkVary,
  choice,
  flag,
  fraction,
  oneOf,
  Option,
  type Resolved,
  resolveOptions,
  type Written,
} from './option.js'
import { type DeclaredVary, normaliser, type VaryOption, type VaryPolicy } from './vary.js'

/** Larger bodies cost more to keep and to move than most handlers to run. */
const BODY_BYTES_MAX = 10 * 1024 * 1024

/** Node and most proxies accept a response head of 8 to 16 KiB. */
const HEADER_BYTES_MAX = 8 * 1024

/** Long enough that a client's next visit can still be answered by a validation. */
const RETAIN_MS = 3_600_000

/** The fraction of the time since Last-Modified that RFC 9111 section 4.2.2 calls typical. */
const HEURISTIC = 0.1

/**
 * Every option about a route's responses: its comment, the values that it takes, and its defaults in the presets `app`
 * and `rfc9111`. Types, checks, the policy and the tables of the docs (scripts/option-tables.mjs) come from here, see
 * docs/decisions/0009-one-table-of-options.md. The script also writes the last sentence of each comment, `Default: …`.
 */
export const HTTP_OPTIONS = {
  // Lifetime
  /**
   * Defaults of all other options. `'rfc9111'`: the behaviour of a shared HTTP cache, for gateways, proxies and
   * handlers that set HTTP caching fields themselves. Default: `'app'`; `rfc9111`: `'rfc9111'`.
   */
  preset: choice(['app', 'rfc9111'], 'app', 'rfc9111'),
  /**
   * Lifetime; `0` keeps the entry until it is evicted. By status: `{ 200: '5m', 404: '10s' }`. Without it the handler's
   * `Cache-Control` or `Expires` counts, then `REDIS_DEFAULT_TTL` (`rfc9111`: nothing is stored). Default: none.
   */
  ttl: new Option<Duration | Readonly<Record<number, Duration>>, number | ReadonlyMap<number, number> | undefined>(
    checkLifetime,
    undefined,
  ),
  /** How long after its lifetime an entry is served while one handler run refreshes it (RFC 5861). Default: `0`. */
  staleWhileRevalidate: new Option<Duration, number>(checkDuration, 0),
  /**
   * How long after its lifetime an entry replaces a handler that throws, times out or answers 500, 502, 503 or 504.
   * Default: `0`.
   */
  staleIfError: new Option<Duration, number>(checkDuration, 0),
  /**
   * Any retained entry replaces a failed handler where no `stale-if-error` sets a limit (RFC 9111 section 4.2.4).
   * Default: `false`; `rfc9111`: `true`.
   */
  staleOnError: flag(false, true),
  /**
   * How long after its lifetime an entry is kept for validation and for `max-stale`; 1 hour with `staleOnError`.
   * Default: `0`; `rfc9111`: `1 h`.
   */
  retain: new Option<Duration, number | undefined>(checkDuration, undefined, RETAIN_MS, '`0`'),
  /** Shortens each lifetime set by the route by a random part of up to this fraction, `0` to `1`. Default: `0`. */
  jitter: fraction(0),
  /**
   * Lifetime as a fraction of the time since `Last-Modified`, without explicit freshness (RFC 9111 section 4.2.2).
   * Default: `0`; `rfc9111`: `0.1`.
   */
  heuristic: fraction(0, HEURISTIC),
  /**
   * `'lifetime'`: `ttl` also outranks the response's targeted field. `'all'`: its `no-store`, `private`, `no-cache` and
   * `must-revalidate` are disregarded as well. Needs `ttl`. Default: none.
   */
  override: choice(['lifetime', 'all'], undefined),
  /**
   * Cache-Control fields for this cache alone (RFC 9213); the first valid one replaces `Cache-Control`. Default:
   * `['redis-cache-control']`.
   */
  targets: new Option<readonly string[], readonly string[]>(checkFieldNames, [OWN_TARGET]),

  // What is stored
  /**
   * Statuses that are stored. `'any'`: every final one except 304. Without it those that `ttl` names or 200; where the
   * handler sets the lifetime, those of RFC 9110 section 15.1 and redirects. Default: `[200]`; `rfc9111`: `'any'`.
   */
  statuses: new Option<readonly number[] | 'any', ReadonlySet<number> | 'any' | undefined>(
    checkStatuses,
    undefined,
    'any',
    '`[200]`',
  ),
  /** A longer body is served and not stored. Bytes. Default: `10 MiB`. */
  maxBodyBytes: bytes(BODY_BYTES_MAX),
  /** A response with more bytes of header fields is served and not stored. Default: `8 KiB`. */
  maxHeaderBytes: bytes(HEADER_BYTES_MAX),
  /**
   * A response with `Set-Cookie`: `'refuse'` to store it, `'strip'` the field, or `'store'` it. Default: `'refuse'`;
   * `rfc9111`: `'store'`.
   */
  setCookie: choice(['refuse', 'strip', 'store'], 'refuse', 'store'),
  /**
   * A response with `Content-Encoding`: stored if it has `Vary: Accept-Encoding` (`'vary'`), or always (`'store'`).
   * Default: `'vary'`; `rfc9111`: `'store'`.
   */
  encoded: choice(['vary', 'store'], 'vary', 'store'),
  /**
   * A handler that reads a cookie, credential or client address which is not in the key: `'refuse'` to store, or
   * `'ignore'`. Names such as `['x-forwarded-host']` are refused as well. Default: `'refuse'`; `rfc9111`: `'ignore'`.
   */
  unkeyedReads: new Option<'refuse' | 'ignore' | readonly string[], 'refuse' | 'ignore' | readonly string[]>(
    (value, problem, name) =>
      Array.isArray(value) ? checkFieldNames(value, problem, name) : oneOf(['refuse', 'ignore'])(value, problem, name),
    'refuse',
    'ignore',
  ),
  /** Stores a 206 and answers ranges inside it (RFC 9111 section 3.3). Default: `false`; `rfc9111`: `true`. */
  partial: flag(false, true),
  /**
   * Stores a POST's 200 that has its own URI as `Content-Location` for GET (RFC 9110 section 9.3.3). Default: `false`;
   * `rfc9111`: `true`.
   */
  postContentLocation: flag(false, true),

  // Who gets it
  /**
   * What selects the response in addition to its path: a request field such as `'accept-language'`, a list of fields,
   * or an object. `{ cookie: 'lang' }`: one cookie. `{ tenant: (request) => … }`: a value derived from the request;
   * other caches receive `Vary: *`, or, with `{ value, from: 'x-tenant' }`, the fields that it is derived from. `{
   * 'accept-language': 'language' }`: a field compared by `'list'`, `'exact'` or `'language'`. At most 32 variants of a
   * path are kept. Names in the response's `Vary` are learned. Default: none.
   */
  vary: new Option<VaryOption<never>, DeclaredVary | undefined>(checkVary, undefined),
  /**
   * Sends `private` to other caches. Needs `per`, which turns it on, or `shared`: a page behind a guard, the same for
   * all. Default: `true` with `per`, otherwise `false`.
   */
  private: flag(undefined, undefined, '`true` with `per`, otherwise `false`'),
  /**
   * You assert that the response does not depend on who asks: requests with a `principal` or `Authorization` share the
   * entry. With `private`, other caches do not. Default: `false`.
   */
  shared: flag(false),
  /**
   * Requests with `Authorization`. `'bypass'`: only responses that allow sharing are used and stored (RFC 9111 section
   * 3.5). `'keyed'`: each principal has its own entry; needs `per`, which turns it on. `'shared'`: you assert that
   * credentials make no difference to the response. Default: `'keyed'` with `per`, `'shared'` with `shared`, otherwise
   * `'bypass'`.
   */
  auth: choice(
    ['bypass', 'keyed', 'shared'],
    undefined,
    undefined,
    "`'keyed'` with `per`, `'shared'` with `shared`, otherwise `'bypass'`",
  ),
  /**
   * `'ignore'`: a client's `Cache-Control` cannot make the handler run (RFC 9111 section 5.2.1). Default: `'honour'`.
   */
  clientDirectives: choice(['honour', 'ignore'], 'honour'),
  /** Whether the Host is part of the key. Default: `false`; `rfc9111`: `true`. */
  host: flag(false, true),
  /** One handler run for simultaneous requests of a key. Default: `true`. */
  collapse: flag(true),

  // What is sent
  /** Makes a weak `ETag` from the body where the handler set none. Default: `true`. */
  etag: flag(true),
  /** Sends `X-Redis-Cache: HIT | MISS | BYPASS`. Default: `true`. */
  statusHeader: flag(true),
  /**
   * Sends `Cache-Status` (RFC 9211) under this name. It discloses how the cache works. Default: `false`; `rfc9111`:
   * `'redwell'`.
   */
  cacheStatus: new Option<string | false, string | false>(checkCacheName, false, 'redwell'),
  /**
   * The longest lifetime that clients and other caches receive, where the route's own `ttl` is sent. `0` sends
   * `max-age=0, must-revalidate`: they keep the response and ask each time whether its `ETag` still holds. Default: the
   * lifetime.
   */
  clientMaxAge: new Option<Duration, number | undefined>(checkDuration, undefined, undefined, 'the lifetime'),
  /**
   * How a hit shows its age. `'age'`: the stored `Date`, and `Age`. `'countdown'`: a new `Date`, and a lifetime less
   * the age. `'auto'`: countdown where the route sets the lifetime, otherwise age. Default: `'auto'`.
   */
  freshnessHeaders: choice(['auto', 'age', 'countdown'], 'auto'),
  /** Sends the route's groups as `Cache-Groups` (RFC 9875), for caches in front. Default: `false`. */
  emitCacheGroups: flag(false),

  // Validation
  /** Asks the handler about a stale entry with the validators that it made (RFC 9111 section 4.3). Default: `true`. */
  revalidate: flag(true),
  /** Sends the `ETag`s of other variants when no variant matches (RFC 9111 section 4.1). Default: `false`. */
  validateOtherVariants: flag(false),
  /** The handler sees the client's own conditions when nothing is stored. Default: `false`; `rfc9111`: `true`. */
  forwardConditionals: flag(false, true),
  /**
   * A 200 to HEAD freshens the stored GET, or marks it stale (RFC 9111 section 4.3.5). Default: `false`; `rfc9111`:
   * `true`.
   */
  headUpdate: flag(false, true),

  // Invalidation
  /** A successful unsafe method invalidates its URI (RFC 9111 section 4.4). Default: `true`. */
  autoInvalidate: flag(true),
  /**
   * It also invalidates `Location` and `Content-Location` of the same origin. `'created'`: `Location` only with 201, so
   * that a redirect after a POST does not evict the page it leads to. Default: `'created'`; `rfc9111`: `true`.
   */
  invalidateLocations: choice([true, false, 'created'], 'created', true),
  /** Obeys `Cache-Group-Invalidation` (RFC 9875 section 3). Default: `true`. */
  groupInvalidation: flag(true),
  /** Invalidating a URI also invalidates its groups (RFC 9875 section 2.2.1). Default: `false`. */
  invalidateSharedGroups: flag(false),
}

/** What a route declares about its responses. Durations are seconds, or `'500ms' | '30s' | '5m' | '2h' | '1d'`. */
export interface HttpOptions extends Written<typeof HTTP_OPTIONS> {}

type Values = Resolved<typeof HTTP_OPTIONS>

/** Options that a policy holds in another form. */
type Derived = 'clientMaxAge' | 'ttl' | 'staleWhileRevalidate' | 'staleIfError' | 'retain' | 'vary' | 'private' | 'auth'

/** A route's options as the decisions read them; resolved once, where the route is declared. */
export interface HttpPolicy extends Omit<Values, Derived>, VaryPolicy {
  /** Lifetime, or lifetime by status; Infinity: until evicted. Undefined: the handler's own freshness counts. */
  readonly ttlMs: Values['ttl']
  /** Lifetime where neither route nor handler sets one; undefined: not stored. */
  readonly defaultTtlMs: number | undefined
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
  readonly retainMs: number
  readonly clientMaxAgeMs: number | undefined
  /** The generated Cache-Control contains `private`. */
  readonly private: boolean
  /** Entries belong to one principal: a response with `private` may be stored. */
  readonly personal: boolean
  readonly auth: NonNullable<Values['auth']>
}

const NO_VARY: DeclaredVary = { rules: new Map(), values: [] }

/**
 * Resolves options as written on a route. Never throws: each problem goes into `problems`, and its option has its
 * default. `per` is the route's own; here it only matters whether there is one. `defaultTtlMs` is `REDIS_DEFAULT_TTL`; 0
 * keeps entries until they are evicted. `varyBehind`: see there.
 */
export function resolveHttpPolicy(
  options: HttpOptions & { readonly per?: unknown },
  problems: string[],
  {
    defaultTtlMs = 0,
    varyBehind = [],
  }: { readonly defaultTtlMs?: number | undefined; readonly varyBehind?: readonly string[] } = {},
): HttpPolicy {
  const preset = options.preset === 'rfc9111' ? 'rfc9111' : 'app'
  const values = resolveOptions(HTTP_OPTIONS, options, preset, problems)
  const { ttl, vary: { rules, values: varyValues } = NO_VARY } = values
  const hasPrincipal = options.per !== undefined
  // `private: false` with a `per` means that the principal is not a person.
  const isPrivate = values.private ?? hasPrincipal
  const personal = hasPrincipal && isPrivate
  const policy: HttpPolicy = {
    ...values,
    ttlMs: ttl,
    defaultTtlMs: preset === 'app' ? defaultTtlMs || Infinity : undefined,
    staleWhileRevalidateMs: values.staleWhileRevalidate,
    staleIfErrorMs: values.staleIfError,
    retainMs: values.retain ?? (values.staleOnError ? RETAIN_MS : 0),
    clientMaxAgeMs: values.clientMaxAge,
    vary: [...rules.keys()].sort(),
    varyRules: new Map([...rules].map(([name, rule]) => [name, normaliser(name, rule)])),
    varyValues,
    varyBehind: [...new Set([...varyBehind, ...varyValues.flatMap(({ from }) => from)])],
    private: isPrivate,
    personal,
    auth: values.auth ?? (personal ? 'keyed' : values.shared ? 'shared' : 'bypass'),
  }
  // Options that make no sense together.
  if (policy.private && !hasPrincipal && !policy.shared) {
    problems.push('private: needs `per`, which names the principal; `shared: true` shares it between all clients')
  }
  if (policy.shared && hasPrincipal) {
    problems.push('shared: excludes `per`; leave one of the two out')
  }
  if (policy.auth === 'keyed' && !hasPrincipal) {
    problems.push("auth: 'keyed' needs `per`, which names the principal that Authorization stands for")
  }
  if (options.override !== undefined && options.ttl === undefined) {
    problems.push('override: needs `ttl`, the lifetime that outranks the response')
  }
  if (ttl instanceof Map && options.statuses !== undefined) {
    problems.push('statuses: `ttl` names the statuses already; leave one of the two out')
  }
  if (rules.has('*')) {
    problems.push("vary: '*' matches no request, so no entry could ever be served; leave `cache` out instead")
  }
  return Object.freeze(policy)
}
