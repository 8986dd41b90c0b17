import type { CacheScope } from '../cache/cache-scope.js'
import { type EntryRef, unseen } from '../cache/entry-ref.js'
import type { FillLease } from '../cache/fill.js'
import { encodeGroup, originGroup } from '../cache/group.js'
import {
  gatewayTimeout,
  type OutgoingResponse,
  buildStoredResponse,
  type RequestPlan,
  type Storable,
  toStored,
} from '../http/index.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import type { Recorder } from '../telemetry/recorder.js'
import { groupsProblem, hostOf, type Location, placeOf } from './entry-key.js'
import { unkeyedFields } from './handler-request.js'
import { type Before, type Conclusion, HandlerRun, type RunControls } from './handler-run.js'
import type { RoutePolicy } from './policy.js'
import type { RefusalLog } from './refusals.js'
import type { RequestContext } from './request.js'
import { union, type Variants } from './variants.js'

/** A request on its way: what it asks, and where its entry is. */
export interface Visit<Req> {
  readonly request: RequestContext<Req>
  readonly plan: RequestPlan
  readonly location: Location
  readonly place: EntryRef
  /** Looks so far; variants may send it to another place. */
  readonly looks: number
}

/** The right to store what a run answers. */
interface Grant {
  readonly fill: FillLease
  /** Identity of the path's variants, where it was read already. */
  readonly family: string | undefined
  /** Entries exist for other variants. */
  readonly varyMiss?: boolean
}

/** What is known about a run beside its request. */
export interface RunContext {
  readonly grant?: Grant | undefined
  readonly before?: Before | undefined
  /** Stored for other variants, where the handler is asked about them. */
  readonly others?: readonly Entry[] | undefined
  readonly conclusion?: Conclusion | undefined
  /** For Cache-Status: why the store was not asked. */
  readonly detail?: string | undefined
}

/** A request whose handler runs; without a place where the store is left out of it. */
type Started<Req> = Pick<Visit<Req>, 'request' | 'plan'> & Partial<Visit<Req>>

/** The handler runs of one route, and what becomes of their responses. */
export class HandlerRuns<Req> {
  readonly #space: CacheScope
  readonly #policy: RoutePolicy<Req>
  readonly #variants: Variants
  readonly #writer: EntryWriter<Req>
  readonly #refusals: RefusalLog
  readonly #recorder: Recorder
  readonly #stored: (key: string) => void
  /** Credential fields that do not select an entry, where responses name no Vary of their own. */
  readonly #watched: readonly string[]
  readonly #storing = new Set<Promise<void>>()

  constructor(
    space: CacheScope,
    policy: RoutePolicy<Req>,
    variants: Variants,
    refusals: RefusalLog,
    recorder: Recorder,
    stored: (key: string) => void,
  ) {
    this.#space = space
    this.#policy = policy
    this.#variants = variants
    this.#writer = new EntryWriter(space, policy, variants, recorder)
    this.#refusals = refusals
    this.#recorder = recorder
    this.#stored = stored
    this.#watched = unkeyedFields(policy.http, policy.http.vary)
  }

  /** One run of the handler, for a request that may have no place in the cache. */
  start(visit: Started<Req>, context: RunContext = {}): HandlerRun {
    const { request, plan, location, place } = visit
    const { grant, before, others, conclusion, detail } = context
    const names = location === undefined ? NONE : this.#variants.names(location.base)
    const to = location === undefined || place === undefined ? undefined : { request, location, place }
    const controls: RunControls = {
      policy: this.#policy.http,
      keyedFields: names,
      watched: names === this.#policy.http.vary ? this.#watched : unkeyedFields(this.#policy.http, names),
      groupNames: location?.names ?? NONE,
      varyMiss: grant?.varyMiss === true,
      others: others ?? NO_ENTRIES,
      detail,
      conclusion,
      now: this.#space.now,
      store: (fill, stored) => this.#store(to, fill, stored, grant?.family),
      replace: (fill, entry) => void this.#track(this.#writer.replace(fill, entry), fill),
      pass: (fill) => void this.#track(fill.pass(this.#space.now()), fill),
      refuse: (reason, field) => this.#refusals.add(reason, field),
      acceptGroups: (added) =>
        added.length === 0 || groupsProblem([...(place?.groups.slice(1) ?? []), ...added]) === undefined,
      replay: (stored, kind, isStored) => {
        if (kind === 'error') this.#recorder.standsIn()
        const how = { kind, verdict: before?.verdict, stored: isStored }
        return buildStoredResponse(stored, plan, request, this.#policy.http, this.#space.now(), how)
      },
      mismatch: () => this.#mismatch(visit, before),
    }
    return new HandlerRun(request, plan, grant?.fill, before, controls)
  }

  #store(
    to: Destination<Req> | undefined,
    fill: FillLease,
    stored: Stored,
    family?: string,
  ): Promise<void> | undefined {
    if (to === undefined) return undefined
    const known = this.#variants.names(to.location.base)
    const learns = stored.decision.varyNames.some((name) => !known.includes(name))
    this.#stored(to.place.key)
    const storing = this.#track(this.#writer.store(to, fill, stored, family), fill)
    return learns ? storing : undefined
  }

  /** What stands there is not what the handler means: it goes, and the client is told what it was given before. */
  async #mismatch({ request, plan, place }: Started<Req>, before?: Before): Promise<OutgoingResponse> {
    if (place !== undefined) await this.#space.evict({ keys: [place.key] })
    if (before === undefined || before.verdict.mustRevalidate) return gatewayTimeout()
    const how = { kind: 'error', verdict: before.verdict } as const
    return buildStoredResponse(before.entry, plan, request, this.#policy.http, this.#space.now(), how)
  }

  #track(work: Promise<unknown>, fill: FillLease): Promise<void> {
    const tracked = work
      .catch(() => fill.release())
      .catch(() => {})
      .then(() => void this.#storing.delete(tracked))
    this.#storing.add(tracked)
    return tracked
  }

  /** Resolves when everything that was to be stored has been. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#storing])
  }
}

const NONE: readonly string[] = []

const NO_ENTRIES: readonly Entry[] = []

/** Where a response goes: the request that asked for it, and the place that was looked at. */
export interface Destination<Req> {
  readonly request: RequestContext<Req>
  readonly location: Location
  readonly place: EntryRef
}

/** Puts responses where the next request looks for them. */
export class EntryWriter<Req> {
  readonly #space: CacheScope
  readonly #policy: RoutePolicy<Req>
  readonly #variants: Variants
  readonly #recorder: Recorder

  constructor(space: CacheScope, policy: RoutePolicy<Req>, variants: Variants, recorder: Recorder) {
    this.#space = space
    this.#policy = policy
    this.#variants = variants
    this.#recorder = recorder
  }

  /** Stores under the right of a fill. `family`: identity of the path's variants, where it was read already. */
  async store(to: Destination<Req>, fill: FillLease, stored: Stored, family: string | undefined): Promise<void> {
    const { request, location, place } = to
    const entry = makeEntry(stored, place.groups, hostOf(request, this.#policy), fill.stamp)
    const ttlMs = usefulUntil(entry) - entry.storedAt
    const names = union(this.#variants.names(location.base), stored.decision.varyNames)
    const target = placeOf(request, location, names, this.#policy.http)
    if (target.base === undefined) return void (await fill.publish(entry, ttlMs))
    if (target.key !== place.key) return this.#storeLearned(fill, { entry, ttlMs, names, target, location })
    const own = family ?? (await this.#variants.family(target.base, names, ttlMs))
    if (own === undefined) return fill.release()
    await this.#variants.admit(own, names, target, location.principal, ttlMs)
    await Promise.all([fill.publish({ ...entry, family: own }, ttlMs), this.#variants.keep(target.base, ttlMs)])
  }

  /** Puts an entry in the place of the one that was read; one that is of no more use just goes. */
  async replace(fill: FillLease, entry: Entry): Promise<void> {
    const ttlMs = usefulUntil(entry) - this.#space.now()
    if (ttlMs > 0) await fill.publish({ ...entry, stamp: fill.stamp }, ttlMs)
    else await this.#space.evict({ keys: [fill.place.key] })
  }

  /**
   * The response named a Vary that this path did not have: what stands at the path becomes the root of its variants.
   * The variant is claimed before the root is seen, so that nobody who waited for it runs the handler again.
   */
  async #storeLearned(fill: FillLease, { entry, ttlMs, names, target, location }: Learned): Promise<void> {
    const acquired = await this.#space.acquire(target, unseen(target.groups), {
      accept: () => true,
      groupTtlMs: ttlMs,
      waitMs: 0,
      recorder: this.#recorder,
    })
    const family = await this.#root(fill, names, target.base as string, ttlMs)
    if (acquired.state !== 'fill') return
    if (family === undefined) return acquired.fill.release()
    await this.#variants.admit(family, names, target, location.principal, ttlMs)
    await acquired.fill.publish({ ...entry, family }, ttlMs)
  }

  async #root(fill: FillLease, names: readonly string[], base: string, ttlMs: number): Promise<string | undefined> {
    if (fill.place.key === base) return this.#variants.plant(fill, names, ttlMs)
    await fill.release()
    return this.#variants.family(base, names, ttlMs)
  }
}

/** A response whose Vary is news. */
interface Learned {
  readonly entry: Entry
  readonly ttlMs: number
  readonly names: readonly string[]
  readonly target: EntryRef
  readonly location: Location
}

/** A decided store: what is kept, under which right to store. */
export interface Stored {
  readonly decision: Storable
  readonly body: Buffer
  /** Groups that the handler added. */
  readonly groups: readonly string[]
  /** Encoded groups of the entry that this one is the validated form of: it stays in all of them. */
  readonly kept: readonly string[] | undefined
}

/**
 * The entry of a response, under the stamp of its fill. `groups` are those of the place, encoded; `host` keeps the
 * groups that responses name apart where several origins share the cache.
 */
export function makeEntry(
  { decision, body, groups: added, kept = NONE }: Stored,
  groups: readonly string[],
  host: string | undefined,
  stamp: number,
): Entry {
  const more = [...kept, ...added.map(encodeGroup), ...responseGroups(decision.groups, host)]
  return {
    kind: 'response',
    ...toStored(decision, body),
    stamp,
    family: '',
    groups: more.length === 0 ? groups : [...new Set([...groups, ...more])],
  }
}

/** Groups that a response names, encoded. */
export function responseGroups(names: readonly string[], host: string | undefined): readonly string[] {
  return host === undefined ? names.map(encodeGroup) : names.map((name) => originGroup(host, name))
}

/** A decision to store all but these fields (lower case). */
export function withoutFields(decision: Storable, names: ReadonlySet<string>): Storable {
  if (names.size === 0) return decision
  const kept: string[] = []
  for (let index = 0; index < decision.storedHeaders.length; index += 2) {
    const name = decision.storedHeaders[index] as string
    if (!names.has(name.toLowerCase())) kept.push(name, decision.storedHeaders[index + 1] as string)
  }
  return { ...decision, storedHeaders: kept }
}
