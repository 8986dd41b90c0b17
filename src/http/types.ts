import type { RequestDirectives } from './cache-control.js'
import type { HeaderList } from './fields.js'

export interface RequestHead {
  readonly method: string
  /** Request target, path and query. Only needed where a POST may be stored for GET (`postContentLocation`). */
  readonly target?: string | undefined
  /**
   * Value of a field by its lower-case name; repeated lines joined with ', ', cookies with '; '. Undefined where
   * absent.
   */
  header(name: string): string | undefined
}

export interface ResponseHead {
  readonly status: number
  readonly headers: HeaderList
}

/** Instants in milliseconds since the epoch; Infinity is "no end". */
export interface Lifetimes {
  readonly storedAt: number
  readonly freshUntil: number
  /** May be served while it is refreshed, up to here. */
  readonly staleUntil: number
  /** Of use in any way, up to here: in place of a failure, for validation, or for `max-stale`. */
  readonly errorUntil: number
}

/** A response as the store returns it. */
export interface StoredResponse extends ResponseHead, Lifetimes {
  readonly body: Buffer
  /** Bits of `Flag`. */
  readonly flags: number
  /** Age of the response when it was stored (RFC 9111 section 4.2.3); 0 where the route sets the lifetime. */
  readonly initialAgeMs: number
  /** Facts derived on the first hit; never stored. A memory store returns the same object each time. */
  memo?: unknown
}

/** How a request uses the cache. */
export interface RequestPlan {
  /** Why the store is not read and the handler runs with the request as it is; undefined for a lookup. */
  readonly bypass: BypassReason | undefined
  /** The entry that the response may become: that of a GET, of a write, of a POST with Content-Location, or none. */
  readonly stores: 'get' | 'write' | 'post' | 'none'
  /** Why the response may not be stored; set where `stores` is `none`. */
  readonly refusal: RefusalReason | undefined
  readonly head: boolean
  /** No directive, condition or range in the request: a fresh entry answers it as it is. */
  readonly plain: boolean
  /** The request has Authorization, which is not part of the key: only responses that allow sharing may be used. */
  readonly authorized: boolean
  readonly directives: RequestDirectives
  /** May share one handler run, and its response, with other requests. */
  readonly collapsible: boolean
  readonly ifNoneMatch: string | undefined
  readonly ifModifiedSince: string | undefined
  readonly range: string | undefined
  readonly ifRange: string | undefined
}

/** Whether a stored response answers a request. */
export interface ReuseDecision {
  /**
   * `fresh`: serve it. `stale-while-revalidate`: serve it and refresh it in the background. `validate`: run the
   * handler, with the stored validators where `conditional`. `unusable`: run the handler as if nothing were stored.
   */
  readonly action: 'fresh' | 'stale-while-revalidate' | 'validate' | 'unusable'
  readonly reason: ReuseReason
  /** May replace a handler that throws, times out or answers 500, 502, 503 or 504 (RFC 5861 section 4). */
  readonly servableOnError: boolean
  /** Has validators that the handler made, and the route revalidates. */
  readonly conditional: boolean
  /** Never served stale: a handler that fails now is a 504 (RFC 9111 section 5.2.2.2). */
  readonly mustRevalidate: boolean
}

/** A complete answer. A class: V8 moves object literals of a busy place to old space, where each keeps its request alive. */
export class OutgoingResponse {
  readonly status: number
  /** All fields to send. Content-Length is the framework's, except for HEAD, where it is that of the GET. */
  readonly headers: HeaderList
  /** Null: no content. */
  readonly body: Buffer | null
  /** What the adapter derives from this object. */
  memo?: unknown = undefined
  /** How often values of `headers` were changed: the hits of an entry share one object, whose age is set for each. */
  version = 0

  constructor(status: number, headers: HeaderList, body: Buffer | null) {
    this.status = status
    this.headers = headers
    this.body = body
  }
}

export interface Storable {
  readonly store: true
  /** The entry without its body. A write-through is stored as the response to a GET. */
  readonly entry: Omit<StoredResponse, 'body' | 'memo'>
  /** `ETag` and `Date` where this cache made them: they are in the entry, and a miss sends them as well. */
  readonly addedHeaders: HeaderList
  /** The route's groups as members of Cache-Groups; '' for none. They are in the entry; a miss sends them as well. */
  readonly addedGroups: string
  /** Names in the response's Cache-Groups (RFC 9875). */
  readonly groups: readonly string[]
  /** Request fields that select this response: the route's and those in its Vary; lower case, sorted, each once. */
  readonly varyNames: readonly string[]
}

export interface Refused {
  readonly store: false
  readonly reason: RefusalReason
  /** Holds for other requests of the key as well: they must not queue (hit-for-pass). */
  readonly forKey: boolean
}

export type StoreDecision = Storable | Refused

/** What is known about a handler run when its response is sent. */
export interface RunFacts {
  /** Why the stored response was not used; undefined where there was none. */
  readonly reuse?: ReuseDecision | undefined
  /** Entries exist for other variants. */
  readonly varyMiss?: boolean | undefined
  /** Whether the result of the run is stored: false where fence or store refused it. Default: as decided. */
  readonly stored?: boolean | undefined
  /** Why the store was not asked, or why the response was not stored. */
  readonly detail?: string | undefined
}

/** How a stored response comes to be the answer. */
export interface StoredResponseContext extends Pick<RunFacts, 'reuse' | 'varyMiss' | 'stored'> {
  /** `error`: in place of a failed handler run. */
  readonly kind: 'hit' | 'stale' | 'collapsed' | 'revalidated' | 'error'
}

/** Why a request went forward to the handler (RFC 9211 section 2.2). */
export type Forward = 'bypass' | 'method' | 'uri-miss' | 'vary-miss' | 'request' | 'stale' | 'partial'

/** Why a request does not use the store at all, and the word of Cache-Status for it. */
export const BYPASS_REASONS = {
  method: 'method', // only GET and HEAD are answered from the store (RFC 9110 section 9.2.3)
  'request-no-store': 'request', // RFC 9111 section 5.2.1.5
  websocket: 'bypass', // a handshake, whose answer is a connection (RFC 6455 section 4.1)
  precondition: 'bypass', // If-Match, If-Unmodified-Since: only the origin can evaluate them (RFC 9111 section 4.3.2)
} as const satisfies Record<string, Forward>

export type BypassReason = keyof typeof BYPASS_REASONS

/** Why a stored response was used or not, and the word of Cache-Status where the handler ran. */
export const REUSE_REASONS = {
  fresh: 'stale',
  'max-stale': 'stale', // stale, and the client accepts that (RFC 9111 section 5.2.1.2)
  'stale-while-revalidate': 'stale', // RFC 5861 section 3
  stale: 'stale',
  softened: 'stale', // softly invalidated
  'request-no-cache': 'request', // also `max-age=0` (RFC 9111 section 5.2.1.4)
  'request-max-age': 'request', // RFC 9111 section 5.2.1.1
  'request-min-fresh': 'request', // RFC 9111 section 5.2.1.3
  'response-no-cache': 'stale', // used only after validation (RFC 9111 section 5.2.2.4)
  authorization: 'bypass', // the response does not allow sharing (RFC 9111 section 3.5)
  partial: 'partial', // a stored 206 does not cover the requested range (RFC 9111 section 3.3)
  precondition: 'bypass', // with `only-if-cached`, so the handler cannot be asked either
} as const satisfies Record<string, Forward>

export type ReuseReason = keyof typeof REUSE_REASONS

/**
 * Why a response was served and not stored; logged once per route and reason. True: it holds for all requests of the
 * key. False: the response to the next request may be stored.
 */
const REFUSAL_REASONS = {
  method: false, // not the response to a GET
  head: false, // no content to store
  'request-no-store': false,
  websocket: false,
  precondition: false, // If-Match or If-Unmodified-Since in the request
  authorization: false, // in the request, and neither route nor response allow sharing (RFC 9111 section 3.5)
  status: true, // not one that the route stores
  partial: false, // a 206 without `partial` or a usable Content-Range; a 416, which answers one client's range
  truncated: false, // Content-Length does not match the body (RFC 9111 section 3.3)
  'set-cookie': true, // option `setCookie`
  principal: false, // of a request whose entry would be shared, known only when the handler had run
  'unkeyed-read': true, // the handler read a cookie, credential or client address that is not part of the key (`unkeyedReads`)
  'reflected-origin': true, // Access-Control-Allow-Origin repeats the Origin of the request, and Vary does not name it
  'store-when': false, // the route's `storeWhen` returned false
  nonce: true, // its body contains a nonce or a token that its head declares for this response
  'response-no-store': true, // RFC 9111 section 5.2.2.5
  'response-private': true, // and the entry would not belong to one principal (RFC 9111 section 5.2.2.7)
  'response-no-cache': true, // and there is no validator (RFC 9111 section 5.2.2.4)
  'vary-star': true, // RFC 9111 section 4.1
  'content-encoding': true, // and it does not vary on Accept-Encoding (`encoded`)
  'no-freshness': true, // neither route nor response set a lifetime
  'already-stale': true, // when it arrived, and of no use afterwards
  'body-too-large': true, // `maxBodyBytes`
  'headers-too-large': true, // `maxHeaderBytes`
  'too-many-groups': true, // an entry that cannot be invalidated by all its groups is not stored
  'event-stream': true, // its body never ends
  'content-location': false, // a POST without that of its own URI, or explicit freshness (RFC 9110 section 9.3.3)
}

/** Why a response was sent and not stored; docs/troubleshooting.md says what to do. */
export type RefusalReason = keyof typeof REFUSAL_REASONS

export function refuse(reason: RefusalReason): Refused {
  return { store: false, reason, forKey: REFUSAL_REASONS[reason] }
}

/**
 * Facts about a stored response that a hit needs without parsing its fields again. Part of the stored format: a bit
 * never changes its meaning. At most 16.
 */
export const Flag = {
  /** The route set the lifetime; otherwise the handler. */
  routeGoverned: 1,
  /** A hit sends the stored Date and an Age; otherwise neither, and a generated Cache-Control counts down. */
  age: 2,
  /** must-revalidate, proxy-revalidate or s-maxage: never served stale (RFC 9111 section 4.2.4). */
  noStale: 4,
  /** no-cache: used only after validation (RFC 9111 section 5.2.2.4). */
  validate: 8,
  /** This cache made the ETag from the body; the handler does not know it. */
  generatedEtag: 16,
  /** May answer requests with Authorization (RFC 9111 section 3.5). */
  sharedAuth: 32,
  /** RFC 8246. */
  immutable: 64,
  /** The handler set a Cache-Control: it is sent as it is, none is generated. */
  ownCacheControl: 128,
  /** The handler made an ETag or a Last-Modified. */
  validators: 256,
  /** A 206: one range of the representation. */
  partial: 512,
  /** `errorUntil` is the end of retention; the stale-if-error window ends before it (see `errorWindowEnd`). */
  retained: 1024,
  /** Belongs to one principal: the generated Cache-Control contains `private`. */
  personal: 2048,
  /** With `retained`: there is no stale-if-error window at all. */
  noErrorWindow: 4096,
} as const

export function hasFlag(flags: number, flag: number): boolean {
  return (flags & flag) !== 0
}
