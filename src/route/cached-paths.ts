import type { CacheScope, InvalidationTarget } from '../cache/cache-scope.js'
import { PREFIX_GROUP } from '../cache/group.js'
import { pathKey, type PathRule } from '../cache/key.js'
import { invalidationOf, type InvalidationPolicy, type ResponseHead } from '../http/index.js'
import type { Recorder } from '../telemetry/recorder.js'
import { hostOf } from './entry-key.js'
import type { KeyPolicy } from './policy.js'
import type { RequestContext } from './request.js'
import { responseGroups } from './runs.js'

/** What is invalidated together under one prefix. */
export type Targets = Map<CacheScope, { readonly keys: readonly string[]; readonly groups: readonly string[] }>

interface Cached {
  readonly space: CacheScope
  readonly host: boolean
  /** Undefined: its routes make keys of their own, so that no URI can be told from them. */
  readonly path: PathRule | undefined
}

/** Under which keys the routes of one application cache a URI: what a change of it invalidates. */
export class CachedPaths {
  readonly #kinds = new Map<string, Cached>()

  /** How many kinds of keys there are; 0: nothing is cached. */
  get size(): number {
    return this.#kinds.size
  }

  /** A route is cached. Routes whose keys are made alike count once. */
  add(space: CacheScope, { key, path, host }: Pick<KeyPolicy<never>, 'key' | 'path' | 'host'>): void {
    const rule = key === undefined ? path : undefined
    this.#kinds.set(JSON.stringify([space.prefix, host, rule]), { space, host, path: rule })
  }

  /**
   * What a successful request by an unsafe method changes (RFC 9111 section 4.4, RFC 9875 section 3). `undefined`:
   * nothing.
   */
  targets(request: RequestContext<unknown>, response: ResponseHead, policy: InvalidationPolicy): Targets | undefined {
    const url = request.target.startsWith('/') ? request.origin + request.target : request.target
    const named = invalidationOf(request.method, url, response, policy)
    if (named.targets.length + named.groups.length === 0) return undefined
    const targets: Targets = new Map()
    for (const { space, host, path } of this.#kinds.values()) {
      const authority = hostOf(request, { host })
      const before = targets.get(space)
      const keys = path === undefined ? [] : named.targets.map((uri) => pathKey(uri, path, authority))
      targets.set(space, {
        keys: union(before?.keys, keys),
        groups: union(before?.groups, responseGroups(named.groups, authority)),
      })
    }
    return targets
  }
}

/** Invalidates; with `invalidateSharedGroups`, what shares a group with one of the keys as well (RFC 9875 section 2.2.1). */
export async function invalidate(
  targets: Iterable<readonly [CacheScope, InvalidationTarget]>,
  policy: Pick<InvalidationPolicy, 'invalidateSharedGroups'>,
  recorder: Recorder | undefined,
): Promise<void> {
  const evicting = [...targets].map(async ([space, target]) => {
    const shared = policy.invalidateSharedGroups ? await sharedGroups(space, target.keys ?? []) : []
    const all = shared.length === 0 ? target : { ...target, groups: union(target.groups, shared) }
    await (recorder ?? space.telemetry.route(UNNAMED)).evict('evict', all, (named) => space.evict(named))
  })
  await Promise.all(evicting)
}

/** In telemetry: routes that have no declaration of ours, or whose adapter does not tell their names. */
export const UNNAMED = 'undeclared'

async function sharedGroups(space: CacheScope, keys: readonly string[]): Promise<readonly string[]> {
  const looks = await Promise.all(keys.map(async (key) => space.lookup({ key, groups: [PREFIX_GROUP] })))
  const entries = looks.flatMap((look) => (look.state === 'valid' ? [look.entry] : []))
  return [...new Set(entries.flatMap((entry) => entry.groups.filter((group) => group !== PREFIX_GROUP)))]
}

function union(a: readonly string[] = [], b: readonly string[]): readonly string[] {
  return a.length === 0 ? b : [...new Set([...a, ...b])]
}
