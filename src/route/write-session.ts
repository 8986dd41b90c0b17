import type { CacheScope } from '../cache/cache-scope.js'
import type { EntryRef } from '../cache/entry-ref.js'
import type { KeyPart } from '../cache/key.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import type { PendingWrite } from '../cache/write.js'
import {
  buildMissResponse,
  decideStore,
  type HeaderList,
  type InvalidationPolicy,
  isSuccess,
  planWrite,
  type ResponseHead,
} from '../http/index.js'
import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { Recorder } from '../telemetry/recorder.js'
import { type CachedPaths, sharedGroups, union } from './cached-paths.js'
import {
  checkedNames,
  encodeGroups,
  EntryLocator,
  evictedPath,
  groupsProblem,
  hostOf,
  type Location,
  refOf,
} from './entry-key.js'
import type { UnsafeSession } from './handler-run.js'
import type { WriteResult } from './options.js'
import { type EvictPolicy, longestLifeMs, type RoutePolicy } from './policy.js'
import { type RequestContext, unkeyedFields } from './request.js'
import { sameNames, Stored, toDraft, Variants } from './variants.js'

/** In telemetry: routes that declare nothing, or whose adapter does not know their names. */
export const UNNAMED = 'undeclared'

/** A response to a write, read as far as it is needed. */
export interface WriteAnswer {
  readonly status: number
  headers(): HeaderList
  /** Undefined where it is a stream. */
  body(): Buffer | undefined
}

/** What a successful write of a route does. */
export interface WriteRules<Req> {
  readonly scope: CacheScope
  /** Where the application's routes cache their URIs. */
  readonly paths: CachedPaths
  /** What a successful request by an unsafe method invalidates by itself. */
  readonly invalidation: InvalidationPolicy
  /** The entry that its response becomes. */
  readonly put?: RoutePolicy<Req> | undefined
  /** What it evicts. */
  readonly evict?: EvictPolicy<Req> | undefined
  /** Method and template of the route, for telemetry. */
  readonly name?: string | undefined
  /** Of the GET that a POST may be stored for. Default: those of `put`. */
  readonly variants?: Variants | undefined
}

/** A write-through whose handler may run. */
class PendingPut {
  readonly location: Location
  readonly ref: EntryRef
  /** Request fields that select its entry. */
  readonly names: readonly string[]
  /** Undefined where the store was away when the handler began. */
  readonly write: PendingWrite | undefined

  constructor(location: Location, ref: EntryRef, names: readonly string[], write: PendingWrite | undefined) {
    this.location = location
    this.ref = ref
    this.names = names
    this.write = write
  }
}

/** A route that writes. */
export class WriteRoute<Req> {
  readonly #rules: WriteRules<Req>
  readonly #locator: EntryLocator<Req> | undefined
  readonly #variants: Variants | undefined

  constructor(rules: WriteRules<Req>) {
    const { put, scope, variants } = rules
    this.#rules = put?.enabled === false ? { ...rules, put: undefined } : rules
    this.#locator = put && new EntryLocator(put)
    this.#variants = variants ?? (put && new Variants(scope, put.http))
  }

  /**
   * Called before the handler runs: a write-through reads the clock here, so that what happens until its end is noticed.
   * `before`: a session of the same request that this one takes the place of.
   */
  begin(request: RequestContext<Req>, before?: WriteSession): MaybePromise<WriteSession> {
    const pending = before?.handOver()
    const { put } = this.#rules
    if (put === undefined || pending !== undefined) return this.#session(request, pending)
    return this.#begin(request, put).then((begun) => this.#session(request, begun))
  }

  /** A request that changes its URI and stores nothing. */
  withoutPut(request: RequestContext<Req>): WriteSession {
    return this.#session(request, undefined)
  }

  #session(request: RequestContext<Req>, pending: PendingPut | undefined): WriteSession {
    return new WriteSession(this.#rules, request, pending)
  }

  /** Undefined where the request has no principal: then there is no entry of its own. */
  async #begin(request: RequestContext<Req>, put: RoutePolicy<Req>): Promise<PendingPut | undefined> {
    const location = await this.#locator?.locate(request)
    if (location === undefined || location.principal === null) return undefined
    const names = this.#variants?.names(location) ?? put.http.vary
    const ref = refOf(request, location, names, put.http)
    const groupTtlMs = longestLifeMs(put.http)
    return new PendingPut(location, ref, names, await this.#rules.scope.beginWrite(ref, { groupTtlMs }))
  }
}

/** One write: what its success stores and invalidates, before its response leaves. */
export class WriteSession implements UnsafeSession {
  /** Request fields whose reading by the handler is to be reported to `noteRead`. Empty where it makes no difference. */
  readonly watched: readonly string[]
  readonly #rules: WriteRules<never>
  readonly #request: RequestContext<never>
  readonly #pending: PendingPut | undefined
  #groups: readonly string[] = NONE
  #unkeyedRead: string | undefined = undefined
  #open = true

  constructor(rules: WriteRules<never>, request: RequestContext<unknown>, pending: PendingPut | undefined) {
    const { put } = rules
    this.#rules = rules
    this.#request = request as RequestContext<never>
    this.#pending = pending
    this.watched = put === undefined || pending === undefined ? NONE : unkeyedFields(put.http, pending.names)
  }

  get stores(): boolean {
    return this.#pending !== undefined
  }

  /** The handler has read a field that is not part of the key: its response is for this client alone. */
  noteRead(name: string): void {
    this.#unkeyedRead ??= name
  }

  /** The handler names groups that the entry of its response belongs to. Throws OptionsError for what is no name. */
  addGroups(names: readonly string[]): void {
    this.#groups = [...this.#groups, ...checkedNames(names)]
  }

  /** Leaves what was begun to another session of the same request. */
  handOver(): PendingPut | undefined {
    if (!this.#open) return undefined
    this.#open = false
    return this.#pending
  }

  /** The handler threw, or its client went away before it answered: nothing has changed. */
  abandon(): void {
    this.#open = false
  }

  /**
   * The handler has answered. When this resolves, what it invalidates is invalid everywhere, or queued where the store
   * could not confirm it. Returns the fields to send; undefined where they stay as they are. Rejects only with what the
   * options' own functions throw.
   */
  finish(answer: WriteAnswer): MaybePromise<HeaderList | undefined> {
    if (!this.#open) return undefined
    this.#open = false
    const { put } = this.#rules
    if (put === undefined) {
      if (answer.status >= 400) return undefined
      const settling = this.#settleNamed(answer, undefined)
      return isPromise(settling) ? settling.then(NOTHING) : undefined
    }
    const response = { status: answer.status, headers: answer.headers() }
    const settling = answer.status < 400 && this.#settleNamed(answer, this.#toStored(response, answer.body(), put))
    return isPromise(settling)
      ? settling.then((stored) => this.#present(response, put, stored))
      : this.#present(response, put, settling)
  }

  /** Invalidates what a successful response changes, and stores what it stands for. Whether that was stored. */
  settle(
    response: ResponseHead,
    stored: Stored | undefined,
    named: InvalidationTarget = NOWHERE,
  ): MaybePromise<boolean> {
    this.#open = false
    const { paths, invalidation } = this.#rules
    const own = paths.target(this.#request, response, invalidation) ?? NOWHERE
    if (own === NOWHERE && named === NOWHERE && stored === undefined) return false
    return this.#settle(union(own, named), stored)
  }

  async #settle(target: InvalidationTarget, stored: Stored | undefined): Promise<boolean> {
    const { scope, invalidation } = this.#rules
    const shared = invalidation.invalidateSharedGroups ? await sharedGroups(scope, target.paths ?? NONE) : NONE
    const all = shared.length === 0 ? target : union(target, { groups: shared })
    const pending = this.#pending
    if (stored !== undefined && pending?.write !== undefined) return this.#commit(pending, pending.write, stored, all)
    const evicted = stored === undefined ? all : union(all, this.#ownTarget)
    await this.#recorder.evict('evict', evicted, (named) => scope.evict(named))
    return false
  }

  /** The entry that the response would have become. */
  get #ownTarget(): InvalidationTarget {
    return this.#pending === undefined ? NOWHERE : { paths: [this.#pending.location.path] }
  }

  async #commit(
    { location, ref }: PendingPut,
    write: PendingWrite,
    stored: Stored,
    target: InvalidationTarget,
  ): Promise<boolean> {
    const { scope, put } = this.#rules
    const draft = toDraft(stored, ref.groups, put && hostOf(this.#request, put))
    // Its own path is what it stores. Entries of other principals say nothing about what this one wrote.
    const paths = target.paths?.filter((path) => path !== location.path && path !== location.uri)
    const others = { ...target, paths }
    const what = { key: ref.key, ...draft }
    const committed = await this.#recorder.put(others, what, () => scope.commit(write, draft, others))
    return committed.published === 'stored'
  }

  /** With what the route's options name, which may be functions of the answer. */
  #settleNamed(answer: WriteAnswer, stored: Stored | undefined): MaybePromise<boolean> {
    const response = { status: answer.status, headers: answer.headers() }
    const own = stored === undefined ? this.#ownTarget : NOWHERE
    try {
      const named = this.#named(new Result(answer))
      if (!isPromise(named)) return this.settle(response, stored, merged(own, named))
      return named.then(
        (known) => this.settle(response, stored, merged(own, known)),
        (error: unknown) => this.#settleAndThrow(response, error),
      )
    } catch (error) {
      return this.#settleAndThrow(response, error)
    }
  }

  /** A function of the options threw: the write has changed its URI all the same. */
  async #settleAndThrow(response: ResponseHead, error: unknown): Promise<never> {
    await this.settle(response, undefined, this.#ownTarget)
    throw error
  }

  /** What the route's options name; synchronous where nothing of it is asked of the application. */
  #named(result: Result): MaybePromise<InvalidationTarget> {
    const policy = this.#rules.evict
    if (policy === undefined) return NOWHERE
    const { native } = this.#request
    const group = typeof policy.group === 'function' ? policy.group(native, result) : policy.group
    const key = typeof policy.evictKey === 'function' ? policy.evictKey(native, result) : policy.evictKey
    const principal = key === undefined || policy.per === undefined ? undefined : policy.per(native)
    if (!isPromise(group) && !isPromise(key) && !isPromise(principal))
      return targetOf(this.#request, policy, group, key, principal)
    return Promise.all([group, key, principal]).then((named) => targetOf(this.#request, policy, ...named))
  }

  /** The response as the GET of the path; undefined where it is not what a GET would return. */
  #toStored(response: ResponseHead, body: Buffer | undefined, { http }: RoutePolicy<never>): Stored | undefined {
    if (body === undefined || this.#pending === undefined || !isSuccess(response.status)) return undefined
    const now = this.#rules.scope.now()
    const facts = { body, unkeyedRead: this.#unkeyedRead }
    const decision = decideStore(this.#request, planWrite(this.#request, http), response, http, now, now, facts)
    if (!decision.store || !sameNames(decision.varyNames, this.#pending.names)) return undefined
    if (groupsProblem([...this.#groups, ...decision.groups]) !== undefined) return undefined
    return new Stored(decision, body, this.#groups.concat(decision.groups))
  }

  /** The fields of the response to the write itself, with its status. */
  #present(response: ResponseHead, { http }: RoutePolicy<never>, stored: boolean): HeaderList {
    const decision = { store: false, reason: 'method', forKey: false } as const
    const plan = planWrite(this.#request, http)
    const now = this.#rules.scope.now()
    const { headers } = buildMissResponse(this.#request, plan, response, undefined, decision, http, now)
    if (!stored) return headers
    return headers.map((text, index) => (text === 'BYPASS' && isStatusField(headers[index - 1]) ? 'MISS' : text))
  }

  get #recorder(): Recorder {
    const { scope, put, evict, name } = this.#rules
    const declared = (put ?? evict) === undefined ? name : (this.#request.route ?? name)
    return scope.telemetry.route(declared ?? UNNAMED)
  }
}

const NONE: readonly string[] = []

const NOWHERE: InvalidationTarget = {}

function merged(own: InvalidationTarget, named: InvalidationTarget): InvalidationTarget {
  return own === NOWHERE ? named : union(own, named)
}

function NOTHING(): undefined {
  return undefined
}

function isStatusField(name: string | undefined): boolean {
  return name?.toLowerCase() === 'x-redis-cache'
}

function targetOf<Req>(
  request: RequestContext<Req>,
  policy: EvictPolicy<Req>,
  group: string | readonly string[] | undefined,
  key: 'path' | readonly KeyPart[] | undefined,
  principal: string | undefined,
): InvalidationTarget {
  const names = group === undefined ? NONE : typeof group === 'string' ? [group] : group
  return {
    groups: names.length === 0 ? NONE : encodeGroups(names),
    paths: key === undefined ? NONE : [evictedPath(request, policy, key, principal)],
    mode: policy.mode,
  }
}

/** What the functions of the options are given of a response. */
class Result implements WriteResult {
  readonly status: number
  readonly #answer: WriteAnswer
  #json: { readonly value: unknown } | undefined

  constructor(answer: WriteAnswer) {
    this.status = answer.status
    this.#answer = answer
  }

  json(): unknown {
    this.#json ??= { value: parseJson(this.#answer.body()) }
    return this.#json.value
  }
}

function parseJson(body: Buffer | undefined): unknown {
  if (body === undefined) return undefined
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}
