import type { CacheScope } from '../cache/cache-scope.js'
import type { KeyPart } from '../cache/key.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import {
  buildMissResponse,
  decideStore,
  type HeaderList,
  type HttpPolicy,
  isSuccess,
  planWrite,
  type ResponseHead,
} from '../http/index.js'
import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import type { Recorder } from '../telemetry/recorder.js'
import { type CachedPaths, isEmpty, sharedGroups, union } from './cached-paths.js'
import {
  checkedNames,
  encodeGroups,
  EntryLocator,
  evictedPath,
  groupsProblem,
  hostOf,
  Stored,
  toDraft,
  Variants,
} from './entry-key.js'
import { type EvictPolicy, longestLifeMs, type RoutePolicy, type WriteResult } from './options.js'
import { RequestState, type RequestContext, unkeyedFields } from './request.js'

/** In telemetry: routes that declare nothing, or whose adapter does not know their names. */
const UNNAMED = 'undeclared'

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
  readonly http: HttpPolicy
  /** The entry that its response becomes. */
  readonly put?: RoutePolicy<Req> | undefined
  /** What it evicts. */
  readonly evict?: EvictPolicy<Req> | undefined
  /** Method and template of the route, for telemetry. */
  readonly name?: string | undefined
  /** Of the GET whose entry is written. Default: those that `put` declares. */
  readonly variants?: Variants | undefined
}

/** A route that writes. */
export class WriteRoute<Req> {
  readonly #rules: WriteRules<Req>
  readonly #locator: EntryLocator<Req> | undefined

  constructor(rules: WriteRules<Req>) {
    const { put, scope, variants } = rules
    this.#rules =
      put?.enabled === true
        ? { ...rules, variants: variants ?? new Variants(scope, put.http) }
        : { ...rules, put: undefined }
    this.#locator = put && new EntryLocator(put)
  }

  /**
   * Called before the handler runs: a write-through reads the clock here, so that what happens until its end is noticed.
   * `before`: a session of the same request that this one takes the place of.
   */
  begin(request: RequestContext<Req>, before?: WriteSession): MaybePromise<WriteSession> {
    const { put, http } = this.#rules
    const begun = before?.handOver()
    if (begun?.ref !== undefined) return this.session(begun)
    const state = new RequestState(request, planWrite(request, put?.http ?? http), undefined)
    return put === undefined ? this.session(state) : this.beginPut(state)
  }

  /** One whose response becomes the entry of its URI's GET, where the request has a principal. */
  async beginPut(state: RequestState<Req>): Promise<WriteSession> {
    const { scope, put, variants } = this.#rules
    const location = await this.#locator?.locate(state.request)
    if (put !== undefined && variants !== undefined && location !== undefined && location.principal !== null) {
      state.location = location
      state.ref = variants.ref(state.request, location)
      state.write = await scope.beginWrite(state.ref, { groupTtlMs: longestLifeMs(put.http) })
    }
    return this.session(state)
  }

  /** One that stores nothing but what its state has begun. */
  session(state: RequestState<unknown>): WriteSession {
    return new WriteSession(this.#rules, state)
  }
}

/** One write: what its success stores and invalidates, before its response leaves. */
export class WriteSession {
  /** Request fields whose reading by the handler is to be reported to `noteRead`. Empty where it makes no difference. */
  readonly watched: readonly string[]
  readonly #rules: WriteRules<never>
  readonly #state: RequestState<unknown>
  #groups: readonly string[] = NONE
  #unkeyedRead: string | undefined = undefined
  #open = true

  constructor(rules: WriteRules<never>, state: RequestState<unknown>) {
    const { put, variants } = rules
    const { location } = state
    this.#rules = rules
    this.#state = state
    this.watched = put && variants && location ? unkeyedFields(put.http, variants.names(location)) : NONE
  }

  /** Its response may become an entry. */
  get stores(): boolean {
    return this.#state.ref !== undefined
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
  handOver(): RequestState<unknown> | undefined {
    if (!this.#open) return undefined
    this.#open = false
    return this.#state
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
    const response = { status: answer.status, headers: answer.headers() }
    if (response.status >= 400) return put && this.#present(response, put, false)
    const stored = put && this.#toStored(response, answer.body(), put)
    return chain(
      this.#settleNamed(response, stored, new Result(answer)),
      (isStored) => put && this.#present(response, put, isStored),
    )
  }

  /** Invalidates what a successful response changes, and stores what it stands for. Whether that was stored. */
  settle(response: ResponseHead, stored: Stored | undefined, named: InvalidationTarget = {}): MaybePromise<boolean> {
    this.#open = false
    const { paths, http } = this.#rules
    const target = union(paths.target(this.#state.request, response, http) ?? {}, named)
    return stored === undefined && isEmpty(target) ? false : this.#settle(target, stored)
  }

  async #settle(target: InvalidationTarget, stored: Stored | undefined): Promise<boolean> {
    const { scope, http, put, variants } = this.#rules
    const { request, location, ref, write } = this.#state
    const groups = http.invalidateSharedGroups ? await sharedGroups(scope, target.paths ?? NONE) : NONE
    const all = groups.length === 0 ? target : union(target, { groups })
    const fits =
      stored !== undefined &&
      location !== undefined &&
      ref?.key === variants?.ref(request, location, stored.decision.varyNames).key
    if (!fits || ref === undefined || write === undefined) {
      const evicted = stored === undefined ? all : union(all, this.#own)
      await this.#recorder.evict('evict', evicted, (named) => scope.evict(named))
      return false
    }
    const draft = toDraft(stored, ref.groups, put && hostOf(request, put))
    // Its own path is what it stores. Entries of other principals say nothing about what this one wrote.
    const paths = all.paths?.filter((path) => path !== location.path && path !== location.uri)
    const others = { ...all, paths }
    const what = { key: ref.key, ...draft }
    const committed = await this.#recorder.put(others, what, () => scope.commit(write, draft, others))
    return committed.published === 'stored'
  }

  /** The entry that the response would have become. */
  get #own(): InvalidationTarget {
    const { location } = this.#state
    return location === undefined ? {} : { paths: [location.path] }
  }

  /** With what the route's options name. Where a function of theirs throws, the write has changed its URI all the same. */
  #settleNamed(response: ResponseHead, stored: Stored | undefined, result: Result): MaybePromise<boolean> {
    const settle = (named: InvalidationTarget): MaybePromise<boolean> =>
      this.settle(response, stored, stored === undefined ? union(named, this.#own) : named)
    const failed = async (error: unknown): Promise<never> => {
      await this.settle(response, undefined, this.#own)
      throw error
    }
    try {
      const named = this.#named(result)
      return isPromise(named) ? named.then(settle, failed) : settle(named)
    } catch (error) {
      return failed(error)
    }
  }

  /** What the route's options name; synchronous where nothing of it is asked of the application. */
  #named(result: Result): MaybePromise<InvalidationTarget> {
    const { evict: policy } = this.#rules
    if (policy === undefined) return {}
    const request = this.#state.request as RequestContext<never>
    const group = typeof policy.group === 'function' ? policy.group(request.native, result) : policy.group
    const key = typeof policy.evictKey === 'function' ? policy.evictKey(request.native, result) : policy.evictKey
    const principal = key === undefined ? undefined : policy.per?.(request.native)
    if (!isPromise(group) && !isPromise(key) && !isPromise(principal))
      return targetOf(request, policy, group, key, principal)
    return Promise.all([group, key, principal]).then((named) => targetOf(request, policy, ...named))
  }

  /** The response as the GET of the path; undefined where it is not what a GET would return. */
  #toStored(response: ResponseHead, body: Buffer | undefined, { http }: RoutePolicy<never>): Stored | undefined {
    const { request, plan, ref } = this.#state
    if (body === undefined || ref === undefined || !isSuccess(response.status)) return undefined
    const now = this.#rules.scope.now()
    const run = { request, plan, policy: http, now, requestedAt: now, body, unkeyedRead: this.#unkeyedRead }
    const decision = decideStore(response, run)
    if (!decision.store) return undefined
    const groups = [...this.#groups, ...decision.groups]
    return groupsProblem(groups) === undefined ? new Stored(decision, body, groups) : undefined
  }

  /** The fields of the response to the write itself, with its status. */
  #present(response: ResponseHead, { http }: RoutePolicy<never>, stored: boolean): HeaderList {
    const decision = { store: false, reason: 'method', forKey: false } as const
    const now = this.#rules.scope.now()
    return buildMissResponse(this.#state.plan, response, undefined, decision, http, now, { stored }).headers
  }

  get #recorder(): Recorder {
    const { scope, put, evict, name } = this.#rules
    const declared = (put ?? evict) === undefined ? undefined : (this.#state.request.route ?? name)
    return scope.telemetry.route(declared ?? UNNAMED)
  }
}

const NONE: readonly string[] = []

function targetOf<Req>(
  request: RequestContext<Req>,
  policy: EvictPolicy<Req>,
  group: string | readonly string[] | undefined,
  key: 'path' | readonly KeyPart[] | undefined,
  principal: string | undefined,
): InvalidationTarget {
  const names = group === undefined ? NONE : typeof group === 'string' ? [group] : group
  return {
    groups: encodeGroups(names),
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
  try {
    return body && JSON.parse(body.toString())
  } catch {
    return undefined
  }
}
