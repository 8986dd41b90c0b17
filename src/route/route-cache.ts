import { LRUCache } from 'lru-cache'
import type { Fill } from '../cache/fill.js'
import type { Acquired, AloneReason } from '../cache/fills.js'
import { type Absent, type Look, type Place, replacing, unseen } from '../cache/place.js'
import type { Space } from '../cache/space.js'
import {
  gatewayTimeout,
  type HttpPolicy,
  judge,
  planRequest,
  type RefusalReason,
  replay,
  type ReplayHow,
  type RequestPlan,
} from '../http/index.js'
import type { Logger } from '../logger.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import { type Location, groupsProblem, isPromise, locate, placeOf } from './locate.js'
import type { RoutePolicy } from './policy.js'
import type { CacheRequest } from './request.js'
import { isDueEarly } from './early-refresh.js'
import type { BypassReason, Lookup, MissReason } from './lookup.js'
import { REFUSALS } from './refusals.js'
import { type Before, Run, type RunControls } from './run.js'
import { makeEntry, type Stored } from './stored.js'
import { union, Variants } from './variants.js'

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
}

/** A request on its way: what it asks, and where its entry is. */
interface Visit<Req> {
  readonly request: CacheRequest<Req>
  readonly plan: RequestPlan
  readonly location: Location
  readonly place: Place
  /** Looks so far; variants may send it to another place. */
  readonly looks: number
}

type Asked<Req> = Pick<Visit<Req>, 'request' | 'plan'>

type Hit = Extract<Lookup, { outcome: 'hit' }>

/** The right to store what a run answers. */
interface Grant {
  readonly fill: Fill
  /** Identity of the path's variants, where it was read already. */
  readonly family: string | undefined
}

/** The cache of one GET route: what is decided about its requests and its responses. */
export class RouteCache<Req> {
  readonly policy: RoutePolicy<Req>
  readonly #space: Space
  readonly #options: RouteOptions
  readonly #variants: Variants
  readonly #refused = new Set<string>()
  readonly #paused = new LRUCache<string, true>({ max: 1000, ttl: REFRESH_PAUSE_MS })
  readonly #storing = new Set<Promise<void>>()

  constructor(space: Space, policy: RoutePolicy<Req>, options: RouteOptions) {
    this.#space = space
    this.policy = policy
    this.#options = options
    this.#variants = new Variants(space, policy.http.vary)
  }

  /** Decides about a request. Synchronous where store and options are. Fails only with what the options' own functions throw. */
  lookup(request: CacheRequest<Req>): MaybePromise<Lookup> {
    const plan = planRequest(request, this.policy.http)
    if (!this.policy.enabled) return this.#bypass(request, plan, 'disabled')
    if (plan.reason !== undefined) return this.#bypass(request, plan, plan.reason)
    const located = locate(request, this.policy)
    if (isPromise(located)) return located.then((location) => this.#lookAt(request, plan, location, 1))
    return this.#lookAt(request, plan, located, 1)
  }

  /** Resolves when everything that was to be stored has been. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#storing])
  }

  #bypass(request: CacheRequest<Req>, plan: RequestPlan, reason: BypassReason): Lookup {
    return { outcome: 'bypass', reason, run: this.#run({ request, plan }) }
  }

  #lookAt(request: CacheRequest<Req>, plan: RequestPlan, location: Location, looks: number): MaybePromise<Lookup> {
    if (location.principal === null) return this.#bypass(request, plan, 'no-principal')
    const place = placeOf(request, location, this.#variants.names(location.base), this.policy.http)
    const visit = { request, plan, location, place, looks }
    const looking = this.#space.look(place)
    return isPromise(looking) ? looking.then((look) => this.#weigh(visit, look)) : this.#weigh(visit, looking)
  }

  #lookAgain({ request, plan, location, looks }: Visit<Req>): MaybePromise<Lookup> {
    return looks < LOOKS_MAX
      ? this.#lookAt(request, plan, location, looks + 1)
      : this.#alone({ request, plan }, 'unusable')
  }

  #weigh(visit: Visit<Req>, look: Look): MaybePromise<Lookup> {
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
  #weighAbsent(visit: Visit<Req>, absent: Absent): MaybePromise<Lookup> {
    const marker = absent.marker ?? (absent.seen === 'any' ? undefined : absent.seen)
    if (marker?.kind === 'variants' && this.#variants.learn(visit.location.base, marker)) return this.#lookAgain(visit)
    return this.#fill(visit, absent, 'absent')
  }

  #answer(visit: Visit<Req>, entry: Entry, softened: boolean): MaybePromise<Lookup> {
    const now = this.#space.now()
    const verdict = judge(entry, visit.plan, this.policy.http, now, softened)
    if (verdict.action === 'validate' || verdict.action === 'unusable') {
      return this.#fill(visit, replacing(entry), verdict.reason, { entry, verdict })
    }
    const early = verdict.reason === 'fresh' && isDueEarly(entry, now, this.policy.earlyRefresh)
    if (verdict.action === 'fresh' && !early)
      return this.#hit(visit, entry, verdict.reason === 'fresh' ? 'hit' : 'stale')
    const how = early ? 'hit' : 'stale'
    if (visit.plan.head) return this.#hit(visit, entry, how)
    const refresh = this.#refresh(visit, entry).catch(() => undefined)
    if (this.#options.refreshes && this.policy.per === undefined) return { ...this.#hit(visit, entry, how), refresh }
    // Who gets the lease runs the handler itself; everybody else is served the stale entry.
    return refresh.then((run) =>
      run === undefined ? this.#hit(visit, entry, how) : { outcome: 'miss', reason: verdict.reason, run },
    )
  }

  #hit({ request, plan }: Asked<Req>, entry: Entry, kind: ReplayHow['kind']): Hit {
    const asked = plan.head && this.#options.stripsHead ? { ...plan, head: false } : plan
    const how = kind === 'hit' ? undefined : { kind }
    return { outcome: 'hit', response: replay(entry, asked, request, this.policy.http, this.#space.now(), how) }
  }

  /** A run that refreshes an entry; undefined when somebody else does, or a refresh has just failed. */
  async #refresh(visit: Visit<Req>, entry: Entry): Promise<Run | undefined> {
    const { key } = visit.place
    if (this.#paused.has(key)) return undefined
    this.#paused.set(key, true)
    const acquired = await this.#acquire(visit, replacing(entry), 0)
    return acquired.state === 'fill' ? this.#run(visit, { fill: acquired.fill, family: entry.family }) : undefined
  }

  #alone(visit: Asked<Req>, reason: MissReason, before?: Before): Lookup {
    if (visit.plan.onlyIfCached) return { outcome: 'hit', response: gatewayTimeout() }
    return { outcome: 'miss', reason, run: this.#run(visit, undefined, before) }
  }

  async #fill(visit: Visit<Req>, absent: Absent, reason: MissReason, before?: Before): Promise<Lookup> {
    const { plan } = visit
    if (plan.onlyIfCached || plan.head) return this.#alone(visit, reason, before)
    // Who wants a new answer, or one for itself alone, does not wait for a run that began before.
    const acquired = await this.#acquire(visit, absent, plan.collapsible && !wantsNew(plan) ? undefined : 0)
    if (acquired.state === 'fill') {
      const family = absent.marker?.kind === 'variants' ? absent.marker.family : undefined
      const grant = { fill: acquired.fill, family }
      return { outcome: 'miss', reason, run: this.#run(visit, grant, before) }
    }
    if (acquired.state === 'alone') return this.#alone(visit, ALONE[acquired.reason] ?? 'wait', before)
    if (acquired.entry.kind === 'response') return this.#hit(visit, acquired.entry, 'collapsed')
    this.#variants.learn(visit.location.base, acquired.entry)
    return this.#lookAgain(visit)
  }

  #acquire({ plan, place }: Visit<Req>, absent: Absent, waitMs?: number): Promise<Acquired> {
    return this.#space.acquire(place, absent, {
      accept: (entry, softened) => {
        if (entry.kind === 'variants') return place.base === undefined
        return (
          entry.kind === 'response' &&
          judge(entry, plan, this.policy.http, this.#space.now(), softened).action === 'fresh'
        )
      },
      groupTtlMs: longestLifeMs(this.policy.http),
      waitMs,
    })
  }

  #run(visit: Asked<Req> & Partial<Visit<Req>>, grant?: Grant, before?: Before): Run {
    const { request, plan, location, place } = visit
    const controls: RunControls = {
      policy: this.policy.http,
      keyedFields: location === undefined ? [] : this.#variants.names(location.base),
      now: this.#space.now,
      store: (fill, stored) => {
        if (location === undefined || place === undefined) return undefined
        const learns = stored.decision.varyNames.some((name) => !this.#variants.names(location.base).includes(name))
        const storing = this.#track(this.#store({ request, location, place }, fill, stored, grant?.family), fill)
        return learns ? storing : undefined
      },
      pass: (fill) => void this.#track(fill.pass(this.#space.now()), fill),
      refuse: (reason) => this.#logRefusal(reason),
      acceptGroups: (names) =>
        names.length === 0 || groupsProblem([...(place?.groups.slice(1) ?? []), ...names]) === undefined,
      standIn: ({ entry, verdict }) =>
        replay(entry, plan, request, this.policy.http, this.#space.now(), { kind: 'error', verdict }),
    }
    return new Run(request, plan, grant?.fill, before, controls)
  }

  #track(work: Promise<unknown>, fill: Fill): Promise<void> {
    const tracked = work
      .catch(() => fill.release())
      .catch(() => {})
      .then(() => void this.#storing.delete(tracked))
    this.#storing.add(tracked)
    return tracked
  }

  async #store(
    { request, location, place }: Pick<Visit<Req>, 'request' | 'location' | 'place'>,
    fill: Fill,
    stored: Stored,
    family: string | undefined,
  ): Promise<void> {
    this.#paused.delete(place.key)
    const entry = makeEntry(stored, place.groups, fill.stamp)
    const ttlMs = usefulUntil(entry) - entry.storedAt
    const names = union(this.#variants.names(location.base), stored.decision.varyNames)
    const target = placeOf(request, location, names, this.policy.http)
    if (target.base === undefined) return void (await fill.publish(entry, ttlMs))
    if (target.key !== place.key) return this.#storeLearned(fill, entry, ttlMs, names, target)
    const own = family ?? (await this.#variants.family(target.base, names, ttlMs))
    if (own === undefined) return fill.release()
    await Promise.all([fill.publish({ ...entry, family: own }, ttlMs), this.#variants.keep(target.base, ttlMs)])
  }

  /**
   * The response named a Vary that this path did not have: what stands at the path becomes the root of its variants.
   * The variant is claimed before the root is seen, so that nobody who waited for it runs the handler again.
   */
  async #storeLearned(fill: Fill, entry: Entry, ttlMs: number, names: readonly string[], target: Place): Promise<void> {
    const acquired = await this.#space.acquire(target, unseen(target.groups), {
      accept: () => true,
      groupTtlMs: ttlMs,
      waitMs: 0,
    })
    const family = await this.#root(fill, names, target.base as string, ttlMs)
    if (acquired.state !== 'fill') return
    if (family === undefined) return acquired.fill.release()
    await acquired.fill.publish({ ...entry, family }, ttlMs)
  }

  async #root(fill: Fill, names: readonly string[], base: string, ttlMs: number): Promise<string | undefined> {
    if (fill.place.key === base) return this.#variants.plant(fill, names, ttlMs)
    await fill.release()
    return this.#variants.family(base, names, ttlMs)
  }

  /** Once for each reason: the developer should know, and the log should stay readable. */
  #logRefusal(reason: RefusalReason): void {
    if (this.#refused.has(reason)) return
    this.#refused.add(reason)
    this.#options.logger.warn(`redwell: a response of ${this.#options.name} was not stored: ${REFUSALS[reason]}`)
  }
}

const ALONE: Partial<Record<AloneReason, 'hit-for-pass' | 'outage'>> = {
  'hit-for-pass': 'hit-for-pass',
  outage: 'outage',
}

function wantsNew({ directives }: RequestPlan): boolean {
  return directives.noCache || directives.maxAge === 0
}

/** Groups created for a fill live as long as the longest entry it may become; a longer one prolongs them when it is stored. */
function longestLifeMs({ ttlMs, defaultTtlMs = 0, swrMs, sieMs, retainMs }: HttpPolicy): number {
  const lives = ttlMs === undefined ? [defaultTtlMs] : typeof ttlMs === 'number' ? [ttlMs] : [...ttlMs.values()]
  return Math.max(...lives) + Math.max(swrMs, sieMs, retainMs)
}
