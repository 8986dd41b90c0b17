import type { CacheScope } from '../cache/cache-scope.js'
import { groupProblems, PREFIX_GROUP } from '../cache/key.js'
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
import { OptionsError } from '../errors.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import type { Recorder } from '../telemetry/recorder.js'
import { type CachedPaths, isEmpty, sharedGroups, union, without } from './cached-paths.js'
import { encodedNames, EntryLocator, type Location, Variants } from './entry-key.js'
import { hasOtherOwner, ownerOf } from './principal.js'
import { isWanted, Result } from './result.js'
import type { RefusalLog } from './refusals.js'
import { type Selector, selectorsOf } from './selector.js'
import { type Stored, toDraft } from './stored.js'
import type { WriteResult } from './options.js'
import { type EvictPolicy, longestLifeMs, type RoutePolicy } from './policy.js'
import { HandlerReport, RequestState, type RequestContext } from './request.js'
import { isUnambiguous } from './target.js'
import { evictedPath, hostOf } from './uri-key.js'
import { WriteEffects } from './write-effects.js'

/** In telemetry: routes that declare nothing, or whose adapter does not know their names. */
const UNNAMED = 'undeclared'

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
  /** Logs why the response of a named route is not stored. */
  readonly refusals?: ((route: string) => RefusalLog) | undefined
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
   * Called before the handler runs: a write-through reads the clock here, so that what happens until its end is
   * noticed. `before`: a session of the same request that this one takes the place of.
   */
  begin(request: RequestContext<Req>, before?: WriteSession): MaybePromise<WriteSession> {
    const { put, http } = this.#rules
    const begun = before?.handOver()
    if (begun?.ref !== undefined) return this.session(begun)
    if (put !== undefined) return this.beginPut(request, planWrite)
    return this.session(new RequestState(request, http, planWrite(request, http), this.#rules.scope.budget()))
  }

  /** One whose response becomes the entry of its URI's GET, unless the request may have none. */
  async beginPut(request: RequestContext<Req>, plan: typeof planWrite): Promise<WriteSession> {
    const { scope, put, variants, evict, http: own } = this.#rules
    const found = put === undefined ? undefined : await this.#locate(request, put)
    const personal = found?.location.principal !== undefined
    const http = (personal ? put?.personal : put?.http) ?? own
    const state = new RequestState(request, http, plan(request, http), scope.budget())
    if (put === undefined || variants === undefined || found === undefined) return this.session(state)
    state.location = found.location
    if (found.owned) {
      state.ref = variants.ref(request, found.location)
      // Groups that its own eviction names are created as well: absent ones cannot show an invalidation during the handler.
      const groups = typeof evict?.group === 'function' ? NONE : encodedNames(evict?.group)
      const groupTtlMs = longestLifeMs(put.http)
      state.write = await scope.beginWrite(state.ref, { groups, groupTtlMs, budget: state.budget })
    }
    return this.session(state)
  }

  /** `owned`: the request may have an entry. Undefined: a function of the options returned what cannot be used. */
  async #locate(
    request: RequestContext<Req>,
    put: RoutePolicy<Req>,
  ): Promise<{ location: Location; owned: boolean } | undefined> {
    const { refusals, name = UNNAMED } = this.#rules
    try {
      const owner = await ownerOf(request, put)
      const isOwned = !('bypass' in owner)
      if (!isOwned && owner.bypass === 'principal') refusals?.(request.route ?? name).bypassesPrincipals()
      const location = await this.#locator?.locate(request, isOwned ? owner.principal : undefined)
      return location && { location, owned: isOwned && isUnambiguous(request, put) }
    } catch (error) {
      if (!(error instanceof OptionsError)) throw error
      refusals?.(request.route ?? name).mistake(error)
      return undefined
    }
  }

  /** One that stores nothing but what its state has begun. */
  session(state: RequestState<unknown>): WriteSession {
    return new WriteSession(this.#rules, state)
  }
}

/** One write: what its success stores and invalidates, before its response leaves. */
export class WriteSession extends HandlerReport {
  readonly watched: readonly string[]
  readonly #rules: WriteRules<never>
  readonly #state: RequestState<unknown>
  readonly effects: WriteEffects
  #open = true
  #ambient: ReadonlySet<string> | undefined = undefined

  constructor(rules: WriteRules<never>, state: RequestState<unknown>) {
    super()
    const { put, variants } = rules
    const { location } = state
    this.#rules = rules
    this.#state = state
    this.effects = new WriteEffects(rules.scope)
    this.watched = put && variants && location ? variants.unkeyed(state.http, location) : NONE
  }

  get selectors(): readonly Selector[] {
    const { put } = this.#rules
    const { request, location } = this.#state
    return put === undefined ? [] : selectorsOf(request as RequestContext<never>, put, location?.principal)
  }

  /** @internal */
  get state(): RequestState<unknown> {
    return this.#state
  }

  /** Its response may become an entry. */
  get stores(): boolean {
    return this.#state.ref !== undefined
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
   * The handler has answered; `body` is undefined where it is a stream. When this resolves, what it invalidates is
   * invalid everywhere, or queued where the store could not confirm it. `ambient`: fields that were set before the
   * handler. Returns the fields to send. Rejects only with what the options' own functions throw.
   */
  finish(response: ResponseHead, body: Buffer | undefined, ambient?: ReadonlySet<string>): MaybePromise<HeaderList> {
    if (!this.#open) return response.headers
    this.#open = false
    this.#ambient = ambient
    const { request, location } = this.#state
    const { put } = this.#rules
    if (response.status >= 400) return this.#present(response, false)
    if (!this.stores || put === undefined) return this.#finish(response, undefined, body)
    return chain(hasOtherOwner(request, location?.principal, put), (isOther) =>
      this.#finish(response, isOther ? undefined : this.#toStored(response, body), body),
    )
  }

  #finish(response: ResponseHead, stored: Stored | undefined, body: Buffer | undefined): MaybePromise<HeaderList> {
    const { evict } = this.#rules
    const own = stored === undefined ? this.#own : {}
    const settling =
      evict === undefined
        ? this.settle(response, stored, own)
        : this.#settleNamed(response, stored, own, this.#named(evict, new Result(response.status, body)))
    return chain(settling, (isStored) => this.#present(response, isStored))
  }

  /** Invalidates what a successful response changes, and stores what it stands for. Whether that was stored. */
  settle(
    response: ResponseHead,
    stored: Stored | undefined,
    own: InvalidationTarget = {},
    named: InvalidationTarget = {},
  ): MaybePromise<boolean> {
    this.#open = false
    const { paths, http } = this.#rules
    const automatic = union(paths.target(this.#state.request, response, http) ?? {}, own)
    const isNothing = stored === undefined && isEmpty(automatic) && isEmpty(named)
    return isNothing ? false : this.#settle(automatic, named, stored)
  }

  /** What the options name softly becomes stale; all else that the write changes ends, as clients see their own writes. */
  async #settle(
    automatic: InvalidationTarget,
    named: InvalidationTarget,
    stored: Stored | undefined,
  ): Promise<boolean> {
    const { scope, http, put, variants } = this.#rules
    const { request, location, ref, write } = this.#state
    const changed = [...(automatic.paths ?? NONE), ...(named.paths ?? NONE)]
    const groups = http.invalidateSharedGroups ? await sharedGroups(scope, changed) : NONE
    const own = groups.length === 0 ? automatic : union(automatic, { groups })
    const isSoft = named.mode === 'soft'
    const hard = isSoft ? without(own, named) : union(own, named)
    const fits =
      stored !== undefined &&
      location !== undefined &&
      ref?.key === variants?.ref(request, location, stored.decision.varyNames).key
    if (!fits || ref === undefined || write === undefined) {
      const all = stored === undefined ? hard : union(hard, isSoft ? without(this.#own, named) : this.#own)
      await Promise.all([this.#evict(all), isSoft && this.#evict(named)])
      this.effects.settled()
      return false
    }
    const draft = toDraft(stored, ref.groups, put && hostOf(request, put))
    scope.groupNames.stored(draft.entry.groups)
    // Its own path is what it stores.
    const isOther = (path: string): boolean => path !== location.path
    const others = { ...hard, paths: [...(hard.paths ?? NONE), ...this.#uri].filter(isOther) }
    const joined = isSoft ? { ...named, paths: named.paths?.filter(isOther) } : others
    const what = { key: ref.key, ...draft }
    if (isSoft) await this.#evict(others)
    const committed = await this.#recorder.put(joined, what, () => scope.commit(write, draft, joined))
    const isStored = committed.published === 'stored'
    if (isStored) this.effects.stored({ ref, draft, joined })
    else for (const target of [{ paths: [location.path] }, joined]) this.effects.invalidated(target)
    this.effects.settled()
    return isStored
  }

  #evict(target: InvalidationTarget): Promise<unknown> {
    this.effects.invalidated(target)
    return this.#recorder.evict('evict', target, (evicted) => this.#rules.scope.evict(evicted))
  }

  /** The entry that the response would have become, and those that it says something else of. */
  get #own(): InvalidationTarget {
    const { location } = this.#state
    return location === undefined ? {} : { paths: [location.path, ...this.#uri] }
  }

  /** Each principal is shown the resource in another way: a write by one changes what all are shown. */
  get #uri(): readonly string[] {
    const { location } = this.#state
    return location !== undefined && this.#rules.put?.per !== undefined ? [location.uri] : NONE
  }

  /** With what the route's options name. Where a function of theirs throws, it is not known what, so everything ends. */
  async #settleNamed(
    response: ResponseHead,
    stored: Stored | undefined,
    own: InvalidationTarget,
    naming: Promise<InvalidationTarget>,
  ): Promise<boolean> {
    let named: InvalidationTarget
    try {
      named = await naming
    } catch (error) {
      this.#refusals?.evictsAll()
      await this.settle(response, undefined, own, { groups: [PREFIX_GROUP], mode: this.#rules.evict?.mode })
      throw error
    }
    return this.settle(response, stored, own, named)
  }

  async #named(policy: EvictPolicy<never>, result: WriteResult): Promise<InvalidationTarget> {
    const request = this.#state.request as RequestContext<never>
    const { group, evictKey, mode } = policy
    if (typeof group !== 'function') this.#noteMissed(group)
    const named = typeof group === 'function' ? group(request.native, result) : group
    const keyed = typeof evictKey === 'function' ? evictKey(request.native, result) : evictKey
    const [groups, key, owner] = await Promise.all([
      named,
      keyed,
      keyed === undefined ? undefined : ownerOf(request, policy),
    ])
    // Without a principal the entries of all end.
    const principal = owner === undefined || 'bypass' in owner ? undefined : owner.principal
    return {
      groups: encodedNames(groups),
      paths: key === undefined ? NONE : [evictedPath(request, policy, key, principal)],
      mode,
    }
  }

  /** Logs groups that no entry of this application is known to be in. */
  #noteMissed(group: string | readonly string[] = NONE): void {
    const { scope } = this.#rules
    if (!scope.cachesRoutes) return
    for (const one of [group].flat()) if (scope.groupNames.missed(one)) this.#refusals?.evictsNothing(one)
  }

  /** The response as the GET of the path; undefined where it is not what a GET would return. */
  #toStored(response: ResponseHead, body: Buffer | undefined): Stored | undefined {
    const { request, plan, ref, http } = this.#state
    if (body === undefined || ref === undefined || !isSuccess(response.status)) return undefined
    const now = this.#rules.scope.now()
    const decision = decideStore(response, {
      request,
      plan,
      policy: http,
      now,
      requestedAt: now,
      body,
      unkeyedReads: this.unkeyedReads,
      ambient: this.#ambient,
    })
    if (!decision.store || this.#rules.put === undefined) return undefined
    if (!isWanted(this.#rules.put, new Result(response.status, body), this.#refusals)) return undefined
    const groups = [...this.groups, ...decision.groups]
    return groupProblems(groups).length === 0 ? { decision, body, groups } : undefined
  }

  /** The fields of the response to the write itself, with its status. */
  #present(response: ResponseHead, stored: boolean): HeaderList {
    const { put, scope } = this.#rules
    const { plan, http } = this.#state
    if (put === undefined) return response.headers
    const decision = { store: false, reason: 'method', forKey: false } as const
    return buildMissResponse(plan, response, undefined, decision, http, scope.now(), { stored }).headers
  }

  get #refusals(): RefusalLog | undefined {
    const { refusals, name = UNNAMED } = this.#rules
    return refusals?.(this.#state.request.route ?? name)
  }

  get #recorder(): Recorder {
    const { scope, put, evict, name } = this.#rules
    const declared = (put ?? evict) === undefined ? undefined : (this.#state.request.route ?? name)
    return scope.telemetry.route(declared ?? UNNAMED)
  }
}

const NONE: readonly string[] = []
