import type { CacheScope } from '../cache/cache-scope.js'
import type { EntryRef, RememberedEntry } from '../cache/lookup.js'
import { buildFreshHit } from '../http/index.js'
import { isPromise } from '../maybe-promise.js'
import type { Entry } from '../store/entry.js'
import type { Location } from './entry-key.js'
import type { RoutePolicy } from './policy.js'
import { earlyRefreshFrom, type RequestContext } from './request.js'
import { Hit } from './route-lookup.js'
import { hostOf } from './uri-key.js'

/** URLs of one route that are remembered; the oldest is forgotten, which costs its next hit a lookup. */
const URLS_MAX = 4096

/** Longer URLs are not remembered: they would take the memory that the budget of the store does not count. */
const URL_LENGTH_MAX = 512

/** A hit that nothing of the request decided but its URL, and what the options have a say in. */
class ReadyHit {
  constructor(
    readonly remembered: RememberedEntry,
    /** From this instant on the entry is looked at again. */
    readonly until: number,
    readonly host: string | undefined,
    /** As the route names them. */
    readonly groups: readonly string[],
  ) {}
}

/**
 * What was decided about the hits of a route's usual requests, by URL: a GET without a field by which requests are judged
 * has the same answer as the one before it, until the entry, a group or the second has changed. Whatever else it depends
 * on is looked up: it is a shortcut through the same rules, and not a second cache.
 */
export class ReadyHits<Req> {
  readonly #scope: CacheScope
  readonly #policy: RoutePolicy<Req>
  readonly #known = new Map<string, ReadyHit>()
  /** Whether the function that names the groups answers later: asking it twice would cost more than a lookup. */
  #asksLater = false

  private constructor(scope: CacheScope, policy: RoutePolicy<Req>) {
    this.#scope = scope
    this.#policy = policy
  }

  /** Undefined where the store is not in this process, or where the options look at each request. */
  static of<Req>(scope: CacheScope, policy: RoutePolicy<Req>): ReadyHits<Req> | undefined {
    const { enabled, key, per, when, http } = policy
    const isVaried = http.vary.length + http.varyValues.length > 0
    const usual = enabled && key === undefined && per === undefined && when === undefined && !isVaried
    return usual && scope.isLocal ? new ReadyHits(scope, policy) : undefined
  }

  find(request: RequestContext<Req>): Hit | undefined {
    const { onlyCondition } = request
    if (onlyCondition === undefined || request.method !== 'GET') return undefined
    const known = this.#known.get(request.target)
    if (known === undefined) return undefined
    const now = this.#scope.now()
    if (now >= known.until || !this.#isUsual(request) || !this.#isSame(request, known)) return undefined
    const entry = this.#scope.recall(known.remembered)
    if (entry === undefined) {
      this.#known.delete(request.target)
      return undefined
    }
    const response = buildFreshHit(entry, onlyCondition, this.#policy.http, now)
    return new Hit('fresh', response, known.remembered.ref, entry)
  }

  /** A plain request was answered by a fresh entry. */
  note(request: RequestContext<Req>, location: Location, ref: EntryRef, entry: Entry): void {
    if (request.onlyCondition === undefined || ref.key !== ref.path || !this.#isUsual(request)) return
    if (this.#asksLater || request.target.length > URL_LENGTH_MAX) return
    const remembered = this.#scope.remember(ref, entry)
    if (remembered === undefined) return
    const known = this.#known
    known.delete(request.target)
    if (known.size >= URLS_MAX) known.delete(known.keys().next().value ?? '')
    const { earlyRefresh } = this.#policy
    const until = earlyRefreshFrom(entry, earlyRefresh)
    known.set(request.target, new ReadyHit(remembered, until, hostOf(request, this.#policy), location.names))
  }

  /** Neither who asks nor the router has a part in the entry. */
  #isUsual({ principal, routed }: RequestContext<Req>): boolean {
    return (principal === undefined || this.#policy.shared) && (routed === undefined || routed.length === 0)
  }

  #isSame(request: RequestContext<Req>, { host, groups }: ReadyHit): boolean {
    const { group } = this.#policy
    if (this.#policy.host && (hostOf(request, this.#policy) !== host || request.namesTwoHosts === true)) return false
    if (typeof group !== 'function') return true
    try {
      const named = group(request.native)
      if (!isPromise(named)) return areSame(named, groups)
      this.#asksLater = true
      this.#known.clear()
      // The lookup asks again, and says what is wrong.
      named.then(undefined, () => {})
      return false
    } catch {
      // The lookup says what is wrong.
      return false
    }
  }
}

function areSame(named: string | readonly string[] | undefined, names: readonly string[]): boolean {
  if (named === undefined) return names.length === 0
  if (typeof named === 'string') return names.length === 1 && names[0] === named
  return named.length === names.length && named.every((name, index) => name === names[index])
}
