import { describeValue } from '../errors.js'
import { groupProblem, GROUPS_PER_ENTRY_MAX } from '../cache/group.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { Key, KeyPart, QueryRule } from '../cache/key.js'
import { type Check, choice, flag, fraction, HTTP_OPTIONS, type HttpOptions, Option } from '../http/index.js'

/** The owner of an entry, such as a user's id. Numbers count by their text. */
export type Principal = string | number | bigint

/** What selects the entry of a route. The same on the GET, the PUT and the DELETE of a path. */
export interface KeyOptions<Req> extends Pick<HttpOptions, 'host'> {
  /** Function of the request that returns key parts, in place of its path and query. Default: path and sorted query. */
  key?: ((request: Req) => MaybePromise<Key>) | undefined
  /**
   * Function of the request that returns the principal, such as a user's id: each has its own entry, and responses are
   * `private`. `undefined` bypasses the cache. Default: none.
   */
  per?: ((request: Req) => MaybePromise<Principal | undefined>) | undefined
  /**
   * Further part of the key below `REDIS_PREFIX`. Entries and groups of another prefix are never used. Default: none.
   */
  prefix?: string | undefined
  /**
   * The parameters of the query that count: `{ ignore }` or `{ only }` some of them; `{ sort: false }`: as sent.
   * Default: all parameters.
   */
  query?: QueryRule | undefined
}

/** Groups of an entry: one, several, or a function of the request. */
export type GroupOption<Req> =
  | string
  | readonly string[]
  | ((request: Req) => MaybePromise<string | readonly string[] | undefined>)

/** Options about a route's responses; see docs/http.md. */
export interface ResponseOptions extends Omit<HttpOptions, 'host' | 'private' | 'unsafeShared'> {}

/** Options of all routes of an application, where a route does not set its own. */
export interface ResponseDefaults extends ResponseOptions, Pick<HttpOptions, 'host'> {}

/** Options that describe the entry of a route. */
export interface EntryOptions<Req> extends ResponseOptions, KeyOptions<Req> {
  /**
   * One name, several, or a function of the request. `cacheEvict` and `deleteGroup` invalidate entries by group.
   * Default: none.
   */
  group?: GroupOption<Req> | undefined
  /**
   * The last part of the lifetime, `0` to `1`, in which a hit may refresh the entry in the background. Default: `0`.
   */
  earlyRefresh?: number | undefined
  /** `false`: this route is not cached. Default: `true`. */
  enabled?: boolean | undefined
}

/** A private response belongs to a principal: `private` needs `per`. */
export type Privacy<Req> =
  | { private?: false | undefined }
  | { private: true; per: (request: Req) => MaybePromise<Principal | undefined> }
  /** All clients share the entry, and only other caches see `private`. */
  | { private: true; unsafeShared: true }

/** Options of `cache`: what a GET route may keep, and for how long. */
export type CacheOptions<Req> = EntryOptions<Req> & Privacy<Req>

/** Options of `cachePut`: those that describe the entry of its response. */
export type CachePutOptions<Req> = Omit<EntryOptions<Req>, 'clientDirectives'> & Privacy<Req>

/** The response of a successful write. */
export interface WriteResult {
  readonly status: number
  /** The body parsed as JSON; undefined where it is not JSON, or a stream. */
  json(): unknown
}

/** A function of the request and the result, synchronous or not. */
export type FromResult<Req, T> = (request: Req, result: WriteResult) => MaybePromise<T>

export interface EvictKeyOptions<Req> extends Omit<KeyOptions<Req>, 'key'> {
  /** Of `cacheEvict`. `'soft'`: entries become stale and may be served while they are refreshed. Default: `'hard'`. */
  mode?: 'hard' | 'soft' | undefined
}

/** `'path'` is the key of the GET of this path; otherwise the parts that its own `key` function returns. */
export type EvictKey<Req> = 'path' | readonly KeyPart[] | FromResult<Req, 'path' | readonly KeyPart[] | undefined>

export type EvictGroup<Req> = string | readonly string[] | FromResult<Req, string | readonly string[] | undefined>

/** Options of `cacheEvict`: what a successful write invalidates. At least one of `group` and `key`. */
export type CacheEvictOptions<Req> = EvictKeyOptions<Req> &
  (
    | { group: EvictGroup<Req>; key?: EvictKey<Req> | undefined }
    | { group?: EvictGroup<Req> | undefined; key: EvictKey<Req> }
  )

/** A function of the request; its types depend on the framework's request, so the interfaces above have them. */
const requestFunction: Check<undefined> = (value, problem) =>
  typeof value === 'function' ? undefined : problem(`${describeValue(value)} must be a function of the request`)

const checkGroup: Check<undefined> = (value, problem) => {
  if (typeof value === 'function') return
  const names: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (names.length > GROUPS_PER_ENTRY_MAX)
    problem(`an entry carries at most ${GROUPS_PER_ENTRY_MAX} groups, these are ${names.length}`)
  for (const wrong of new Set(names.map(groupProblem))) if (wrong !== undefined) problem(wrong)
}

const checkQuery: Check<QueryRule> = (value, problem) => {
  if (!isObject(value))
    return problem(`${describeValue(value)} must be an object with \`ignore\`, \`only\` or \`sort\``)
  const { ignore, only, sort }: { ignore?: unknown; only?: unknown; sort?: unknown } = value
  for (const [name, names] of Object.entries({ ignore, only })) {
    if (names !== undefined && !isTexts(names))
      problem(`.${name}: ${describeValue(names)} must be a list of parameter names`)
  }
  if (sort !== undefined && typeof sort !== 'boolean') problem(`.sort: ${describeValue(sort)} must be true or false`)
  if (ignore !== undefined && only !== undefined) problem('`ignore` and `only` exclude each other')
  return value
}

const checkEvictKey: Check<undefined> = (value, problem) => {
  if (value === 'path' || typeof value === 'function') return
  if (!Array.isArray(value)) {
    return problem(
      `${describeValue(value)} must be 'path', a list of key parts, or a function of the request and the result`,
    )
  }
  const [part]: unknown[] = value
  if (value.length !== 1 || typeof part !== 'string' || !part.startsWith('/')) return
  problem(
    `['${part}'] matches no entry, because a path is no key part: write 'path' for the GET of this path, or call cache.deletePath('${part}'). Where a route's own key function returns it, write a function here as well`,
  )
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Checks and defaults of the options above. A missing or superfluous row does not compile. */
export const ROUTE_OPTIONS = {
  group: new Option(checkGroup, undefined),
  key: new Option(requestFunction, undefined, undefined, 'path and sorted query'),
  per: new Option(requestFunction, undefined),
  /** Its rules are those of `REDIS_PREFIX`, which `resolvePolicy` knows. Default: none. */
  prefix: new Option<string, undefined>(() => undefined, undefined),
  query: new Option<QueryRule, QueryRule | undefined>(checkQuery, undefined, undefined, 'all parameters'),
  earlyRefresh: fraction(0),
  enabled: flag(true),
} satisfies Record<Exclude<keyof EntryOptions<never>, keyof HttpOptions>, Option<unknown, unknown>>

export const EVICT_OPTIONS = {
  group: ROUTE_OPTIONS.group,
  key: new Option(checkEvictKey, undefined),
  per: ROUTE_OPTIONS.per,
  prefix: ROUTE_OPTIONS.prefix,
  host: HTTP_OPTIONS.host,
  query: ROUTE_OPTIONS.query,
  mode: choice(['hard', 'soft'], 'hard'),
} satisfies Record<keyof CacheEvictOptions<never>, Option<unknown, unknown>>
