import { isPromise, type MaybePromise } from '../maybe-promise.js'
import { LRUCache } from 'lru-cache'
import type { CacheScope } from '../cache/cache-scope.js'
import { type Absent, type EntryLookup, replacing } from '../cache/entry-ref.js'
import type { Explanation } from '../cache/explanation.js'
import type { Acquired, AloneReason } from '../cache/fill.js'
import {
  gatewayTimeout,
  isSafe,
  evaluateReuse,
  type Lifetimes,
  planRequest,
  buildStoredResponse,
  type StoredResponseContext,
  type RequestPlan,
} from '../http/index.js'
import type { Logger } from '../logger.js'
import type { Entry } from '../store/entry.js'
import type { LookupResult, Recorder } from '../telemetry/recorder.js'
import type { CachedPaths } from './cached-paths.js'
import { isPath, locate, type Location, placeOf } from './entry-key.js'
import { explain } from './explain.js'
import type { Before, Conclusion, HandlerRun } from './handler-run.js'
import { longestLifeMs, type RoutePolicy } from './policy.js'
import { RefusalLog } from './refusals.js'
import type { BypassReason, RequestContext, HitReason, RouteLookup, MissReason } from './request.js'
import { HandlerRuns, type Visit } from './runs.js'
import { Variants } from './variants.js'
import { announce, UnsafeRequest } from './write-session.js'

/** A refresh that failed is not tried again for this long. */
const REFRESH_PAUSE_MS = 1000

/** Looks at a key before its variants have settled. */
const LOOKS_MAX = 4

export interface RouteOptions {
  /** Names the route in logs: method and template. */
  readonly name: string
  readonly logger: Logger
  /** Whether the framework can run the handler again for a request of its own. If not, one request pays for a refresh. */
  readonly refreshes: boolean
  /** Whether the framework takes the body of the answer to a HEAD away, and counts its length. */
  readonly stripsHead: boolean
  /** Where the application's routes cache their URIs. */
  readonly paths: CachedPaths
}

type Asked<Req> = Pick<Visit<Req>, 'request' | 'plan'>

type Hit = Extract<RouteLookup, { outcome: 'hit' }>

/** The cache of one GET route: what is decided about its requests and its responses. */
export class CachedRoute<Req> {
  readonly policy: RoutePolicy<Req>
  readonly #space: CacheScope
  readonly #options: RouteOptions
  readonly #recorder: Recorder
  readonly #variants: Variants
  readonly #runs: HandlerRuns<Req>
  readonly #paused = new LRUCache<string, true>({ max: 1000, ttl: REFRESH_PAUSE_MS })

  constructor(space: CacheScope, policy: RoutePolicy<Req>, options: RouteOptions) {
    this.#space = space
    this.policy = policy
    this.#options = options
    this.#recorder = space.telemetry.route(options.name)
    this.#variants = new Variants(space, policy.http.vary)
    const refusals = new RefusalLog(options.name, options.logger, this.#recorder)
    this.#runs = new HandlerRuns(space, policy, this.#variants, refusals, this.#recorder, (key) =>
      this.#paused.delete(key),
    )
    if (policy.enabled) options.paths.add(space, policy)
  }

  /** Whether requests by all methods may come here: those that are not looked up run the handler and invalidate. */
  get anyMethod(): boolean {
    return this.policy.http.preset === 'rfc9111'
  }

  /** Decides about a request. Synchronous where store and options are. Fails only with what the options' own functions throw. */
  lookup(request: RequestContext<Req>): MaybePromise<RouteLookup> {
    return watched(this.#recorder, () => this.#lookup(request))
  }

  #lookup(request: RequestContext<Req>): MaybePromise<RouteLookup> {
    const plan = planRequest(request, this.policy.http)
    if (!this.policy.enabled) return this.#bypass(request, plan, 'disabled')
    if (plan.reason === 'method' && !isSafe(request.method)) return this.#change(request, plan)
    if (plan.reason !== undefined) return this.#bypass(request, plan, plan.reason)
    if (!isPath(request.target)) return this.#bypass(request, plan, 'request-target')
    const located = locate(request, this.policy)
    if (isPromise(located)) return located.then((location) => this.#lookAt(request, plan, location, 1))
    return this.#lookAt(request, plan, located, 1)
  }

  /** Method and template of the route. */
  get name(): string {
    return this.#options.name
  }

  /** What a lookup would decide, and why. */
  explain(request: RequestContext<Req>): Promise<Explanation> {
    return explain({ name: this.name, policy: this.policy, space: this.#space, variants: this.#variants }, request)
  }

  /** Resolves when everything that was to be stored has been. */
  settled(): Promise<void> {
    return this.#runs.settled()
  }

  #bypass(request: RequestContext<Req>, plan: RequestPlan, reason: BypassReason): RouteLookup {
    return { outcome: 'bypass', reason, run: this.#runs.start({ request, plan }, { detail: reason }) }
  }

  /** An unsafe method on a cached route. A POST that may become the entry of its URI's GET announces itself. */
  #change(request: RequestContext<Req>, plan: RequestPlan): MaybePromise<RouteLookup> {
    const bypass = (conclusion: Conclusion, location?: Location): RouteLookup => {
      return {
        outcome: 'bypass',
        reason: 'method',
        run: this.#runs.start(location === undefined ? { request, plan } : { request, plan, location }, { conclusion }),
      }
    }
    const { http } = this.policy
    const { paths } = this.#options
    if (plan.stores !== 'post') return bypass(new UnsafeRequest(request, http, paths, this.#recorder))
    return announce(request, this.policy, this.#space).then((announced) =>
      bypass(new UnsafeRequest(request, http, paths, this.#recorder, announced), announced?.location),
    )
  }

  #lookAt(
    request: RequestContext<Req>,
    plan: RequestPlan,
    location: Location,
    looks: number,
  ): MaybePromise<RouteLookup> {
    if (location.principal === null) return this.#bypass(request, plan, 'no-principal')
    const place = placeOf(request, location, this.#variants.names(location.base), this.policy.http)
    const visit = { request, plan, location, place, looks }
    const looking = this.#space.lookup(place)
    return isPromise(looking) ? looking.then((look) => this.#weigh(visit, look)) : this.#weigh(visit, looking)
  }

  #lookAgain({ request, plan, location, looks }: Visit<Req>): MaybePromise<RouteLookup> {
    return looks < LOOKS_MAX
      ? this.#lookAt(request, plan, location, looks + 1)
      : this.#alone({ request, plan }, 'unusable')
  }

  #weigh(visit: Visit<Req>, look: EntryLookup): MaybePromise<RouteLookup> {
    if (look.state === 'outage') return this.#alone(visit, 'outage')
    if (look.state === 'absent') return this.#weighAbsent(visit, look)
    const { entry, softened } = look
    if (entry.kind === 'response') return this.#answer(visit, entry, softened)
    if (entry.kind === 'pass') return this.#alone(visit, 'hit-for-pass')
    if (entry.kind === 'variants' && visit.place.base === undefined) {
      this.#variants.learn(visit.location.base, entry)
      return this.#lookAgain(visit)
    }
    return this.#fill(visit, replacing(entry), 'unusable')
  }

  /** What stands at the path may say that its variants are told apart by other fields than this process knew. */
  #weighAbsent(visit: Visit<Req>, absent: Absent): MaybePromise<RouteLookup> {
    const marker = absent.marker ?? (absent.seen === 'any' ? undefined : absent.seen)
    if (marker?.kind === 'variants' && this.#variants.learn(visit.location.base, marker)) return this.#lookAgain(visit)
    return this.#fill(visit, absent, 'absent')
  }

  #answer(visit: Visit<Req>, entry: Entry, softened: boolean): MaybePromise<RouteLookup> {
    const now = this.#space.now()
    const verdict = evaluateReuse(entry, visit.plan, this.policy.http, now, softened)
    if (verdict.action === 'validate' || verdict.action === 'unusable') {
      return this.#fill(visit, replacing(entry), verdict.reason, { entry, verdict })
    }
    const early = verdict.reason === 'fresh' && isDueEarly(entry, now, this.policy.earlyRefresh)
    if (verdict.action === 'fresh' && !early)
      return this.#hit(visit, entry, verdict.reason === 'fresh' ? 'hit' : 'stale', verdict.reason)
    const how = early ? 'hit' : 'stale'
    if (visit.plan.head) return this.#hit(visit, entry, how, verdict.reason)
    const refresh = this.#refresh(visit, { entry, verdict }, early ? 'early' : 'stale').catch(() => undefined)
    const hit = (): Hit => this.#hit(visit, entry, how, verdict.reason)
    if (this.#options.refreshes && this.policy.per === undefined) return { ...hit(), refresh }
    // Who gets the lease runs the handler itself; everybody else is served the stale entry.
    return refresh.then((run) =>
      run === undefined ? hit() : { outcome: 'miss', reason: verdict.reason, run, place: visit.place },
    )
  }

  #hit(
    { request, plan, place }: Visit<Req>,
    entry: Entry,
    kind: StoredResponseContext['kind'],
    reason: HitReason,
  ): Hit {
    const asked = plan.head && this.#options.stripsHead ? { ...plan, head: false } : plan
    const how = kind === 'hit' ? undefined : { kind }
    const response = buildStoredResponse(entry, asked, request, this.policy.http, this.#space.now(), how)
    return { outcome: 'hit', reason, response, entry, place }
  }

  /** A run that refreshes an entry; undefined when somebody else does, or a refresh has just failed. */
  async #refresh(visit: Visit<Req>, before: Before, why: 'stale' | 'early'): Promise<HandlerRun | undefined> {
    const { entry } = before
    const { key } = visit.place
    if (this.#paused.has(key)) return undefined
    this.#paused.set(key, true)
    const acquired = await this.#acquire(visit, replacing(entry), 0)
    if (acquired.state !== 'fill') return undefined
    this.#recorder.refreshes(why)
    return this.#runs.start(visit, { grant: { fill: acquired.fill, family: entry.family }, before })
  }

  #alone(visit: Asked<Req> & Partial<Visit<Req>>, reason: MissReason, before?: Before): RouteLookup {
    if (visit.plan.onlyIfCached) return { outcome: 'hit', reason: 'only-if-cached', response: gatewayTimeout() }
    const detail = reason === 'outage' || reason === 'hit-for-pass' || reason === 'wait' ? reason : undefined
    return { outcome: 'miss', reason, run: this.#runs.start(visit, { before, detail }), place: visit.place }
  }

  async #fill(visit: Visit<Req>, absent: Absent, reason: MissReason, before?: Before): Promise<RouteLookup> {
    const { plan } = visit
    const updates = plan.head && before !== undefined && this.policy.http.headUpdate
    if (plan.onlyIfCached || (plan.head && !updates)) return this.#alone(visit, reason, before)
    // Who wants a new answer, or one for itself alone, does not wait for a run that began before.
    const waits = plan.collapsible && this.policy.http.collapse && !wantsNew(plan)
    const acquired = await this.#acquire(visit, absent, waits ? undefined : 0)
    if (acquired.state === 'fill') {
      const { marker } = absent
      const varies = marker?.kind === 'variants'
      const family = varies ? marker.family : before?.entry.family
      const grant = { fill: acquired.fill, family: family === '' ? undefined : family, varyMiss: varies }
      const others = varies ? await this.#others(visit, marker) : NONE
      return { outcome: 'miss', reason, run: this.#runs.start(visit, { grant, before, others }), place: visit.place }
    }
    if (acquired.state === 'alone') return this.#alone(visit, ALONE[acquired.reason] ?? 'wait', before)
    if (acquired.entry.kind === 'response') return this.#hit(visit, acquired.entry, 'collapsed', 'collapsed')
    this.#variants.learn(visit.location.base, acquired.entry)
    return this.#lookAgain(visit)
  }

  /** What is stored for other variants: the handler may say that one of them answers this request as well. */
  async #others({ location }: Visit<Req>, marker: Entry): Promise<readonly Entry[]> {
    if (!this.policy.http.validateOtherVariants) return NONE
    return this.#variants.others(marker.family, location.principal).catch(() => NONE)
  }

  #acquire({ plan, place }: Visit<Req>, absent: Absent, waitMs?: number): Promise<Acquired> {
    return this.#space.acquire(place, absent, {
      accept: (entry, softened) => {
        if (entry.kind === 'variants') return place.base === undefined
        return (
          entry.kind === 'response' &&
          evaluateReuse(entry, plan, this.policy.http, this.#space.now(), softened).action === 'fresh'
        )
      },
      groupTtlMs: longestLifeMs(this.policy.http),
      waitMs,
      recorder: this.#recorder,
    })
  }
}

const NONE: readonly Entry[] = []

const ALONE: Partial<Record<AloneReason, 'hit-for-pass' | 'outage'>> = {
  'hit-for-pass': 'hit-for-pass',
  outage: 'outage',
}

function wantsNew({ directives }: RequestPlan): boolean {
  return directives.noCache || directives.maxAge === 0
}

/**
 * Whether a hit refreshes a fresh entry ahead of its end: never before the last part of the lifetime, then ever more
 * likely, so that a busy key is refreshed before it expires and processes do not do so in step.
 */
export function isDueEarly({ storedAt, freshUntil }: Lifetimes, now: number, part: number): boolean {
  if (part === 0 || freshUntil === Infinity) return false
  const windowMs = (freshUntil - storedAt) * part
  const leftMs = freshUntil - now
  return leftMs < windowMs && Math.random() > leftMs / windowMs
}

/** Served past the lifetime. */
const STALE: ReadonlySet<HitReason> = new Set<HitReason>(['max-stale', 'stale-while-revalidate', 'stale', 'softened'])

/** Decides about a request under the eyes of telemetry. */
export function watched(recorder: Recorder, decide: () => MaybePromise<RouteLookup>): MaybePromise<RouteLookup> {
  return recorder.lookup('get', decide, foundBy)
}

function foundBy(lookup: RouteLookup): LookupResult {
  if (lookup.outcome === 'bypass') return { outcome: 'bypass', reason: lookup.reason }
  const { reason, entry, place } = lookup
  if (lookup.outcome === 'miss' || reason === 'only-if-cached') return { outcome: 'miss', reason, place }
  const bytes = lookup.response.body?.length ?? 0
  return { outcome: STALE.has(lookup.reason) ? 'stale' : 'hit', reason, entry, place, bytes }
}
