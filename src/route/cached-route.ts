import { LRUCache } from 'lru-cache'
import type { CacheScope } from '../cache/cache-scope.js'
import { type Absent, type EntryLookup, type EntryRef, replacing, unseen } from '../cache/lookup.js'
import type { Acquired } from '../cache/fill.js'
import {
  buildStoredResponse,
  evaluateReuse,
  gatewayTimeout,
  type HttpPolicy,
  isSafe,
  type OutgoingResponse,
  planRequest,
  type StoredResponseContext,
} from '../http/index.js'
import type { Logger } from '../logger.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import type { Entry } from '../store/entry.js'
import { pathGroup } from '../store/keyspace.js'
import type { LookupResult, Recorder } from '../telemetry/recorder.js'
import type { CachedPaths } from './cached-paths.js'
import { EntryLocator, isPath, type Location, Variants } from './entry-key.js'
import { HandlerRun, type RunRoute } from './handler-run.js'
import { longestLifeMs, type RoutePolicy } from './options.js'
import { RefusalLog } from './refusals.js'
import {
  type BypassReason,
  RequestState,
  type HitReason,
  isDueEarly,
  type MissReason,
  type Previous,
  type RequestContext,
} from './request.js'
import { WriteRoute, type WriteSession } from './write-session.js'

/** A refresh that failed is not tried again for this long. */
const REFRESH_PAUSE_MS = 1000

/** Reads of a request, each of which may find that its variant has another key. */
const LOOKUPS_MAX = 4

/** What becomes of a request. */
export type RouteLookup = Hit | Miss | Bypass

/** Send this; the handler does not run. */
interface Hit {
  readonly outcome: 'hit'
  readonly reason: HitReason
  readonly response: OutgoingResponse
  readonly ref: EntryRef | undefined
  readonly entry: Entry | undefined
}

/** Run the handler, and end the run with its response. */
interface Miss {
  readonly outcome: 'miss'
  readonly reason: MissReason
  readonly run: HandlerRun
  readonly ref: EntryRef | undefined
}

/** Run the handler; the store is left out. */
interface Bypass {
  readonly outcome: 'bypass'
  readonly reason: BypassReason
  readonly run: HandlerRun
}

export interface RouteOptions {
  /** Names the route in logs: method and template. */
  readonly name: string
  readonly logger: Logger
  /** Whether the framework takes the body of the answer to a HEAD away, and counts its length. */
  readonly stripsHead: boolean
  /** Where the application's routes cache their URIs. */
  readonly paths: CachedPaths
}

/** The cache of one GET route: what is decided about its requests and its responses. */
export class CachedRoute<Req> implements RunRoute {
  /** Method and template. */
  readonly name: string
  readonly policy: RoutePolicy<Req>
  readonly http: HttpPolicy
  readonly scope: CacheScope
  readonly recorder: Recorder
  readonly variants: Variants
  readonly refusals: RefusalLog
  readonly locator: EntryLocator<Req>
  readonly #stripsHead: boolean
  readonly #writes: WriteRoute<Req>
  readonly #groupTtlMs: number
  readonly #paused = new LRUCache<string, true>({ max: 1000, ttl: REFRESH_PAUSE_MS })
  readonly #storing = new Set<Promise<unknown>>()
  /** Whether a background request finds the entry by what it carries. False once one came to another key. */
  #refreshes: boolean

  constructor(scope: CacheScope, policy: RoutePolicy<Req>, { name, logger, paths, stripsHead }: RouteOptions) {
    this.name = name
    this.policy = policy
    this.http = policy.http
    this.scope = scope
    this.recorder = scope.telemetry.route(name)
    this.variants = new Variants(scope, policy.http)
    this.refusals = new RefusalLog(name, logger, this.recorder)
    this.locator = new EntryLocator(policy)
    this.#stripsHead = stripsHead
    this.#writes = new WriteRoute({ scope, paths, http: policy.http, put: policy, name, variants: this.variants })
    this.#groupTtlMs = longestLifeMs(policy.http)
    this.#refreshes = policy.per === undefined
    if (policy.enabled) paths.add(policy)
  }

  /** Whether requests by all methods may come here: those that are not looked up run the handler and invalidate. */
  get anyMethod(): boolean {
    return this.http.preset === 'rfc9111'
  }

  /** Decides about a request. Synchronous where store and options are. Fails only with what the options' own functions throw. */
  lookup(request: RequestContext<Req>): MaybePromise<RouteLookup> {
    if (request.background !== undefined) return this.#continue(request, request.background)
    return this.recorder.lookup('get', () => this.#decide(request), resultOf)
  }

  /** Resolves when everything that was to be stored has been. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#storing])
  }

  /** Counts a store of a run among what `settled` waits for. */
  track(storing: Promise<unknown>): void {
    const done = (): void => void this.#storing.delete(tracked)
    const tracked: Promise<void> = storing.then(done, done)
    this.#storing.add(tracked)
  }

  /** The entry is new: its refreshes need no pause. */
  onStored(key: string): void {
    this.#paused.delete(key)
    this.refusals.forget(key)
  }

  #decide(request: RequestContext<Req>): MaybePromise<RouteLookup> {
    const state = new RequestState(request, planRequest(request, this.http), this.scope.budget())
    const { plan } = state
    if (!this.policy.enabled) return this.#bypass(state, 'disabled')
    if (plan.bypass === 'method' && !isSafe(request.method)) return this.#change(state)
    if (plan.bypass !== undefined) return this.#bypass(state, plan.bypass)
    if (!isPath(request.target)) return this.#bypass(state, 'request-target')
    return chain(this.locator.locate(request), (location) => {
      if (location.principal === null) return this.#bypass(state, 'no-principal')
      state.location = location
      return this.#read(state, location)
    })
  }

  #bypass(state: RequestState<Req>, reason: BypassReason, session?: WriteSession): Bypass {
    state.detail = session === undefined ? reason : undefined
    return { outcome: 'bypass', reason, run: new HandlerRun(this, state, session) }
  }

  /** An unsafe method on a cached route. The response to a POST may become the entry of its URI's GET. */
  #change(state: RequestState<Req>): MaybePromise<Bypass> {
    const begun = state.plan.stores === 'post' ? this.#writes.beginPut(state) : this.#writes.session(state)
    return chain(begun, (session) => this.#bypass(state, 'method', session))
  }

  /** A request for a background run. Where it has another key, the key depends on what only the first client has sent. */
  #continue(request: RequestContext<Req>, run: unknown): MaybePromise<RouteLookup> {
    const bypass = (): Bypass =>
      this.#bypass(new RequestState(request, planRequest(request, this.http), undefined), 'background')
    if (!(run instanceof HandlerRun) || run.route !== this) return bypass()
    const { ref } = run.state
    return chain(this.locator.locate(request), (location) => {
      if (this.variants.ref(request, location).key === ref?.key) return { outcome: 'miss', reason: 'stale', run, ref }
      this.#refreshes = false
      run.abandon()
      return bypass()
    })
  }

  #read(state: RequestState<Req>, location: Location): MaybePromise<RouteLookup> {
    const ref = this.variants.ref(state.request, location)
    state.ref = ref
    state.lookups += 1
    return chain(this.scope.lookup(ref, undefined, state.budget), (found) =>
      this.#evaluate(state, location, ref, found),
    )
  }

  #evaluate(
    state: RequestState<Req>,
    location: Location,
    ref: EntryRef,
    found: EntryLookup,
  ): MaybePromise<RouteLookup> {
    if (found.state === 'valid' && found.entry.kind === 'response')
      return this.#answer(state, ref, found.entry, found.softened)
    if (found.state === 'outage') return this.#alone(state, 'outage')
    if (this.variants.learn(location, found)) return this.#readAgain(state, location)
    if (found.state === 'valid') return this.#fill(state, ref, replacing(found.entry), 'unusable')
    // The group of a path is there once one of its variants was.
    state.varyMiss = ref.key !== ref.path && !found.absentGroups.includes(pathGroup(ref.path))
    return this.#fill(state, ref, found, 'absent')
  }

  #readAgain(state: RequestState<Req>, location: Location): MaybePromise<RouteLookup> {
    return state.lookups < LOOKUPS_MAX ? this.#read(state, location) : this.#alone(state, 'unusable')
  }

  #answer(state: RequestState<Req>, ref: EntryRef, entry: Entry, softened: boolean): MaybePromise<RouteLookup> {
    const now = this.scope.now()
    const { plan, request } = state
    const decision = evaluateReuse(entry, plan, this.http, now, softened)
    const { action, reason } = decision
    if (action === 'validate' || action === 'unusable') {
      state.previous = { entry, decision }
      return this.#fill(state, ref, replacing(entry), reason)
    }
    const early = reason === 'fresh' && isDueEarly(entry, now, this.policy.earlyRefresh)
    const kind = reason === 'fresh' ? 'hit' : 'stale'
    if (plan.head || (action === 'fresh' && !early)) return this.#hit(state, entry, kind, reason)
    const previous = { entry, decision }
    const why = early ? 'early' : 'stale'
    if (this.#refreshes && request.dispatch !== undefined) {
      this.#refreshLater(state, ref, previous, why)
      return this.#hit(state, entry, kind, reason)
    }
    // The request that gets the lease runs the handler itself; all others are served the stale entry.
    return this.#refresh(state, ref, previous, why, state.budget)
      .catch(() => undefined)
      .then((run) =>
        run === undefined ? this.#hit(state, entry, kind, reason) : { outcome: 'miss', reason, run, ref },
      )
  }

  #hit(state: RequestState<Req>, entry: Entry, kind: StoredResponseContext['kind'], reason: HitReason): Hit {
    const { plan, ref } = state
    const asked = plan.head && this.#stripsHead ? { ...plan, head: false } : plan
    const context = kind === 'hit' ? undefined : { kind }
    const response = buildStoredResponse(entry, asked, this.http, this.scope.now(), context)
    return { outcome: 'hit', reason, response, ref, entry }
  }

  /** Serves no request: the handler runs again for a copy of this one. */
  #refreshLater(state: RequestState<Req>, ref: EntryRef, previous: Previous, why: 'stale' | 'early'): void {
    if (this.#paused.has(ref.key)) return
    this.scope.background.run(async () => {
      const run = await this.#refresh(state, ref, previous, why, undefined)
      if (run === undefined) return
      await this.#dispatch(state, run)
      if (run.stored) return
      this.#paused.set(ref.key, true)
      this.refusals.add('refresh-failed', this.scope.now(), ref.key)
    })
  }

  /** What answers before the route does never takes the run. */
  async #dispatch({ request }: RequestState<unknown>, run: HandlerRun): Promise<void> {
    try {
      await request.dispatch?.(run)
    } catch {
      // The application logs its own errors.
    } finally {
      run.abandon()
    }
  }

  /** A run that refreshes an entry; undefined where another one is under way, or has just failed. */
  async #refresh(
    first: RequestState<Req>,
    ref: EntryRef,
    previous: Previous,
    why: 'stale' | 'early',
    budget: RequestState<Req>['budget'],
  ): Promise<HandlerRun | undefined> {
    if (this.#paused.has(ref.key)) return undefined
    this.#paused.set(ref.key, true)
    const run = await this.#startRun(first.again(budget, previous), ref, replacing(previous.entry))
    if (run !== undefined) this.recorder.refreshes(why)
    return run
  }

  /** Runs the handler again in the background, where its first answer could not be stored. */
  async rerun(first: RequestState<Req>): Promise<OutgoingResponse | undefined> {
    const { request, ref } = first
    if (!this.#refreshes || request.dispatch === undefined || ref === undefined) return undefined
    const state = first.again(undefined, undefined)
    const run = await this.#startRun(state, ref, unseen(ref.groups))
    if (run !== undefined) await this.#dispatch(state, run)
    return run?.answer
  }

  /** A run that waits for no other; undefined where another one is under way. */
  async #startRun(state: RequestState<Req>, ref: EntryRef, absent: Absent): Promise<HandlerRun | undefined> {
    const acquired = await this.#acquire(state, ref, absent, 0)
    if (acquired.state !== 'fill') return undefined
    state.lease = acquired.fill
    return new HandlerRun(this, state)
  }

  #alone(state: RequestState<Req>, reason: MissReason): RouteLookup {
    if (state.plan.directives.onlyIfCached)
      return { outcome: 'hit', reason: 'only-if-cached', response: gatewayTimeout(), ref: undefined, entry: undefined }
    state.detail = reason === 'outage' || reason === 'hit-for-pass' || reason === 'wait' ? reason : undefined
    return { outcome: 'miss', reason, run: new HandlerRun(this, state), ref: state.ref }
  }

  async #fill(state: RequestState<Req>, ref: EntryRef, absent: Absent, reason: MissReason): Promise<RouteLookup> {
    const { plan, location } = state
    const updates = plan.head && state.previous !== undefined && this.http.headUpdate
    if (plan.directives.onlyIfCached || (plan.head && !updates) || state.waited) return this.#alone(state, reason)
    // A client that wants a new answer, or one for itself alone, does not wait for a run that began before.
    const waits = plan.collapsible && this.http.collapse && !state.forced
    const acquired = await this.#acquire(state, ref, absent, waits ? this.policy.wait : 0)
    if (acquired.state === 'fill') {
      state.lease = acquired.fill
      // The handler may confirm that what is stored for another variant answers this request as well.
      if (state.varyMiss && this.http.validateOtherVariants)
        state.others = await this.scope.variants(ref).catch(() => [])
      return { outcome: 'miss', reason, run: new HandlerRun(this, state), ref }
    }
    state.waited = true
    if (acquired.state === 'alone') {
      const why = acquired.reason
      return this.#alone(state, why === 'hit-for-pass' || why === 'outage' ? why : 'wait')
    }
    if (acquired.entry.kind === 'response') return this.#hit(state, acquired.entry, 'collapsed', 'collapsed')
    if (location === undefined) return this.#alone(state, 'unusable')
    this.variants.learn(location, { state: 'valid', entry: acquired.entry, softened: false })
    return this.#readAgain(state, location)
  }

  #acquire({ plan, budget }: RequestState<Req>, ref: EntryRef, absent: Absent, waitMs?: number): Promise<Acquired> {
    return this.scope.fills.acquire(ref, absent, {
      accept: (entry, softened) =>
        entry.kind === 'variants' ||
        (entry.kind === 'response' &&
          evaluateReuse(entry, plan, this.http, this.scope.now(), softened).action === 'fresh'),
      groupTtlMs: this.#groupTtlMs,
      waitMs,
      recorder: this.recorder,
      budget,
    })
  }
}

/** Served past the lifetime. */
const STALE: ReadonlySet<HitReason> = new Set<HitReason>(['max-stale', 'stale-while-revalidate', 'stale', 'softened'])

/** The result of a lookup for telemetry. */
function resultOf(lookup: RouteLookup): LookupResult {
  const { outcome, reason } = lookup
  if (lookup.outcome === 'bypass') return { outcome, reason }
  if (lookup.outcome === 'miss' || lookup.reason === 'only-if-cached')
    return { outcome: 'miss', reason, place: lookup.ref }
  const { ref, entry, response } = lookup
  const bytes = response.body?.length ?? 0
  return { outcome: STALE.has(lookup.reason) ? 'stale' : 'hit', reason, entry, place: ref, bytes }
}
