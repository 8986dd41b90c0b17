/** Why a request does not use the store at all. */
export type BypassReason =
  /** Only GET and HEAD are answered from the store (RFC 9110 section 9.2.3). */
  | 'method'
  /** The request says `no-store` (RFC 9111 section 5.2.1.5). */
  | 'request-no-store'
  /** If-Match or If-Unmodified-Since: only the origin can tell (RFC 9111 section 4.3.2). */
  | 'precondition'

/** Why a stored response was used or not. */
export type VerdictReason =
  | 'fresh'
  /** Stale, and the client accepts that (RFC 9111 section 5.2.1.2). */
  | 'max-stale'
  /** Stale, inside the window of `stale-while-revalidate` (RFC 5861 section 3). */
  | 'stale-while-revalidate'
  | 'stale'
  /** Softly invalidated. */
  | 'softened'
  /** The request says `no-cache` or `max-age=0` (RFC 9111 section 5.2.1.4). */
  | 'request-no-cache'
  /** Older than the request's `max-age` (RFC 9111 section 5.2.1.1). */
  | 'request-max-age'
  /** Not fresh for as long as the request's `min-fresh` (RFC 9111 section 5.2.1.3). */
  | 'request-min-fresh'
  /** The response says `no-cache`: used only after validation (RFC 9111 section 5.2.2.4). */
  | 'response-no-cache'
  /** The request has Authorization, and the response does not say it may be shared (RFC 9111 section 3.5). */
  | 'authorization'
  /** A stored 206 does not cover what is asked for (RFC 9111 section 3.3). */
  | 'partial'

/** Why a response was served and not stored. Logged once per route and reason. */
export type RefusalReason =
  /** Not the response to a GET. */
  | 'method'
  /** A HEAD has no content to store. */
  | 'head'
  /** The request says `no-store`. */
  | 'request-no-store'
  /** If-Match or If-Unmodified-Since in the request. */
  | 'precondition'
  /** The request has Authorization, and neither route nor response allow to share (RFC 9111 section 3.5). */
  | 'authorization'
  /** The route does not keep this status. */
  | 'status'
  /** 206, and the route does not have `partial`; or it has no usable Content-Range. */
  | 'partial'
  /** The body ended early, the handler threw, or Content-Length says otherwise (RFC 9111 section 3.3). */
  | 'truncated'
  /** The response sets a cookie (`setCookie`). */
  | 'set-cookie'
  /** The handler read a cookie or credential that is not part of the key (`unkeyedReads`). */
  | 'unkeyed-read'
  /** The response says `no-store` (RFC 9111 section 5.2.2.5). */
  | 'response-no-store'
  /** The response says `private`, and the entry would not belong to one principal (RFC 9111 section 5.2.2.7). */
  | 'response-private'
  /** The response says `no-cache` and there is nothing to validate it by (RFC 9111 section 5.2.2.4). */
  | 'response-no-cache'
  /** `Vary: *` (RFC 9111 section 4.1). */
  | 'vary-star'
  /** Encoded content that does not vary on Accept-Encoding (`encoded`). */
  | 'content-encoding'
  /** Neither the route nor the response gives a lifetime. */
  | 'no-freshness'
  /** Stale when it arrived, and of no use afterwards. */
  | 'already-stale'
  /** More than `maxBodyBytes`. */
  | 'body-too-large'
  /** More than `maxHeaderBytes`. */
  | 'headers-too-large'
  /** More Cache-Groups than an entry carries: what cannot be invalidated is not stored. */
  | 'too-many-groups'
  /** A POST without Content-Location of its own URI, or without explicit freshness (RFC 9110 section 9.3.3). */
  | 'content-location'

/** Refusals that come from the request, so that the next request of the key may well be stored. */
const OF_THE_REQUEST: ReadonlySet<RefusalReason> = new Set<RefusalReason>([
  'method',
  'head',
  'request-no-store',
  'precondition',
  'authorization',
  'partial',
  'truncated',
  'content-location',
])

/** Whether a refusal holds for all requests of the key. */
export function holdsForKey(reason: RefusalReason): boolean {
  return !OF_THE_REQUEST.has(reason)
}
