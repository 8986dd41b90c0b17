import type { HttpPolicy } from './policy.js'

/** Header fields as one flat list: name, value, name, value …; names as the handler wrote them, order and repetition kept. */
export type HeaderList = readonly string[]

export interface RequestHead {
  readonly method: string
  /** Value of a field by its lower-case name, repeated lines joined; undefined where the request has none. */
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
  readonly staleUntil: number
  readonly errorUntil: number
}

/** A response as the store gives it back. */
export interface StoredResponse extends ResponseHead, Lifetimes {
  readonly body: Buffer
  /** See `Flag`. */
  readonly flags: number
  readonly initialAgeMs: number
}

/** Facts about a stored response that a hit needs without parsing its fields again. Part of the stored format: never renumber. */
export const Flag = {
  /** The route's `ttl` set its lifetime, so `Date` is of the answer and there is no `Age`. */
  routeGoverned: 1,
  /** The handler sent no Cache-Control: we generate one that counts down. */
  generatedCacheControl: 2,
  /** The ETag is ours, made from the body. */
  generatedEtag: 4,
  /** must-revalidate, proxy-revalidate or s-maxage: never served stale (RFC 9111 section 4.2.4). */
  mustRevalidate: 8,
  /** One principal's: Cache-Control says `private`. */
  personal: 16,
} as const

/** Why a request does not use the cache, or an answer does not come from it. */
export type BypassReason =
  /** Only GET and HEAD are looked up. */
  | 'method'
  /** The request says `no-store`. */
  | 'request-no-store'
  /** The request carries `Authorization`, and the route does not say how credentials select an entry. */
  | 'authorization'
  /** `If-Match` or `If-Unmodified-Since`: only the origin can tell. */
  | 'precondition'
  /** The route's `per` gave no principal for this request. */
  | 'no-principal'
  /** The route is switched off. */
  | 'disabled'

export type MissReason =
  | 'absent'
  /** The request says `no-cache`, or `max-age` is less than the entry's age. */
  | 'request-directive'
  | 'expired'
  /** The store could not answer in time. */
  | 'outage'
  /** What stands at the key is not a response. */
  | 'unusable'

/** Why a response was served and not stored. */
export type RefusalReason =
  | 'request-no-store'
  | 'method'
  | 'status'
  | 'set-cookie'
  | 'response-no-store'
  | 'response-private'
  | 'response-no-cache'
  | 'vary-star'
  | 'vary'
  | 'content-encoding'
  | 'no-lifetime'
  | 'body-too-large'
  | 'headers-too-large'
  /** Its groups are too many, or one of them has a name that is none. */
  | 'groups'

/** What a request asks of the cache. */
export interface RequestPlan {
  readonly bypass: BypassReason | undefined
  readonly noStore: boolean
  readonly noCache: boolean
  readonly onlyIfCached: boolean
  readonly maxAgeMs: number
  readonly minFreshMs: number
  /** If-None-Match or If-Modified-Since is there. */
  readonly conditional: boolean
}

export type Verdict =
  | { readonly use: 'fresh' }
  /** Serve it and refresh it in the background: stale within its window, or early. */
  | { readonly use: 'stale' }
  | { readonly use: 'no'; readonly reason: MissReason; /** May stand in for a failure. */ readonly onError: boolean }

export interface Outgoing {
  readonly status: number
  /** All fields to send; Content-Length is the framework's. */
  readonly headers: HeaderList
  /** Null for 304. */
  readonly body: Buffer | null
}

export type StoreDecision =
  | { readonly store: false; readonly reason: RefusalReason }
  | {
      readonly store: true
      readonly lifetimes: Lifetimes
      readonly flags: number
      readonly initialAgeMs: number
      readonly headers: HeaderList
      /** Field names of the response's Vary that the route does not declare; lower case, sorted. */
      readonly learnedVary: readonly string[]
    }

export type { HttpPolicy }
