import type { MaybePromise } from '../maybe-promise.js'
import type { Key, KeyPart, QueryRule } from '../cache/key.js'
import type { HttpOptions } from '../http/index.js'

/** What selects the entry of a route. The same on the GET, the PUT and the DELETE of a path. */
export interface KeyOptions<Req> {
  /** Key parts from the request, in place of its path and query. */
  key?: ((request: Req) => MaybePromise<Key>) | undefined
  /** Whose entry it is: the name of the principal, such as a user's id. `undefined` leaves the cache out of this request. */
  per?: ((request: Req) => MaybePromise<string | undefined>) | undefined
  /** First part of the keys below the application's own prefix; entries of another prefix are another world. */
  prefix?: string | undefined
  /** Whether the Host is part of the key. Default false; with the `rfc9111` preset true. */
  host?: boolean | undefined
  /** Which parameters of the query count. Default: all, in any order. */
  query?: QueryRule | undefined
}

/** Groups of an entry: one, several, or a function of the request. */
export type GroupOption<Req> =
  | string
  | readonly string[]
  | ((request: Req) => MaybePromise<string | readonly string[] | undefined>)

/** Options that say how a response is kept and told about; see docs/http.md. */
export type ResponseOptions = Omit<HttpOptions, 'host' | 'per' | 'private' | 'unsafeShared'>

/** Options that all routes of an application have, where a route does not say otherwise. */
export type ResponseDefaults = ResponseOptions & Pick<HttpOptions, 'host'>

interface EntryOptions<Req> extends ResponseOptions, KeyOptions<Req> {
  /** Names that invalidate the entry, through `cacheEvict({ group })` or `cache.deleteGroup`. */
  group?: GroupOption<Req> | undefined
  /** The last part of the lifetime (0 to 1) in which a hit may refresh the entry in the background, the likelier the later. Default 0. */
  earlyRefresh?: number | undefined
  /** False: this route is not cached. Default true. */
  enabled?: boolean | undefined
}

/** A private response belongs to somebody: `private` needs `per`. */
type Privacy<Req> =
  | { private?: false | undefined }
  | { private: true; per: (request: Req) => MaybePromise<string | undefined> }
  /** All clients share the entry, and only other caches are told not to keep it. */
  | { private: true; unsafeShared: true }

/** Options of `cache`: what a GET route may keep, and for how long. */
export type CacheOptions<Req> = EntryOptions<Req> & Privacy<Req>

/** Options of `cachePut`: those that describe the entry its response becomes. */
export type CachePutOptions<Req> = Omit<EntryOptions<Req>, 'clientDirectives'> & Privacy<Req>

/** What a successful write answered. */
export interface WriteResult {
  readonly status: number
  /** The body as JSON; undefined where it is none, or is a stream. */
  json(): unknown
}

/** From the request and the result: now or later. */
export type FromResult<Req, T> = (request: Req, result: WriteResult) => MaybePromise<T>

interface EvictKeyOptions<Req> extends Omit<KeyOptions<Req>, 'key'> {
  /** `soft`: entries become stale and may be served while they are refreshed. Default `hard`. */
  mode?: 'hard' | 'soft' | undefined
}

/** `'path'` is the key that the GET of this path has; otherwise the parts that its own `key` function gives. */
export type EvictKey<Req> = 'path' | readonly KeyPart[] | FromResult<Req, 'path' | readonly KeyPart[] | undefined>

export type EvictGroup<Req> = string | readonly string[] | FromResult<Req, string | readonly string[] | undefined>

/** Options of `cacheEvict`: what a successful write invalidates. At least one of `group` and `key`. */
export type CacheEvictOptions<Req> = EvictKeyOptions<Req> &
  (
    | { group: EvictGroup<Req>; key?: EvictKey<Req> | undefined }
    | { group?: EvictGroup<Req> | undefined; key: EvictKey<Req> }
  )
