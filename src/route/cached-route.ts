import type { CacheScope } from '../cache/cache-scope.js'
import { type Absent, type EntryLookup, type EntryRef, replacing } from '../cache/lookup.js'
import type { Acquired } from '../cache/fill.js'
import {
  buildStoredResponse,
  evaluateReuse,
  gatewayTimeout,
  type HttpPolicy,
  isSafe,
  type OutgoingResponse,
  planRequest,
  type RequestHead,
  type StoredResponseContext,
  withoutFreshness,
} from '../http/index.js'
import { OptionsError } from '../errors.js'
import type { Logger } from '../logger.js'
import { chain, isPromise, type MaybePromise } from '../maybe-promise.js'
import type { Entry } from '../store/entry.js'
import { pathGroup } from '../store/keyspace.js'
import type { LookupTimer, Recorder } from '../telemetry/recorder.js'
import type { CachedPaths } from './cached-paths.js'
import { EntryLocator, type Location, Variants } from './entry-key.js'
import { HandlerRun } from './handler-run.js'
import { longestLifeMs, type RoutePolicy } from './policy.js'
import type { HostWatch } from './host-watch.js'
import type { KeyWatch } from './key-watch.js'
import { ownerOf } from './principal.js'
import { RefusalLog } from './refusals.js'
import type { RunRoute } from './run-route.js'
import { type Selector, selectorsOf } from './selector.js'
import {
  type BypassReason,
  RequestState,
  type HitReason,
  isDueEarly,
  type MissReason,
  type RequestContext,
} from './request.js'
import { ReadyHits } from './ready-hits.js'
import { Refreshes } from './refreshes.js'
import { type Bypass, Hit, resultOf, type RouteLookup } from './route-lookup.js'
import { isUnambiguous } from './target.js'
import { templateOf } from './templates.js'
import { WriteRoute, type WriteSession } from './write-session.js'

/** Reads of a request, each of which may find that its variant has another key. */
const LOOKUPS_MAX = 4

export interface RouteOptions {
  /** Names the route in logs: method and template. */
  readonly name: string
  readonly logger: Logger
  /** Whether the framework takes the body of the answer to a HEAD away, and counts its length. */
  readonly stripsHead: boolean
  /** Where the application's routes cache their URIs. */
  readonly paths: CachedPaths
  readonly hosts: HostWatch
  /** Of a route whose key function makes keys that other routes might make. */
  readonly keys?: KeyWatch | undefined
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
  readonly #hosts: HostWatch | undefined
  readonly #keys: KeyWatch | undefined
  readonly #ready: ReadyHits<Req> | undefined
  readonly #writes: WriteRoute<Req>
  readonly #groupTtlMs: number
  readonly #refreshes: Refreshes<Req>

  constructor(scope: CacheScope, policy: RoutePolicy<Req>, options: RouteOptions) {
    const { name, logger, paths, hosts, keys, stripsHead } = options
    this.name = name
    this.policy = policy
    this.http = policy.http
    this.scope = scope
    this.recorder = scope.telemetry.route(name)
    this.variants = new Variants(scope, policy.http)
    this.refusals = new RefusalLog(name, logger, this.recorder)
    this.locator = new EntryLocator(policy)
    this.#stripsHead = stripsHead
    this.#hosts = policy.hostUndeclared ? hosts : undefined
    this.#keys = keys
    this.#ready = ReadyHits.of(scope, policy)
    const [{ variants, refusals }, { http }] = [this, policy]
    this.#writes = new WriteRoute({ scope, paths, http, put: policy, name, variants, refusals: () => refusals })
    this.#groupTtlMs = longestLifeMs(policy.http)
    this.#refreshes = new Refreshes(this, (state, ref, absent) => this.#startRun(state, ref, absent))
    if (policy.enabled) paths.add(policy)
  }

  /** Whether requests by all methods may come here: those that are not looked up run the handler and invalidate. */
  get anyMethod(): boolean {
    return this.http.preset === 'rfc9111'
  }

  /** Decides about a request. Synchronous where store and options are. Fails only with what the options' own functions throw. */
  lookup(request: RequestContext<Req>): MaybePromise<RouteLookup> {
    if (request.background !== undefined) return this.#continue(request, request.background)
    const timer = this.recorder.start('get')
    const ready = this.#ready?.find(request)
    if (ready === undefined) return this.#timed(timer, request)
    this.#hosts?.note(this.name, request)
    timer.found(ready)
    return ready
  }

  // Apart from `lookup`, whose ready hits need no closure.
  #timed(timer: LookupTimer, request: RequestContext<Req>): MaybePromise<RouteLookup> {
    return timer.follow(() => this.#decide(request), resultOf)
  }

  /** Resolves when everything that was to be stored has been. */
  settled(): Promise<void> {
    return this.scope.background.stored()
  }

  /** The functions that have selected the entry of one of its requests. */
  selectors({ request, location }: RequestState<Req>): readonly Selector[] {
    return selectorsOf(request, this.policy, location?.principal)
  }

  /** Counts a store of a run among what `settled` waits for. */
  track(storing: Promise<unknown>): void {
    this.scope.background.trackStore(storing)
  }

  rerun(state: RequestState<Req>): Promise<OutgoingResponse | undefined> {
    return this.#refreshes.rerun(state)
  }

  onStored(key: string): void {
    this.#refreshes.stored(key)
    this.refusals.forget(key)
  }

  #decide(request: RequestContext<Req>): MaybePromise<RouteLookup> {
    const state = stateOf(this, request)
    const { plan } = state
    if (!this.policy.enabled) return this.#bypass(state, 'disabled')
    if (plan.bypass === 'method' && !isSafe(request.method)) return this.#change(state)
    if (plan.bypass !== undefined) return this.#bypass(state, plan.bypass)
    if (!isUnambiguous(request, this.policy)) return this.#bypass(state, 'request-target')
    // RFC 9110 section 9.3.1: content of a GET has no meaning, and handlers read it all the same.
    if (this.policy.key === undefined && hasContent(request)) return this.#bypass(state, 'request-body')
    try {
      const decided = this.#ask(state)
      return isPromise(decided) ? decided.catch((error: unknown) => this.#mistaken(request, error)) : decided
    } catch (error) {
      return this.#mistaken(request, error)
    }
  }

  #ask(asked: RequestState<Req>): MaybePromise<RouteLookup> {
    const { request } = asked
    return chain(ownerOf(request, this.policy), (owner) => {
      if ('bypass' in owner) {
        if (owner.bypass === 'principal') this.refusals.bypassesPrincipals()
        return this.#bypass(asked, owner.bypass)
      }
      const { principal } = owner
      const http = principal === undefined ? this.http : this.policy.personal
      const state = http === this.http ? asked : stateOf(this, request, http)
      return chain(this.locator.locate(request, principal), (location) => {
        state.location = location
        if (location.routed.length === 0) this.#hosts?.note(this.name, request)
        this.#keys?.note(location.uri, this.name)
        return this.#read(state, location)
      })
    })
  }

  /** What a function of the options returns may come from a request: it must not fail, and it must not share an entry. */
  #mistaken(request: RequestContext<Req>, error: unknown): Bypass {
    if (!(error instanceof OptionsError)) throw error
    this.refusals.mistake(error)
    return this.#bypass(stateOf(this, request), 'invalid-option')
  }

  #bypass(state: RequestState<unknown>, reason: BypassReason, session?: WriteSession): Bypass {
    state.detail = session === undefined ? reason : undefined
    return { outcome: 'bypass', reason, run: new HandlerRun(this, state, session) }
  }

  /** An unsafe method on a cached route. The response to a POST may become the entry of its URI's GET. */
  #change(state: RequestState<Req>): MaybePromise<Bypass> {
    const { request, plan } = state
    const begun = plan.stores === 'post' ? this.#writes.beginPut(request, planRequest) : this.#writes.session(state)
    return chain(begun, (session) => this.#bypass(session.state, 'method', session))
  }

  /** A request for a background run. Where it has another key, the key depends on what only the first client has sent. */
  #continue(request: RequestContext<Req>, run: unknown): MaybePromise<RouteLookup> {
    const bypass = (): Bypass => this.#bypass(stateOf(this, request), 'background')
    if (!(run instanceof HandlerRun) || !this.#continues(run)) return bypass()
    const { ref } = run.state
    return chain(this.locator.locate(request, undefined), (location) => {
      if (this.variants.ref(request, location).key === ref?.key) {
        run.taken = true
        return { outcome: 'miss', reason: 'stale', run, ref }
      }
      this.#refreshes.cannotDispatch()
      run.abandon()
      return bypass()
    })
  }

  /** A framework may have a route of its own for the HEAD of this one. */
  #continues({ route, state }: HandlerRun): boolean {
    return route === this || (state.request.method === 'HEAD' && templateOf(route.name) === templateOf(this.name))
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
    const decision = evaluateReuse(entry, plan, state.http, now, softened)
    const { action, reason } = decision
    const shown = softened ? withoutFreshness(entry, now) : entry
    if (action === 'validate' || action === 'unusable') {
      state.previous = { entry, shown, decision }
      return this.#fill(state, ref, replacing(entry), reason)
    }
    const early = reason === 'fresh' && isDueEarly(entry, now, this.policy.earlyRefresh)
    const kind = reason === 'fresh' ? 'hit' : 'stale'
    if (plan.plain && reason === 'fresh' && state.location !== undefined)
      this.#ready?.note(request, state.location, ref, entry)
    if (action === 'fresh' && !early) return this.#hit(state, shown, kind, reason)
    const previous = { entry, shown, decision }
    const why = early ? 'early' : 'stale'
    if (this.#refreshes.canDispatch(state) && request.dispatch !== undefined) {
      this.#refreshes.later(plan.head ? asGet(state) : state, ref, previous, why)
      return this.#hit(state, shown, kind, reason)
    }
    // The response to a HEAD has no body to store.
    if (plan.head) return this.#hit(state, shown, kind, reason)
    // The request that gets the lease runs the handler itself; all others are served the stale entry.
    return this.#refreshes
      .begin(state, ref, previous, why, state.budget)
      .catch(() => undefined)
      .then((run) =>
        run === undefined ? this.#hit(state, shown, kind, reason) : { outcome: 'miss', reason, run, ref },
      )
  }

  #hit(state: RequestState<Req>, entry: Entry, kind: StoredResponseContext['kind'], reason: HitReason): Hit {
    const { plan, ref } = state
    const asked = plan.head && this.#stripsHead ? { ...plan, head: false } : plan
    const context = kind === 'hit' ? undefined : { kind }
    const response = buildStoredResponse(entry, asked, state.http, this.scope.now(), context)
    return new Hit(reason, response, ref, entry)
  }

  /** A run that waits for no other; undefined where another one is under way. */
  async #startRun(state: RequestState<Req>, ref: EntryRef, absent: Absent): Promise<HandlerRun | undefined> {
    const acquired = await this.#acquire(state, ref, absent, 0)
    if (acquired.state !== 'fill') return undefined
    state.lease = acquired.fill
    return new HandlerRun(this, state)
  }

  #alone(state: RequestState<Req>, reason: MissReason): MaybePromise<RouteLookup> {
    const { plan, ref } = state
    if (plan.directives.onlyIfCached) return new Hit('only-if-cached', gatewayTimeout(), undefined, undefined)
    state.detail = reason === 'outage' || reason === 'hit-for-pass' || reason === 'wait' ? reason : undefined
    const run = (): RouteLookup => ({ outcome: 'miss', reason, run: new HandlerRun(this, state), ref })
    const { concurrency: max, wait: waitMs, lease: holdMs } = this.policy
    if (max === undefined || ref === undefined) return run()
    const { budget } = state
    const taking = { max, waitMs, holdMs, accept: this.#accepting(state), recorder: this.recorder, budget }
    return chain(this.scope.fills.takeTurn(ref, taking), (taken) => {
      if (taken.state === 'found' && taken.entry.kind === 'response')
        return this.#hit(state, taken.entry, 'collapsed', 'collapsed')
      if (taken.state === 'turn') state.turn = taken.turn
      return run()
    })
  }

  async #fill(state: RequestState<Req>, ref: EntryRef, absent: Absent, reason: MissReason): Promise<RouteLookup> {
    const { plan, location } = state
    const updates = plan.head && state.previous !== undefined && state.http.headUpdate
    if (plan.directives.onlyIfCached || (plan.head && !updates) || state.waited) return this.#alone(state, reason)
    // A client that wants a new answer, or one for itself alone, does not wait for a run that began before.
    const waits = plan.collapsible && state.http.collapse && !state.forced
    const acquired = await this.#acquire(state, ref, absent, waits ? this.policy.wait : 0)
    if (acquired.state === 'fill') {
      state.lease = acquired.fill
      // The handler may confirm that what is stored for another variant answers this request as well.
      if (state.varyMiss && state.http.validateOtherVariants)
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

  #acquire(state: RequestState<Req>, ref: EntryRef, absent: Absent, waitMs?: number): Promise<Acquired> {
    const accept = this.#accepting(state)
    return this.scope.fills.acquire(ref, absent, {
      accept: (entry, softened) => entry.kind === 'variants' || accept(entry, softened),
      groupTtlMs: this.#groupTtlMs,
      waitMs,
      holdMs: this.policy.lease,
      recorder: this.recorder,
      budget: state.budget,
    })
  }

  /** Whether an entry that another run has stored answers the request. */
  #accepting({ plan, http }: RequestState<Req>): (entry: Entry, softened: boolean) => boolean {
    return (entry, softened) =>
      entry.kind === 'response' && evaluateReuse(entry, plan, http, this.scope.now(), softened).action === 'fresh'
  }
}

function hasContent(request: RequestHead): boolean {
  return (request.header('content-length') ?? '0') !== '0' || request.header('transfer-encoding') !== undefined
}

function stateOf<Req>(
  route: Pick<CachedRoute<Req>, 'http' | 'scope'>,
  request: RequestContext<Req>,
  http = route.http,
): RequestState<Req> {
  return new RequestState(request, http, planRequest(request, http), route.scope.budget())
}

/** The same for the GET that refreshes what a HEAD has found stale. */
function asGet<Req>({ request, http, budget, location, ref }: RequestState<Req>): RequestState<Req> {
  const plan = planRequest({ method: 'GET', header: (name) => request.header(name) }, http)
  return Object.assign(new RequestState(request, http, plan, budget), { location, ref })
}
