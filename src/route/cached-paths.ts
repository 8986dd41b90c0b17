import type { CacheScope } from '../cache/cache-scope.js'
import { type PathOptions, type PathRule, PREFIX_GROUP, variantKey } from '../cache/key.js'
import type { InvalidationTarget } from '../cache/pending-invalidations.js'
import { invalidationOf, type InvalidationPolicy, type ResponseHead } from '../http/index.js'
import type { KeyPolicy } from './policy.js'
import type { RequestContext } from './request.js'
import { responseGroups } from './stored.js'
import { hostOf, uriPath, withoutQuery } from './uri-key.js'

/** Routes whose keys of a URI are made alike. */
interface PathKind {
  readonly prefix: string | undefined
  readonly host: boolean
  /** Undefined: its routes have key functions, so a URI does not determine the key. */
  readonly path: PathRule | undefined
}

/** Under which keys the routes of one application cache a URI: what a change of it invalidates. */
export class CachedPaths {
  readonly #kinds = new Map<string, PathKind>()

  /** How many kinds of keys there are; 0: nothing is cached. */
  get size(): number {
    return this.#kinds.size
  }

  /** A route is cached. Routes whose keys are made alike count once. */
  add({ prefix, key, path, host }: Pick<KeyPolicy<never>, 'prefix' | 'key' | 'path' | 'host'>): void {
    const rule = key === undefined ? path : undefined
    this.#kinds.set(JSON.stringify([prefix, host, rule]), { prefix, host, path: rule })
  }

  /** The keys of the paths of a URL: evicting them ends its entries in all routes, with all variants. */
  of(url: string, { host = hostIn(url), per, prefix }: PathOptions = {}): readonly string[] {
    const kinds = this.size === 0 ? [{ prefix, host: false, path: {} }] : [...this.#kinds.values()]
    const paths = kinds
      .filter((kind) => prefix === undefined || kind.prefix === prefix)
      .flatMap((kind) => (kind.path === undefined ? [] : [{ ...kind, path: kind.path }]))
      .map((kind) => uriPath(url, kind, kind.host ? host : undefined))
    return unique(per === undefined ? paths : paths.map((path) => variantKey(path, { principal: String(per) })))
  }

  /**
   * What a successful request by an unsafe method changes (RFC 9111 section 4.4, RFC 9875 section 3). `undefined`:
   * nothing.
   */
  target(
    request: RequestContext<unknown>,
    response: ResponseHead,
    policy: InvalidationPolicy,
  ): InvalidationTarget | undefined {
    if (this.size === 0) return undefined
    const url = request.target.startsWith('/') ? request.origin + request.target : request.target
    const named = invalidationOf(request.method, url, response, policy)
    if (named.targets.length + named.groups.length === 0) return undefined
    const host = hostOf(request, { host: true })
    const hosts = new Set([...this.#kinds.values()].map((kind) => (kind.host ? host : undefined)))
    return {
      // Of a query nobody knows which of the path's others show the change.
      paths: unique(named.targets.flatMap((uri) => this.of(withoutQuery(uri), { host }))),
      groups: unique([...hosts].flatMap((authority) => responseGroups(named.groups, authority))),
    }
  }
}

/** Host and port of an absolute URL, as the Host field has them. */
function hostIn(url: string): string | undefined {
  return url.startsWith('/') || !URL.canParse(url) ? undefined : new URL(url).host
}

/** Groups of the plain entries of these paths: what shares one with them ends as well (RFC 9875 section 2.2.1). */
export async function sharedGroups(scope: CacheScope, paths: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(paths.map(async (path) => scope.lookup({ key: path, path, groups: [PREFIX_GROUP] })))
  const entries = found.flatMap((lookup) => (lookup.state === 'valid' ? [lookup.entry] : []))
  return unique(entries.flatMap((entry) => entry.groups.filter((group) => group !== PREFIX_GROUP)))
}

/** The union of two targets of one mode. */
export function union(own: InvalidationTarget, named: InvalidationTarget): InvalidationTarget {
  return {
    paths: unique([...(own.paths ?? []), ...(named.paths ?? [])]),
    groups: unique([...(own.groups ?? []), ...(named.groups ?? [])]),
    mode: own.mode ?? named.mode,
  }
}

/** What is in the first target and not in the second. */
export function without(target: InvalidationTarget, other: InvalidationTarget): InvalidationTarget {
  return {
    paths: target.paths?.filter((path) => other.paths?.includes(path) !== true),
    groups: target.groups?.filter((group) => other.groups?.includes(group) !== true),
    mode: target.mode,
  }
}

export function isEmpty({ paths = [], groups = [] }: InvalidationTarget): boolean {
  return paths.length + groups.length === 0
}

function unique(names: readonly string[]): readonly string[] {
  return names.length < 2 ? names : [...new Set(names)]
}
