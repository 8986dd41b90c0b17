import type { Place } from '../cache/place.js'
import type { Space, Target } from '../cache/space.js'
import type { Write } from '../cache/write.js'
import type { Recorder } from '../diagnostics/recorder.js'
import type { HttpPolicy, ResponseHead } from '../http/index.js'
import { usefulUntil } from '../store/entry.js'
import type { MaybePromise } from '../store/port.js'
import { type CachedPaths, invalidate, type Targets } from './cached-paths.js'
import { longestLifeMs } from './longest-life.js'
import { hostOf, type Location, locate, placeOf } from './locate.js'
import type { RoutePolicy } from './policy.js'
import type { CacheRequest } from './request.js'
import type { Conclusion } from './run-controls.js'
import { makeEntry, type Stored } from './stored.js'

/** A POST whose response may become the entry of its URI's GET (RFC 9110 section 9.3.3). */
interface Announced {
  readonly space: Space
  readonly location: Location
  readonly place: Place
  readonly write: Write
  readonly host: string | undefined
}

/** Undefined where there is nothing to announce to: no principal, or no store. */
export async function announce<Req>(
  request: CacheRequest<Req>,
  policy: RoutePolicy<Req>,
  space: Space,
): Promise<Announced | undefined> {
  const location = await locate(request, policy)
  if (location.principal === null) return undefined
  const place = placeOf(request, location, policy.http.vary, policy.http)
  const write = await space.announce(place.key, {
    keeps: true,
    groups: place.groups,
    groupTtlMs: longestLifeMs(policy.http),
  })
  return write && { space, location, place, write, host: hostOf(request, policy) }
}

/** A request by an unsafe method on a cached route: what its success invalidates, and what it may store. */
export class UnsafeRequest implements Conclusion {
  readonly #request: CacheRequest<unknown>
  readonly #policy: HttpPolicy
  readonly #paths: CachedPaths
  readonly #recorder: Recorder
  readonly #announced: Announced | undefined

  constructor(
    request: CacheRequest<unknown>,
    policy: HttpPolicy,
    paths: CachedPaths,
    recorder: Recorder,
    announced?: Announced,
  ) {
    this.#request = request
    this.#policy = policy
    this.#paths = paths
    this.#recorder = recorder
    this.#announced = announced
  }

  conclude(response: ResponseHead, stored: Stored | undefined): MaybePromise<boolean> {
    const targets = this.#paths.targets(this.#request, response, this.#policy)
    if (targets === undefined && stored === undefined) {
      this.cancel()
      return false
    }
    if (this.#announced !== undefined) return this.#commit(this.#announced, stored, targets ?? new Map())
    return targets === undefined ? false : invalidate(targets, this.#policy, this.#recorder).then(() => false)
  }

  /** It has changed nothing. */
  cancel(): void {
    this.#announced?.write.abandon().catch(() => {})
  }

  /** Everything else goes first, so that what the write stores stays. */
  async #commit(announced: Announced, stored: Stored | undefined, targets: Targets): Promise<boolean> {
    const { space, place, write, host } = announced
    const own: Target = targets.get(space) ?? {}
    targets.delete(space)
    await invalidate(targets, this.#policy, this.#recorder)
    // A variant needs a root that the announcement has just taken away; the next reader makes both.
    const plain = place.base === undefined && stored?.decision.varyNames.length === 0
    const entry = plain && stored && makeEntry(stored, place.groups, host, write.stamp)
    const given =
      entry === undefined || entry === false ? undefined : { entry, ttlMs: usefulUntil(entry) - entry.storedAt }
    const keys = (own.keys ?? []).filter((key) => key !== write.key)
    const target = { ...own, keys }
    const what = given && { key: place.key, ...given }
    return (await this.#recorder.put(target, what, () => space.commit(write, given, target))).published === 'stored'
  }
}
