import { LRUCache } from 'lru-cache'
import type { Fill } from '../cache/fill.js'
import type { Acquired, AloneReason } from '../cache/fills.js'
import { type Absent, type Look, type Place, replacing } from '../cache/place.js'
import type { Space } from '../cache/space.js'
import {
  gatewayTimeout,
  type HttpPolicy,
  isSafe,
  judge,
  planRequest,
  type RefusalReason,
  replay,
  type Outgoing,
  type ReplayHow,
  type RequestPlan,
} from '../http/index.js'
import type { Logger } from '../logger.js'
import type { Entry } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import { groupsProblem, hostOf, isPromise, type Location, locate, placeOf } from './locate.js'
import type { RoutePolicy } from './policy.js'
import type { CacheRequest } from './request.js'
import type { CachedPaths } from './cached-paths.js'
import { isDueEarly } from './early-refresh.js'
import { type Destination, EntryWriter } from './entry-writer.js'
import type { BypassReason, Lookup, MissReason } from './lookup.js'
import { REFUSALS } from './refusals.js'
import { Run } from './run.js'
import type { Before, Conclusion, RunControls } from './run-controls.js'
import type { Stored } from './stored.js'
import { unkeyedFields } from './unkeyed.js'
import { UnsafeRequest } from './unsafe-request.js'
import { Variants } from './variants.js'

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
  /** Entries exist for other variants. */
  readonly varyMiss?: boolean
}

/** What is known about a run beside its request. */
interface RunContext {
  readonly grant?: Grant | undefined
  readonly before?: Before | undefined
  readonly conclusion?: Conclusion | undefined
  /** For Cache-Status: why the store was not asked. */
  readonly detail?: string | undefined
}

/** The cache of one GET route: what is decided about its requests and its responses. */
export class RouteCache<Req> {
  readonly policy: RoutePolicy<Req>
  readonly #space: Space
  readonly #options: RouteOptions
  readonly #variants: Variants
  readonly #writer: EntryWriter<Req>
  /** Credential fields that do not select an entry, where responses name no Vary of their own. */
  readonly #watched: readonly string[]
  readonly #refused = new Set<string>()
  readonly #paused = new LRUCache<string, true>({ max: 1000, ttl: REFRESH_PAUSE_MS })
  readonly #storing = new Set<Promise<void>>()

  constructor(space: Space, policy: RoutePolicy<Req>, options: RouteOptions) {
    this.#space = space
    this.policy = policy
    this.#options = options
    this.#variants = new Variants(space, policy.http.vary)
    this.#writer = new EntryWriter(space, policy, this.#variants)
    this.#watched = unkeyedFields(policy.http, policy.http.vary)
    if (policy.enabled) options.paths.add(space, policy)
  }

  /** Whether requests by all methods may come here: those that are not looked up run the handler and invalidate. */
  get anyMethod(): boolean {
    return this.policy.http.preset === 'rfc9111'
  }

  /** Decides about a request. Synchronous where store and options are. Fails only with what the options' own functions throw. */
  lookup(request: CacheRequest<Req>): MaybePromise<Lookup> {
    const plan = planRequest(request, this.policy.http)
    if (!this.policy.enabled) return this.#bypass(request, plan, 'disabled')
    if (plan.reason === 'method' && !isSafe(request.method)) return this.#change(request, plan)
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
    return { outcome: 'bypass', reason, run: this.#run({ request, plan }, { detail: reason }) }
  }

  /** An unsafe method on a cached route. A POST that may become the entry of its URI's GET announces itself. */
  #change(request: CacheRequest<Req>, plan: RequestPlan): MaybePromise<Lookup> {
    const bypass = (conclusion: Conclusion, location?: Location): Lookup => {
      return {
        outcome: 'bypass',
        reason: 'method',
        run: this.#run(location === undefined ? { request, plan } : { request, plan, location }, { conclusion }),
      }
    }
    const { http } = this.policy
    const { paths } = this.#options
    if (plan.stores !== 'post') return bypass(new UnsafeRequest(request, http, paths))
    return Promise.resolve(locate(request, this.policy)).then(async (location) => {
      const place = location.principal === null ? undefined : placeOf(request, location, http.vary, http)
      const write = place && (await this.#space.announce(place.key))
      if (write === undefined || place === undefined) return bypass(new UnsafeRequest(request, http, paths))
      const announced = { space: this.#space, place, write, host: hostOf(request, this.policy) }
      return bypass(new UnsafeRequest(request, http, paths, announced), location)
    })
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
    const refresh = this.#refresh(visit, { entry, verdict }).catch(() => undefined)
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
  async #refresh(visit: Visit<Req>, before: Before): Promise<Run | undefined> {
    const { entry } = before
    const { key } = visit.place
    if (this.#paused.has(key)) return undefined
    this.#paused.set(key, true)
    const acquired = await this.#acquire(visit, replacing(entry), 0)
    return acquired.state === 'fill'
      ? this.#run(visit, { grant: { fill: acquired.fill, family: entry.family }, before })
      : undefined
  }

  #alone(visit: Asked<Req>, reason: MissReason, before?: Before): Lookup {
    if (visit.plan.onlyIfCached) return { outcome: 'hit', response: gatewayTimeout() }
    const detail = reason === 'outage' || reason === 'hit-for-pass' || reason === 'wait' ? reason : undefined
    return { outcome: 'miss', reason, run: this.#run(visit, { before, detail }) }
  }

  async #fill(visit: Visit<Req>, absent: Absent, reason: MissReason, before?: Before): Promise<Lookup> {
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
      return { outcome: 'miss', reason, run: this.#run(visit, { grant, before }) }
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

  #run(visit: Asked<Req> & Partial<Visit<Req>>, context: RunContext = {}): Run {
    const { request, plan, location, place } = visit
    const { grant, before, conclusion, detail } = context
    const names = location === undefined ? NONE : this.#variants.names(location.base)
    const to = location === undefined || place === undefined ? undefined : { request, location, place }
    const controls: RunControls = {
      policy: this.policy.http,
      keyedFields: names,
      watched: names === this.policy.http.vary ? this.#watched : unkeyedFields(this.policy.http, names),
      groupNames: location?.names ?? NONE,
      varyMiss: grant?.varyMiss === true,
      detail,
      conclusion,
      now: this.#space.now,
      store: (fill, stored) => this.#store(to, fill, stored, grant?.family),
      replace: (fill, entry) => void this.#track(this.#writer.replace(fill, entry), fill),
      pass: (fill) => void this.#track(fill.pass(this.#space.now()), fill),
      refuse: (reason, field) => this.#logRefusal(reason, field),
      acceptGroups: (added) =>
        added.length === 0 || groupsProblem([...(place?.groups.slice(1) ?? []), ...added]) === undefined,
      replay: (stored, kind, isStored) => {
        const how = { kind, verdict: before?.verdict, stored: isStored }
        return replay(stored, plan, request, this.policy.http, this.#space.now(), how)
      },
      mismatch: () => this.#mismatch(visit, before),
    }
    return new Run(request, plan, grant?.fill, before, controls)
  }

  #store(to: Destination<Req> | undefined, fill: Fill, stored: Stored, family?: string): Promise<void> | undefined {
    if (to === undefined) return undefined
    const known = this.#variants.names(to.location.base)
    const learns = stored.decision.varyNames.some((name) => !known.includes(name))
    this.#paused.delete(to.place.key)
    const storing = this.#track(this.#writer.store(to, fill, stored, family), fill)
    return learns ? storing : undefined
  }

  /** What stands there is not what the handler means: it goes, and the client is told what it was given before. */
  async #mismatch({ request, plan, place }: Asked<Req> & Partial<Visit<Req>>, before?: Before): Promise<Outgoing> {
    if (place !== undefined) await this.#space.evict({ keys: [place.key] })
    if (before === undefined || before.verdict.mustRevalidate) return gatewayTimeout()
    const how = { kind: 'error', verdict: before.verdict } as const
    return replay(before.entry, plan, request, this.policy.http, this.#space.now(), how)
  }

  #track(work: Promise<unknown>, fill: Fill): Promise<void> {
    const tracked = work
      .catch(() => fill.release())
      .catch(() => {})
      .then(() => void this.#storing.delete(tracked))
    this.#storing.add(tracked)
    return tracked
  }

  /** Once for each reason: the developer should know, and the log should stay readable. */
  #logRefusal(reason: RefusalReason, field: string | undefined): void {
    const name = field === undefined ? reason : `${reason}:${field}`
    if (this.#refused.has(name)) return
    this.#refused.add(name)
    const read = reason === 'unkeyed-read' && field !== undefined ? ` (it read ${field})` : ''
    this.#options.logger.warn(`redwell: a response of ${this.#options.name} was not stored: ${REFUSALS[reason]}${read}`)
  }
}

const NONE: readonly string[] = []

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
