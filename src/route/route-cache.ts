import { LRUCache } from 'lru-cache'
import type { Acquired, Fill } from '../cache/fills.js'
import { encodeGroup } from '../cache/group.js'
import { type Absent, type Look, type Place, replacing, unseen } from '../cache/place.js'
import type { Space } from '../cache/space.js'
import { judge } from '../http/judge.js'
import { planRequest } from '../http/plan.js'
import { statusField } from '../http/present.js'
import { replay } from '../http/replay.js'
import type { BypassReason, MissReason, Outgoing, RefusalReason, RequestPlan } from '../http/types.js'
import type { Logger } from '../logger.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import { type Location, groupsProblem, isPromise, locate, placeOf } from './locate.js'
import type { RoutePolicy } from './policy.js'
import type { CacheRequest } from './request.js'
import { Run, type RunControls, type Stored } from './run.js'
import { union, Variants } from './variants.js'

/** A refresh that failed is not tried again for this long. */
const REFRESH_PAUSE_MS = 1000
/** Looks at a key before its variants have settled. */
const LOOKS_MAX = 4

/** What becomes of a request. */
export type Lookup =
  /** Send this; the handler does not run. `refresh`, where there is one, is a run for the background. */
  | { readonly outcome: 'hit'; readonly response: Outgoing; readonly refresh?: Promise<Run | undefined> }
  /** Run the handler and end the run with its response. */
  | { readonly outcome: 'miss'; readonly reason: MissReason | 'hit-for-pass' | 'wait'; readonly run: Run }
  | { readonly outcome: 'bypass'; readonly reason: BypassReason; readonly run: Run }

export interface RouteOptions {
  /** Names the route in logs: method and template. */
  readonly name: string
  readonly logger: Logger
  /** Whether the framework can run the handler again for a request of its own. If not, one request pays for a refresh. */
  readonly refreshes: boolean
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

  /** Decides about a request. Synchronous where store and options are. Rejects only with what the options' own functions throw. */
  lookup(request: CacheRequest<Req>): MaybePromise<Lookup> {
    if (!this.policy.enabled) return this.#bypass(request, planRequest(request, this.policy.http), 'disabled')
    const plan = planRequest(request, this.policy.http)
    if (plan.bypass !== undefined) return this.#bypass(request, plan, plan.bypass)
    const located = locate(request, this.policy)
    if (isPromise(located)) return located.then((location) => this.#lookAt(request, plan, location, 1))
    return this.#lookAt(request, plan, located, 1)
  }

  /** A run for a refresh of an entry, as `lookup` gives one for a hit; undefined when somebody else refreshes it. */
  async refresh(request: CacheRequest<Req>, plan: RequestPlan, place: Place, location: Location, entry: Entry): Promise<Run | undefined> {
    if (this.#paused.has(place.key)) return undefined
    this.#paused.set(place.key, true)
    const acquired = await this.#acquire(place, replacing(entry), plan, 0)
    return acquired.state === 'fill' ? this.#run(request, plan, location, place, acquired.fill, undefined, entry.family) : undefined
  }

  /** Resolves when everything that was to be stored has been. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#storing])
  }

  #bypass(request: CacheRequest<Req>, plan: RequestPlan, reason: BypassReason): Lookup {
    return { outcome: 'bypass', reason, run: this.#run(request, plan, undefined, undefined, undefined, undefined, '') }
  }

  #lookAt(request: CacheRequest<Req>, plan: RequestPlan, location: Location, looks: number): MaybePromise<Lookup> {
    if (location.principal === null) return this.#bypass(request, plan, 'no-principal')
    const place = placeOf(request, location, this.#variants.names(location.base))
    if (plan.noCache && request.method === 'GET') return this.#fillAnew(request, plan, location, place)
    const looking = this.#space.look(place)
    if (isPromise(looking)) return looking.then((look) => this.#weigh(request, plan, location, place, look, looks))
    return this.#weigh(request, plan, location, place, looking, looks)
  }

  #weigh(request: CacheRequest<Req>, plan: RequestPlan, location: Location, place: Place, look: Look, looks: number): MaybePromise<Lookup> {
    if (look.state === 'outage') return this.#alone(request, plan, 'outage')
    if (look.state === 'absent') {
      const marker = look.marker ?? (look.seen !== 'any' && look.seen?.kind === 'variants' ? look.seen : undefined)
      if (marker?.kind === 'variants' && this.#variants.learn(location.base, marker) && looks < LOOKS_MAX) {
        return this.#lookAt(request, plan, location, looks + 1)
      }
      return this.#fill(request, plan, location, place, look, undefined, 'absent')
    }
    const { entry, softened } = look
    if (entry.kind === 'variants' && place.base === undefined) {
      this.#variants.learn(location.base, entry)
      return looks < LOOKS_MAX ? this.#lookAt(request, plan, location, looks + 1) : this.#alone(request, plan, 'unusable')
    }
    if (entry.kind === 'pass') return this.#alone(request, plan, 'hit-for-pass')
    if (entry.kind !== 'response') return this.#fill(request, plan, location, place, replacing(entry), undefined, 'unusable')
    return this.#answer(request, plan, location, place, entry, softened)
  }

  #answer(request: CacheRequest<Req>, plan: RequestPlan, location: Location, place: Place, entry: Entry, softened: boolean): MaybePromise<Lookup> {
    const verdict = judge(entry, plan, softened, this.#space.now(), this.policy.http.earlyRefresh)
    if (verdict.use === 'fresh') return this.#hit(request, plan, entry)
    if (verdict.use === 'no') {
      return this.#fill(request, plan, location, place, replacing(entry), verdict.onError ? entry : undefined, verdict.reason)
    }
    if (request.method !== 'GET') return this.#hit(request, plan, entry)
    if (!this.#options.refreshes || this.policy.per !== undefined) return this.#payForRefresh(request, plan, location, place, entry)
    const refresh = this.refresh(request, plan, place, location, entry).catch(() => undefined)
    return { ...this.#hit(request, plan, entry), refresh }
  }

  #hit(request: CacheRequest<Req>, plan: RequestPlan, entry: Entry): Extract<Lookup, { outcome: 'hit' }> {
    return { outcome: 'hit', response: replay(entry, plan, request, this.policy.http, this.#space.now()) }
  }

  /** Who gets the lease runs the handler itself; everybody else is served the stale entry. */
  async #payForRefresh(request: CacheRequest<Req>, plan: RequestPlan, location: Location, place: Place, entry: Entry): Promise<Lookup> {
    const run = await this.refresh(request, plan, place, location, entry).catch(() => undefined)
    return run === undefined ? this.#hit(request, plan, entry) : { outcome: 'miss', reason: 'expired', run }
  }

  #alone(request: CacheRequest<Req>, plan: RequestPlan, reason: MissReason | 'hit-for-pass' | 'wait'): Lookup {
    if (plan.onlyIfCached) return this.#gatewayTimeout()
    return { outcome: 'miss', reason, run: this.#run(request, plan, undefined, undefined, undefined, undefined, '') }
  }

  /** only-if-cached, and nothing stored may answer (RFC 9111 section 5.2.1.7). */
  #gatewayTimeout(): Lookup {
    return { outcome: 'hit', response: { status: 504, headers: statusField(this.policy.http, 'BYPASS'), body: Buffer.alloc(0) } }
  }

  /** no-cache: a new response, whatever is stored and whoever is filling. */
  async #fillAnew(request: CacheRequest<Req>, plan: RequestPlan, location: Location, place: Place): Promise<Lookup> {
    if (plan.onlyIfCached) return this.#gatewayTimeout()
    const acquired = await this.#acquire(place, unseen(place.groups), plan, 0)
    const fill = acquired.state === 'fill' ? acquired.fill : undefined
    return { outcome: 'miss', reason: 'request-directive', run: this.#run(request, plan, location, place, fill, undefined, undefined) }
  }

  async #fill(
    request: CacheRequest<Req>,
    plan: RequestPlan,
    location: Location,
    place: Place,
    absent: Absent,
    fallback: Entry | undefined,
    reason: MissReason,
  ): Promise<Lookup> {
    if (plan.onlyIfCached) return this.#gatewayTimeout()
    if (request.method !== 'GET') return this.#alone(request, plan, reason)
    const acquired = await this.#acquire(place, absent, plan)
    if (acquired.state === 'found') {
      if (acquired.entry.kind === 'response') return this.#hit(request, plan, acquired.entry)
      this.#variants.learn(location.base, acquired.entry)
      return this.#lookAt(request, plan, location, 2)
    }
    if (acquired.state === 'alone') {
      return { outcome: 'miss', reason: acquired.reason === 'hit-for-pass' || acquired.reason === 'outage' ? acquired.reason : 'wait', run: this.#run(request, plan, undefined, undefined, undefined, fallback, '') }
    }
    return { outcome: 'miss', reason, run: this.#run(request, plan, location, place, acquired.fill, fallback, absent.marker?.family) }
  }

  #acquire(place: Place, absent: Absent, plan: RequestPlan, waitMs?: number): Promise<Acquired> {
    const { ttlMs, defaultTtlMs, swrMs, sieMs } = this.policy.http
    const longest = Math.max(...(ttlMs === undefined ? [defaultTtlMs] : [ttlMs.default ?? 0, ...ttlMs.byStatus.values()]))
    return this.#space.acquire(place, absent, {
      accept: (entry, softened) => this.#accepts(entry, softened, plan, place),
      groupTtlMs: longest + Math.max(swrMs, sieMs),
      waitMs,
    })
  }

  #accepts(entry: Entry, softened: boolean, plan: RequestPlan, place: Place): boolean {
    if (entry.kind === 'variants') return place.base === undefined
    return entry.kind === 'response' && judge(entry, plan, softened, this.#space.now()).use === 'fresh'
  }

  #run(
    request: CacheRequest<Req>,
    plan: RequestPlan,
    location: Location | undefined,
    place: Place | undefined,
    fill: Fill | undefined,
    fallback: Entry | undefined,
    family: string | undefined,
  ): Run {
    const controls: RunControls = {
      policy: this.policy.http,
      keyedFields: location === undefined ? [] : this.#variants.names(location.base),
      now: this.#space.now,
      store: (own, stored) => {
        if (location === undefined || place === undefined) return undefined
        const storing = this.#track(this.#store(own, stored, request, location, place, family), own)
        return this.#learns(location, stored) ? storing : undefined
      },
      pass: (own) => void this.#track(own.pass(this.#space.now()), own),
      refuse: (reason) => this.#logRefusal(reason),
      acceptGroups: (names) => names.length === 0 || groupsProblem([...(place?.groups.slice(1) ?? []), ...names]) === undefined,
      stale: (entry) => replay(entry, plan, request, this.policy.http, this.#space.now()),
    }
    return new Run(request, plan, fill, fallback, controls)
  }

  #learns(location: Location, { decision }: Stored): boolean {
    return decision.learnedVary.some((name) => !this.#variants.names(location.base).includes(name))
  }

  #track(work: Promise<unknown>, fill: Fill): Promise<void> {
    const tracked = work
      .catch(() => fill.release())
      .catch(() => {})
      .then(() => void this.#storing.delete(tracked))
    this.#storing.add(tracked)
    return tracked
  }

  async #store(fill: Fill, stored: Stored, request: CacheRequest<Req>, location: Location, place: Place, family: string | undefined): Promise<void> {
    this.#paused.delete(place.key)
    const entry = this.#entry(stored, place.groups, fill.stamp)
    const ttlMs = usefulUntil(entry) - entry.storedAt
    const names = union(this.#variants.names(location.base), stored.decision.learnedVary)
    const target = placeOf(request, location, names)
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
    const acquired = await this.#space.acquire(target, unseen(target.groups), { accept: () => true, groupTtlMs: ttlMs, waitMs: 0 })
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

  #entry(stored: Stored, groups: readonly string[], stamp: number): Entry {
    const { decision, status, headers, body } = stored
    const added = stored.groups.map(encodeGroup)
    return {
      kind: 'response',
      flags: decision.flags,
      status,
      ...decision.lifetimes,
      stamp,
      initialAgeMs: decision.initialAgeMs,
      family: '',
      groups: added.length === 0 ? groups : [...new Set([...groups, ...added])],
      headers,
      body,
    }
  }

  /** Once for each reason: the developer should know, and the log should stay readable. */
  #logRefusal(reason: RefusalReason): void {
    if (this.#refused.has(reason)) return
    this.#refused.add(reason)
    this.#options.logger.warn(`redwell: responses of ${this.#options.name} are not stored: ${REFUSALS[reason]}`)
  }
}

const REFUSALS: Readonly<Record<RefusalReason, string>> = {
  'request-no-store': 'the request says no-store',
  method: 'only GET responses are stored',
  status: 'their status is not one that the route stores (option `statuses`, or `ttl` by status)',
  'set-cookie': 'they set a cookie (option `setCookie`)',
  'response-no-store': 'they say Cache-Control: no-store',
  'response-private': 'they say Cache-Control: private, and the route has no `per`',
  'response-no-cache': 'they say Cache-Control: no-cache',
  'vary-star': 'they say Vary: *',
  vary: 'their Vary names too many fields',
  'content-encoding': 'they are already encoded (register compression so that it runs after the cache)',
  'no-lifetime': 'neither the route nor the response gives them a lifetime',
  'body-too-large': 'their body is over `maxBodyBytes`',
  'headers-too-large': 'their header fields are over `maxHeaderBytes`',
  groups: 'they carry too many groups, or one without a proper name',
}

