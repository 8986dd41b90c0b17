import { groupProblems, type Key, type KeyPart, type QueryRule } from '../cache/key.js'
import type { Duration } from '../duration.js'
import { describeValue, isOptionsObject, unknownOptions } from '../errors.js'
import {
  type Check,
  checkDuration,
  choice,
  flag,
  fraction,
  HTTP_OPTIONS,
  type HttpOptions,
  Option,
  type VaryOption,
} from '../http/index.js'
import type { MaybePromise } from '../maybe-promise.js'
import type { RequestFunction } from '../request-function.js'

/** Who asks, such as a user's id. Numbers count by their text. */
export type Principal = string | number | bigint

/** A function of the request that returns its principal; none for an anonymous request. */
export type PrincipalOf<Req> = RequestFunction<Req, MaybePromise<Principal | null | undefined>>

/** What selects the entry of a route. The same on the GET, the PUT and the DELETE of a path. */
export interface KeyOptions<Req> extends Pick<HttpOptions, 'host'> {
  /** Function of the request that returns key parts, in place of its path and query. Default: path and sorted query. */
  key?: RequestFunction<Req, MaybePromise<Key>> | undefined
  /**
   * Each principal has its own entry, and its responses are `private`. `true`: the application's `principal`; anonymous
   * requests share one public entry. Or a function of the request that returns the principal, such as a tenant's id;
   * `undefined` bypasses the cache. Default: none.
   */
  per?: true | PrincipalOf<Req> | undefined
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
  | RequestFunction<Req, MaybePromise<string | readonly string[] | undefined>>

/** Options about a route's responses; see docs/http.md. */
export interface ResponseOptions extends Omit<HttpOptions, 'host' | 'private' | 'shared' | 'vary'> {}

/** Options of all routes of an application, where a route does not set its own. */
export interface ResponseDefaults
  extends ResponseOptions, Pick<HttpOptions, 'host' | 'vary'>, Pick<EntryOptions<never>, 'enabled'> {}

/** `vary` with functions of the framework's request. A mapped type keeps the comment of the table. */
type VaryOptions<Req> = { [Name in keyof Pick<HttpOptions, 'vary'>]: VaryOption<Req> | undefined }

/** Options that describe the entry of a route. */
export interface EntryOptions<Req> extends ResponseOptions, KeyOptions<Req>, VaryOptions<Req> {
  /**
   * Groups of the entry: one name, several, or a function of the request. `cacheEvict` and `deleteGroup` invalidate
   * entries by group. Default: none.
   */
  group?: GroupOption<Req> | undefined
  /**
   * The last part of the lifetime, `0` to `1`, in which a hit may refresh the entry in the background. Default: `0`.
   */
  earlyRefresh?: number | undefined
  /**
   * The longest wait for another request's run of the same key; then this request runs the handler itself, and nothing
   * is stored from it. `0`: it does not wait. Default: `'10s'`.
   */
  wait?: Duration | undefined
  /**
   * Maximum number of parallel handler runs of one key in each process, for requests that cannot share a run: after a
   * failure, behind a stream, for a response that may not be stored, while Redis is unavailable. Further requests wait
   * for up to `wait`, then run as well. Cannot be combined with `wait: 0`. Default: no limit.
   */
  concurrency?: number | undefined
  /**
   * How long a handler run may hold its key. After that the handler is considered stuck: waiting requests run the
   * handler themselves, and the response of the stuck run is not stored. Default: `'5m'`.
   */
  lease?: Duration | undefined
  /** Function of the request: `false` bypasses the cache, for example for a preview. Default: none. */
  when?: RequestFunction<Req, MaybePromise<boolean>> | undefined
  /** Function of the response: `false` serves it without storing it. Default: none. */
  storeWhen?: ((response: WriteResult) => boolean) | undefined
  /** `false`: this route is not cached, or with `defaults` no route is. Writes still invalidate. Default: `true`. */
  enabled?: boolean | undefined
}

/** Who shares an entry: the requests of one principal (`per`), or all requests (`shared`). `private` needs one of the two. */
export type Privacy<Req> =
  | { private?: false | undefined; shared?: false | undefined }
  | { private?: false | undefined; shared: true; per?: undefined }
  /** All clients share the entry; with `private` other caches may not. */
  | { private: true; shared: true; per?: undefined }
  // Last, because this is what the compiler misses where `private` stands alone.
  | { private: true; per: true | PrincipalOf<Req>; shared?: false | undefined }

/** Options of `cache`: what a GET route may keep, and for how long. */
export type CacheOptions<Req> = EntryOptions<Req> & Privacy<Req>

/** Options of `cachePut`: those that describe the entry of its response. */
export type CachePutOptions<Req> = Omit<EntryOptions<Req>, 'clientDirectives'> & Privacy<Req>

/** A response, as functions in options receive it. */
export interface WriteResult {
  /** Status of the response. */
  readonly status: number
  /**
   * Returns the body parsed as JSON; undefined if it is not JSON, or a stream. `T` is not checked.
   *
   * @example
   * cacheEvict({ group: (request, result) => `product:${result.json<Product>().id}` })
   */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- asserted by the caller, as with `Body.json()`
  json<T = unknown>(): T
}

/** A function of the request and the result, synchronous or not. */
export type FromResult<Req, T> = {
  /** Called when the handler has answered. */
  of(request: Req, result: WriteResult): MaybePromise<T>
}['of']

/** Which entries `cacheEvict` invalidates, and how. */
export interface EvictKeyOptions<Req> extends Omit<KeyOptions<Req>, 'key'> {
  /** `'soft'`: entries become stale and may be served while they are refreshed. Default: `'hard'`. */
  mode?: 'hard' | 'soft' | undefined
}

/** `'path'` is the key of the GET of this path; otherwise the parts that the GET's `key` function returns. */
export type EvictKey<Req> = 'path' | readonly KeyPart[] | FromResult<Req, 'path' | readonly KeyPart[] | undefined>

/** Groups that a write invalidates: names, or a function of the request and the result. */
export type EvictGroup<Req> = string | readonly string[] | FromResult<Req, string | readonly string[] | undefined>

/** Options of `cacheEvict`: what a successful write invalidates. At least one of `group` and `key`. */
export type CacheEvictOptions<Req> = EvictKeyOptions<Req> &
  (
    | {
        /** Groups to invalidate: names, or a function of the request and the result. Default: none. */
        group: EvictGroup<Req>
        /**
         * Key to invalidate: `'path'`, for the GET of this path; the parts that a route's `key` function returns; or a
         * function of the request and the result that returns one of the two. Default: none.
         */
        key?: EvictKey<Req> | undefined
      }
    | {
        /** Groups to invalidate: names, or a function of the request and the result. Default: none. */
        group?: EvictGroup<Req> | undefined
        /**
         * Key to invalidate: `'path'`, for the GET of this path; the parts that a route's `key` function returns; or a
         * function of the request and the result that returns one of the two. Default: none.
         */
        key: EvictKey<Req>
      }
  )

/** A function of the request; its types depend on the framework's request, so the interfaces above have them. */
const requestFunction: Check<undefined> = (value, problem) =>
  typeof value === 'function' ? undefined : problem(`${describeValue(value)} must be a function of the request`)

const responseFunction: Check<undefined> = (value, problem) =>
  typeof value === 'function' ? undefined : problem(`${describeValue(value)} must be a function of the response`)

const checkPer: Check<undefined> = (value, problem) =>
  value === true || typeof value === 'function'
    ? undefined
    : problem(`${describeValue(value)} must be true, for the application's \`principal\`, or a function of the request`)

const checkGroup: Check<undefined> = (value, problem) => {
  if (typeof value === 'function') return
  for (const wrong of groupProblems(Array.isArray(value) ? value : [value])) problem(wrong)
}

const checkQuery: Check<QueryRule> = (value, problem) => {
  if (!isOptionsObject(value))
    return problem(`${describeValue(value)} must be an object with \`ignore\`, \`only\` or \`sort\``)
  for (const wrong of unknownOptions(value, ['ignore', 'only', 'sort'])) problem(`.${wrong}`)
  const { ignore, only, sort }: { ignore?: unknown; only?: unknown; sort?: unknown } = value
  for (const [name, names] of Object.entries({ ignore, only })) {
    if (names !== undefined && !isTexts(names))
      problem(`.${name}: ${describeValue(names)} must be a list of parameter names`)
  }
  if (sort !== undefined && typeof sort !== 'boolean') problem(`.sort: ${describeValue(sort)} must be true or false`)
  if (ignore !== undefined && only !== undefined) problem('`ignore` and `only` cannot be combined')
  return value
}

const checkEvictKey: Check<undefined> = (value, problem) => {
  if (value === 'path' || typeof value === 'function') return
  if (!Array.isArray(value)) {
    return problem(
      `${describeValue(value)} must be 'path', a list of key parts, or a function of the request and the result`,
    )
  }
  const [first]: unknown[] = value
  if (value.length === 1 && typeof first === 'string' && first.startsWith('/')) {
    return problem(
      `['${first}'] matches no entry, because a path is not a key part: write 'path' for the GET of this path, or call cache.deletePath('${first}'). If a route's key function returns it, write a function here as well`,
    )
  }
  const template: unknown = value.find((part) => typeof part === 'string' && TEMPLATE.test(part))
  if (template === undefined) return
  problem(
    `the part '${template as string}' is compared as it is written, and is not replaced by a parameter: write a function, such as (request) => ['products', request.params.id]. If a route's key function returns it, write a function here as well`,
  )
}

/** A parameter of a path, as routers write it. */
const TEMPLATE = /(?:^|\/)(?::[A-Za-z_]\w*|\{[A-Za-z_]\w*\})(?:\/|$)/

/** Node.js timers that are set for longer (24.8 days) fire at once. */
const TIMER_MAX_MS = 2 ** 31 - 1

const checkWait: Check<number> = (value, problem, name) => {
  const ms = checkDuration(value, problem, name)
  return ms && Math.min(ms, TIMER_MAX_MS)
}

const checkLease: Check<number> = (value, problem, name) => {
  const ms = checkWait(value, problem, name)
  return ms === 0 ? problem('a lease of 0 leaves no time; write a duration') : ms
}

const checkConcurrency: Check<number> = (value, problem) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 1
    ? value
    : problem(`${describeValue(value)} must be a whole number of at least 1`)

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

/**
 * Checks and defaults of the options above. A missing or superfluous row does not compile.
 *
 * @public for scripts/option-tables.mjs
 */
export const ROUTE_OPTIONS = {
  group: new Option(checkGroup, undefined),
  key: new Option(requestFunction, undefined, undefined, 'path and sorted query'),
  per: new Option(checkPer, undefined),
  // Its rules are those of `REDIS_PREFIX`, which `resolvePolicy` knows.
  prefix: new Option<string, undefined>(() => undefined, undefined),
  query: new Option<QueryRule, QueryRule | undefined>(checkQuery, undefined, undefined, 'all parameters'),
  earlyRefresh: fraction(0),
  wait: new Option<Duration, number | undefined>(checkWait, undefined, undefined, "`'10s'`"),
  concurrency: new Option<number, number | undefined>(checkConcurrency, undefined, undefined, 'no limit'),
  lease: new Option<Duration, number | undefined>(checkLease, undefined, undefined, "`'5m'`"),
  when: new Option(requestFunction, undefined),
  storeWhen: new Option(responseFunction, undefined),
  enabled: flag(true),
} satisfies Record<Exclude<keyof EntryOptions<never>, keyof HttpOptions>, Option<unknown, unknown>>

/** @public for scripts/option-tables.mjs */
export const EVICT_OPTIONS = {
  group: ROUTE_OPTIONS.group,
  key: new Option(checkEvictKey, undefined),
  per: ROUTE_OPTIONS.per,
  prefix: ROUTE_OPTIONS.prefix,
  host: HTTP_OPTIONS.host,
  query: ROUTE_OPTIONS.query,
  mode: choice(['hard', 'soft'], 'hard'),
} satisfies Record<keyof CacheEvictOptions<never>, Option<unknown, unknown>>
