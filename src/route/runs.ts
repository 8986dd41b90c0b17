import type { Fill } from '../cache/fill.js'
import type { Place } from '../cache/place.js'
import type { Space } from '../cache/space.js'
import type { Recorder } from '../diagnostics/recorder.js'
import { gatewayTimeout, type Outgoing, replay, type RequestPlan } from '../http/index.js'
import type { Entry } from '../store/entry.js'
import { type Destination, EntryWriter } from './entry-writer.js'
import { groupsProblem, type Location } from './locate.js'
import type { RoutePolicy } from './policy.js'
import type { RefusalLog } from './refusals.js'
import type { CacheRequest } from './request.js'
import { Run } from './run.js'
import type { Before, Conclusion, RunControls } from './run-controls.js'
import type { Stored } from './stored.js'
import { unkeyedFields } from './unkeyed.js'
import type { Variants } from './variants.js'

/** A request on its way: what it asks, and where its entry is. */
export interface Visit<Req> {
  readonly request: CacheRequest<Req>
  readonly plan: RequestPlan
  readonly location: Location
  readonly place: Place
  /** Looks so far; variants may send it to another place. */
  readonly looks: number
}

/** The right to store what a run answers. */
interface Grant {
  readonly fill: Fill
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
export class Runs<Req> {
  readonly #space: Space
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
    space: Space,
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
  start(visit: Started<Req>, context: RunContext = {}): Run {
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
        return replay(stored, plan, request, this.#policy.http, this.#space.now(), how)
      },
      mismatch: () => this.#mismatch(visit, before),
    }
    return new Run(request, plan, grant?.fill, before, controls)
  }

  #store(to: Destination<Req> | undefined, fill: Fill, stored: Stored, family?: string): Promise<void> | undefined {
    if (to === undefined) return undefined
    const known = this.#variants.names(to.location.base)
    const learns = stored.decision.varyNames.some((name) => !known.includes(name))
    this.#stored(to.place.key)
    const storing = this.#track(this.#writer.store(to, fill, stored, family), fill)
    return learns ? storing : undefined
  }

  /** What stands there is not what the handler means: it goes, and the client is told what it was given before. */
  async #mismatch({ request, plan, place }: Started<Req>, before?: Before): Promise<Outgoing> {
    if (place !== undefined) await this.#space.evict({ keys: [place.key] })
    if (before === undefined || before.verdict.mustRevalidate) return gatewayTimeout()
    const how = { kind: 'error', verdict: before.verdict } as const
    return replay(before.entry, plan, request, this.#policy.http, this.#space.now(), how)
  }

  #track(work: Promise<unknown>, fill: Fill): Promise<void> {
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
