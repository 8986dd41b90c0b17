import type { Duration } from '../duration.js'
import type { VaryRule } from './vary-value.js'

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
