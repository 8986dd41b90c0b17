import type { Fill } from '../cache/fill.js'
import { type Place, unseen } from '../cache/place.js'
import type { Space } from '../cache/space.js'
import type { Recorder } from '../diagnostics/recorder.js'
import { type Entry, usefulUntil } from '../store/entry.js'
import { hostOf, type Location, placeOf } from './locate.js'
import type { RoutePolicy } from './policy.js'
import type { CacheRequest } from './request.js'
import { makeEntry, type Stored } from './stored.js'
import { union, type Variants } from './variants.js'

/** Where a response goes: the request that asked for it, and the place that was looked at. */
export interface Destination<Req> {
  readonly request: CacheRequest<Req>
  readonly location: Location
  readonly place: Place
}

/** Puts responses where the next request looks for them. */
export class EntryWriter<Req> {
  readonly #space: Space
  readonly #policy: RoutePolicy<Req>
  readonly #variants: Variants
  readonly #recorder: Recorder

  constructor(space: Space, policy: RoutePolicy<Req>, variants: Variants, recorder: Recorder) {
    this.#space = space
    this.#policy = policy
    this.#variants = variants
    this.#recorder = recorder
  }

  /** Stores under the right of a fill. `family`: identity of the path's variants, where it was read already. */
  async store(to: Destination<Req>, fill: Fill, stored: Stored, family: string | undefined): Promise<void> {
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
  async replace(fill: Fill, entry: Entry): Promise<void> {
    const ttlMs = usefulUntil(entry) - this.#space.now()
    if (ttlMs > 0) await fill.publish({ ...entry, stamp: fill.stamp }, ttlMs)
    else await this.#space.evict({ keys: [fill.place.key] })
  }

  /**
   * The response named a Vary that this path did not have: what stands at the path becomes the root of its variants.
   * The variant is claimed before the root is seen, so that nobody who waited for it runs the handler again.
   */
  async #storeLearned(fill: Fill, { entry, ttlMs, names, target, location }: Learned): Promise<void> {
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

  async #root(fill: Fill, names: readonly string[], base: string, ttlMs: number): Promise<string | undefined> {
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
  readonly target: Place
  readonly location: Location
}
