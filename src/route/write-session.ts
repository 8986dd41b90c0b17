import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { Evicted, CacheScope, InvalidationTarget } from '../cache/cache-scope.js'
import type { EntryRef } from '../cache/entry-ref.js'
import { type KeyPart, pathKey } from '../cache/key.js'
import type { Write } from '../cache/write.js'
import {
  decideStore,
  type HeaderList,
  type HttpPolicy,
  type InvalidationPolicy,
  isSuccess,
  planWrite,
  buildMissResponse,
  type ResponseHead,
} from '../http/index.js'
import { usefulUntil } from '../store/entry.js'
import type { Recorder } from '../telemetry/recorder.js'
import { type CachedPaths, invalidate, type Targets, UNNAMED } from './cached-paths.js'
import {
  checkedKey,
  checkedNames,
  encodeGroups,
  groupsProblem,
  hostOf,
  locate,
  type Location,
  placeOf,
} from './entry-key.js'
import type { Conclusion } from './handler-run.js'
import type { WriteResult } from './options.js'
import { type EvictPolicy, longestLifeMs, type RoutePolicy } from './policy.js'
import type { RequestContext } from './request.js'
import { makeEntry, type Stored } from './runs.js'
import { sameNames, Variants } from './variants.js'

export interface PutTarget<Req> {
  readonly space: CacheScope
  readonly policy: RoutePolicy<Req>
}

export interface EvictTarget<Req> {
  readonly space: CacheScope
  readonly policy: EvictPolicy<Req>
}

/** What a successful request by an unsafe method invalidates by itself. */
export interface OwnEffect {
  readonly paths: CachedPaths
  readonly policy: InvalidationPolicy
}

/** One write route: what a successful request stores and invalidates, before its response is released. */
export class WriteRoute<Req> {
  readonly #put: PutTarget<Req> | undefined
  readonly #evict: EvictTarget<Req> | undefined
  readonly #own: OwnEffect
  readonly #variants: Variants | undefined
  readonly #space: CacheScope | undefined
  readonly #name: string

  /** `name` is the route's in telemetry: method and template. */
  constructor(
    put: PutTarget<Req> | undefined,
    evict: EvictTarget<Req> | undefined,
    own: OwnEffect,
    name: string = UNNAMED,
  ) {
    this.#space = (put ?? evict)?.space
    this.#name = name
    this.#put = put?.policy.enabled === false ? undefined : put
    this.#evict = evict
    this.#own = own
    this.#variants = put === undefined ? undefined : new Variants(put.space, put.policy.http.vary)
  }

  /**
   * Called before the handler runs. A write-through announces itself here, so that overlapping ones are noticed.
   * `before`: a run of the same request that this one takes the place of, with what it has announced for the same entry.
   */
  begin(request: RequestContext<Req>, before?: WriteSession): MaybePromise<WriteSession> {
    const announced = before?.handOver()
    if (this.#put === undefined) return new WriteSession((answer) => this.#evictOnly(request, answer))
    return announced === undefined ? this.#announce(request, this.#put) : this.#run(request, this.#put, announced)
  }

  #run(request: RequestContext<Req>, put: PutTarget<Req>, announced: Announced): WriteSession {
    return new WriteSession((answer, added) => this.#finish(request, answer, put, announced, added), announced)
  }

  #evictOnly(request: RequestContext<Req>, answer: WriteAnswer): MaybePromise<undefined> {
    if (answer.status >= 400) return undefined
    const named = this.#evict && this.#target(request, new Result(answer), this.#evict.policy)
    if (isPromise(named)) return named.then((known) => this.#invalidate(request, answer, known)).then(NOTHING)
    const invalidating = this.#invalidate(request, answer, named)
    return invalidating === undefined ? undefined : invalidating.then(NOTHING)
  }

  /** What the route names and what its URI's change means, prefix by prefix. */
  #invalidate(
    request: RequestContext<Req>,
    answer: WriteAnswer,
    named: InvalidationTarget | undefined,
  ): Promise<unknown> | undefined {
    const own = this.#effects(request, answer)
    if (own === undefined) return named && this.#evict && this.#end(request, this.#evict.space, named)
    return invalidate(this.#merge(own, named), this.#own.policy, this.#recorder(request))
  }

  /** What was cached under these names ends. */
  #end(request: RequestContext<Req>, space: CacheScope, named: InvalidationTarget): Promise<Evicted> {
    return this.#recorder(request)?.evict('evict', named, (all) => space.evict(all)) ?? space.evict(named)
  }

  /** Undefined where the route declares nothing: then what happens counts where it happens. */
  #recorder({ route }: RequestContext<Req>): Recorder | undefined {
    return this.#space?.telemetry.route(route ?? this.#name)
  }

  #effects(request: RequestContext<Req>, answer: WriteAnswer): Targets | undefined {
    const { paths, policy } = this.#own
    return paths.size === 0
      ? undefined
      : paths.targets(request, { status: answer.status, headers: answer.headers() }, policy)
  }

  /** An author who invalidates softly means the URI as well. */
  #merge(own: Targets, named: InvalidationTarget | undefined): Map<CacheScope, InvalidationTarget> {
    const mode = named?.mode ?? 'hard'
    const all = new Map<CacheScope, InvalidationTarget>([...own].map(([space, effect]) => [space, { ...effect, mode }]))
    if (named === undefined || this.#evict === undefined) return all
    const { keys = [], groups = [] } = all.get(this.#evict.space) ?? {}
    return all.set(this.#evict.space, {
      keys: [...new Set([...keys, ...(named.keys ?? [])])],
      groups: [...new Set([...groups, ...(named.groups ?? [])])],
      mode,
    })
  }

  async #announce(request: RequestContext<Req>, put: PutTarget<Req>): Promise<WriteSession> {
    const located = locate(request, put.policy)
    const location = isPromise(located) ? await located : located
    const names = this.#variants?.names(location.base) ?? []
    const place = location.principal === null ? undefined : placeOf(request, location, names, put.policy.http)
    const write = place === undefined ? undefined : await this.#announced(put, place)
    return this.#run(request, put, { place, write, names })
  }

  #announced({ space, policy }: PutTarget<Req>, { key, groups }: EntryRef): Promise<Write | undefined> {
    return space.announce(key, { groups, groupTtlMs: longestLifeMs(policy.http) })
  }

  async #finish(
    request: RequestContext<Req>,
    answer: WriteAnswer,
    put: PutTarget<Req>,
    announced: Announced,
    added: readonly string[],
  ): Promise<HeaderList> {
    const response = { status: answer.status, headers: answer.headers() }
    const result = new Result(answer)
    try {
      const decided = this.#decide(request, response, result.body(), put, announced, added)
      const stored = answer.status < 400 && (await this.#commit(request, result, put, announced, decided))
      return this.#present(request, response, put, stored)
    } finally {
      // Ends what was not committed: a failed write, or a function of the options that threw. Nothing otherwise.
      await announced.write?.cancel().catch(() => {})
    }
  }

  /** The fields of the answer to the write itself, with its status. */
  #present(
    request: RequestContext<Req>,
    response: ResponseHead,
    { space, policy }: PutTarget<Req>,
    stored: boolean,
  ): HeaderList {
    const decision = { store: false, reason: 'method', forKey: false } as const
    const plan = planWrite(request, policy.http)
    const { headers } = buildMissResponse(request, plan, response, undefined, decision, policy.http, space.now())
    return stored
      ? headers.map((text, index) => (text === 'BYPASS' && isStatusField(headers[index - 1]) ? 'MISS' : text))
      : headers
  }

  async #commit(
    request: RequestContext<Req>,
    result: Result,
    { space, policy }: PutTarget<Req>,
    { place, write, names }: Announced,
    decided: Stored | undefined,
  ): Promise<boolean> {
    const named = this.#evict && (await this.#target(request, result, this.#evict.policy))
    const own = [place?.key, place?.base]
    const targets = this.#merge(this.#effects(request, result.answer) ?? new Map(), named)
    const together: InvalidationTarget = targets.get(space) ?? {}
    targets.delete(space)
    if (targets.size > 0) await invalidate(targets, this.#own.policy, this.#recorder(request))
    if (place === undefined || write === undefined) {
      const keys = own.filter((key) => key !== undefined)
      await this.#end(request, space, { ...together, keys: [...(together.keys ?? []), ...keys] })
      return false
    }
    const entry =
      decided === undefined ? undefined : makeEntry(decided, place.groups, hostOf(request, policy), write.stamp)
    const ttlMs = entry === undefined ? 0 : usefulUntil(entry) - entry.storedAt
    const family = entry === undefined ? undefined : await this.#family(space, place, names, ttlMs)
    const stored = entry === undefined || family === undefined ? undefined : { entry: { ...entry, family }, ttlMs }
    // Its own path is what this write stores, not what it invalidates.
    const keys = (together.keys ?? []).filter((key) => !own.includes(key))
    const rest = { ...together, keys }
    const commit = () => space.commit(write, stored, rest)
    const what = stored && { key: place.key, ...stored }
    return (await (this.#recorder(request)?.put(rest, what, commit) ?? commit())).published === 'stored'
  }

  /** Other variants of the path show the representation before this write, so they end; other principals' do not. */
  async #family(
    space: CacheScope,
    place: EntryRef,
    names: readonly string[],
    ttlMs: number,
  ): Promise<string | undefined> {
    if (place.base === undefined) return ''
    if (names.length > 0) await space.evict({ keys: [place.base] })
    return this.#variants?.family(place.base, names, ttlMs)
  }

  /** What is stored as the GET of the path; undefined where the answer is not what a GET would give. */
  #decide(
    request: RequestContext<Req>,
    response: ResponseHead,
    body: Buffer | undefined,
    { space, policy }: PutTarget<Req>,
    { names }: Announced,
    groups: readonly string[],
  ): Stored | undefined {
    if (body === undefined || !isSuccess(response.status)) return undefined
    const now = space.now()
    const decision = decideStore(request, planWrite(request, policy.http), response, policy.http, now, now, { body })
    if (!decision.store || !sameNames(decision.varyNames, names)) return undefined
    if (groupsProblem([...groups, ...decision.groups]) !== undefined) return undefined
    return { decision, body, groups, kept: undefined }
  }

  /** Synchronous where nothing of it is asked of the application. */
  #target(request: RequestContext<Req>, result: Result, policy: EvictPolicy<Req>): MaybePromise<InvalidationTarget> {
    const group = typeof policy.group === 'function' ? policy.group(request.native, result) : policy.group
    const key = typeof policy.evictKey === 'function' ? policy.evictKey(request.native, result) : policy.evictKey
    const principal = key === undefined || policy.per === undefined ? undefined : policy.per(request.native)
    if (!isPromise(group) && !isPromise(key) && !isPromise(principal))
      return target(request, policy, group, key, principal)
    return Promise.all([group, key, principal]).then((named) => target(request, policy, ...named))
  }
}

function target<Req>(
  request: RequestContext<Req>,
  policy: EvictPolicy<Req>,
  group: string | readonly string[] | undefined,
  key: 'path' | readonly KeyPart[] | undefined,
  principal: string | undefined,
): InvalidationTarget {
  const names = group === undefined ? [] : typeof group === 'string' ? [group] : group
  return {
    groups: names.length === 0 ? [] : encodeGroups(names),
    keys: key === undefined ? [] : [evictedKey(request, policy, key, principal)],
    mode: policy.mode,
  }
}

/** Without a principal, the path itself: with it go the entries of all principals and all variants. */
function evictedKey<Req>(
  request: RequestContext<Req>,
  policy: EvictPolicy<Req>,
  key: 'path' | readonly KeyPart[],
  principal: string | undefined,
): string {
  const base = key === 'path' ? pathKey(request.target, policy.path, hostOf(request, policy)) : checkedKey(key)
  if (principal === undefined || principal === '') return base
  return placeOf(request, { base, principal, groups: [] }, []).key
}

function NOTHING(): undefined {
  return undefined
}

function isStatusField(name: string | undefined): boolean {
  return name?.toLowerCase() === 'x-redis-cache'
}

/** A response to a write, as far as somebody asks for it. */
export interface WriteAnswer {
  readonly status: number
  headers(): HeaderList
  /** Undefined where it is a stream. */
  body(): Buffer | undefined
}

/** A write-through whose handler may run. */
export interface Announced {
  readonly place: EntryRef | undefined
  /** Undefined where the store was away when the handler began. */
  readonly write: Write | undefined
  readonly names: readonly string[]
}

/** Ends a write with its answer and the groups that its handler has named. */
type Finish = (answer: WriteAnswer, groups: readonly string[]) => MaybePromise<HeaderList | undefined>

/** One request of a write route. */
export class WriteSession {
  readonly #finish: Finish
  readonly #announced: Announced | undefined
  #groups: readonly string[] = []
  #open = true

  constructor(finish: Finish, announced?: Announced) {
    this.#finish = finish
    this.#announced = announced
  }

  /**
   * Leaves to another run of this request what was announced. Announced anew, it would be one of two writers, which
   * fence each other.
   */
  handOver(): Announced | undefined {
    if (!this.#open) return undefined
    this.#open = false
    return this.#announced
  }

  /** The handler names groups that the entry of its answer belongs to. Throws OptionsError for what is no name. */
  addGroups(names: readonly string[]): void {
    this.#groups = [...this.#groups, ...checkedNames(names)]
  }

  /**
   * The handler has answered. When this resolves, what it invalidates is invalid everywhere. Gives the fields to send,
   * or undefined where they stay as they are.
   */
  finish(answer: WriteAnswer): MaybePromise<HeaderList | undefined> {
    if (!this.#open) return undefined
    this.#open = false
    return this.#finish(answer, this.#groups)
  }

  /** The handler threw, or its client went away before it answered. */
  abandon(): void {
    if (!this.#open) return
    this.#open = false
    this.#announced?.write?.cancel().catch(() => {})
  }
}

/** What the functions of the options are given of an answer. */
export class Result implements WriteResult {
  readonly answer: WriteAnswer
  #json: { readonly value: unknown } | undefined

  constructor(answer: WriteAnswer) {
    this.answer = answer
  }

  get status(): number {
    return this.answer.status
  }

  body(): Buffer | undefined {
    return this.answer.body()
  }

  json(): unknown {
    this.#json ??= { value: parseJson(this.body()) }
    return this.#json.value
  }
}

function parseJson(body: Buffer | undefined): unknown {
  if (body === undefined) return undefined
  try {
    return JSON.parse(body.toString()) as unknown
  } catch {
    return undefined
  }
}

/** A POST whose response may become the entry of its URI's GET (RFC 9110 section 9.3.3). */
interface Announced2 {
  readonly space: CacheScope
  readonly location: Location
  readonly place: EntryRef
  readonly write: Write
  readonly host: string | undefined
}

/** Undefined where there is nothing to announce to: no principal, or no store. */
export async function announce<Req>(
  request: RequestContext<Req>,
  policy: RoutePolicy<Req>,
  space: CacheScope,
): Promise<Announced2 | undefined> {
  const location = await locate(request, policy)
  if (location.principal === null) return undefined
  const place = placeOf(request, location, policy.http.vary, policy.http)
  const write = await space.announce(place.key, {
    keeps: true,
    groups: place.groups,
    groupTtlMs: longestLifeMs(policy.http),
  })
  return write && { space, location, place, write, host: hostOf(request, policy) }
}

/** A request by an unsafe method on a cached route: what its success invalidates, and what it may store. */
export class UnsafeRequest implements Conclusion {
  readonly #request: RequestContext<unknown>
  readonly #policy: HttpPolicy
  readonly #paths: CachedPaths
  readonly #recorder: Recorder
  readonly #announced: Announced2 | undefined

  constructor(
    request: RequestContext<unknown>,
    policy: HttpPolicy,
    paths: CachedPaths,
    recorder: Recorder,
    announced?: Announced2,
  ) {
    this.#request = request
    this.#policy = policy
    this.#paths = paths
    this.#recorder = recorder
    this.#announced = announced
  }

  conclude(response: ResponseHead, stored: Stored | undefined): MaybePromise<boolean> {
    const targets = this.#paths.targets(this.#request, response, this.#policy)
    if (targets === undefined && stored === undefined) {
      this.cancel()
      return false
    }
    if (this.#announced !== undefined) return this.#commit(this.#announced, stored, targets ?? new Map())
    return targets === undefined ? false : invalidate(targets, this.#policy, this.#recorder).then(() => false)
  }

  /** It has changed nothing. */
  cancel(): void {
    this.#announced?.write.abandon().catch(() => {})
  }

  /** Everything else goes first, so that what the write stores stays. */
  async #commit(announced: Announced2, stored: Stored | undefined, targets: Targets): Promise<boolean> {
    const { space, place, write, host } = announced
    const own: InvalidationTarget = targets.get(space) ?? {}
    targets.delete(space)
    await invalidate(targets, this.#policy, this.#recorder)
    // A variant needs a root that the announcement has just taken away; the next reader makes both.
    const plain = place.base === undefined && stored?.decision.varyNames.length === 0
    const entry = plain && stored && makeEntry(stored, place.groups, host, write.stamp)
    const given =
      entry === undefined || entry === false ? undefined : { entry, ttlMs: usefulUntil(entry) - entry.storedAt }
    const keys = (own.keys ?? []).filter((key) => key !== write.key)
    const target = { ...own, keys }
    const what = given && { key: place.key, ...given }
    return (await this.#recorder.put(target, what, () => space.commit(write, given, target))).published === 'stored'
  }
}
