import type { VaryNormaliser } from './vary-value.js'

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
