import type { CacheScope } from '../cache/cache-scope.js'
import type { ExplainedEntry, ExplainRequest, Explanation } from '../cache/explanation.js'
import { type PathRule, sentUrl } from '../cache/key.js'
import type { EntryLookup } from '../cache/lookup.js'
import { groupName } from '../cache/names.js'
import { OptionsError, UNDEFINED_TTL, UsageError } from '../errors.js'
import {
  evaluateReuse,
  type HttpPolicy,
  planRequest,
  type RequestPlan,
  resolveHttpPolicy,
  type SelectedField,
} from '../http/index.js'
import type { Logger } from '../logger.js'
import type { Entry } from '../store/entry.js'
import { CachedPaths } from './cached-paths.js'
import { isUnambiguous } from './target.js'
import { EvictedKeys } from './evicted-keys.js'
import { HostWatch } from './host-watch.js'
import { KeyWatch } from './key-watch.js'
import { CachedRoute, type RouteOptions } from './cached-route.js'
import type { CacheEvictOptions, CacheOptions, CachePutOptions, ResponseDefaults } from './options.js'
import { checkDefaults, pathRule, resolveEvictPolicy, resolvePolicy, type RouteDefaults } from './policy.js'
import { RefusalLog } from './refusals.js'
import { ownerOf, WITHOUT_PRINCIPAL } from './principal.js'
import type { BypassReason, RequestContext } from './request.js'
import { compareTemplates, matchTemplate, templateOf } from './templates.js'
import { WriteRoute } from './write-session.js'

/** What the routes of one application share. */
export interface RoutesContext {
  readonly scope: CacheScope
  readonly logger: Logger
  /** `REDIS_DEFAULT_TTL`. */
  readonly defaultTtlMs: number
  /** Options of routes that do not set their own. */
  readonly defaults: ResponseDefaults
  /** Why a text cannot be a prefix. */
  readonly prefixProblem: RouteDefaults['prefixProblem']
  /** Called for each cached route with method, template, and its own prefix. */
  readonly onCached?: ((route: string) => void) | undefined
}

/** Options as they stand on a route, and how its author calls that place. */
export interface Declared<Options> {
  readonly where: string
  readonly options: Options
  /** Of several that were declared before they were bound. */
  readonly order?: number | undefined
}

/** What routes have to know about an adapter's framework. */
export type HostTraits = Pick<RouteOptions, 'stripsHead'> & {
  /** How the framework distinguishes paths. */
  readonly path: PathRule
  /** Request fields that the router decides by; `*`: it is not known which. */
  readonly routedBy?: readonly string[] | undefined
  /** Routes are known before the first request: a mistake of theirs stops the start, and is no warning. */
  readonly knowsRoutes?: boolean | undefined
  /** The router prefers the route whose path says more. Otherwise the first one that matches answers. */
  readonly bySpecificity?: boolean | undefined
  /** Templates of the route, where it is served under several paths. Default: that of its name. */
  readonly templates?: readonly string[] | undefined
  /** What the router decides by in addition to the path of this route; the argument is the host. */
  readonly routed?: ((host: string) => readonly SelectedField[]) | undefined
}

/** A route that answers a request. */
interface Answering {
  readonly name: string
  /** Undefined: it is not cached. */
  readonly cache: CachedRoute<never> | undefined
  readonly template: string
  readonly params: Readonly<Record<string, string>>
}

function hasMethod(name: string, method: string): boolean {
  const methods = name.slice(0, name.indexOf(' ')).split('|')
  return methods.includes(method) || methods.includes('ALL') || (method === 'HEAD' && methods.includes('GET'))
}

/** The options of all routes. Throws OptionsError with every problem. */
export function resolveDefaults(
  defaults: ResponseDefaults,
  context: Pick<RoutesContext, 'defaultTtlMs'> = { defaultTtlMs: 0 },
): HttpPolicy {
  const problems: string[] = []
  checkDefaults(defaults, problems)
  const http = resolveHttpPolicy(defaults, problems, context)
  if (problems.length > 0) throw new OptionsError('defaults', problems)
  return http
}

/** The cached and the invalidating routes of one application. */
export class RouteRegistry {
  /** Where the routes cache their URIs. */
  readonly paths = new CachedPaths()
  readonly #caches = new Set<CachedRoute<never>>()
  /** Groups that routes evict, and where, until all routes are known. */
  readonly #evicted: (readonly [where: string, group: string])[] = []
  /** Declarations with `per: true`. */
  readonly #personal = new Set<string>()
  /** Names of routes that are not cached, if the framework reports them. */
  readonly #uncached: string[] = []
  /** When the caches of routes were declared. */
  readonly #orders = new Map<CachedRoute<never>, number>()
  /** Those of routes with several paths. */
  readonly #templates = new Map<CachedRoute<never>, readonly string[]>()
  /** What routers decide by in addition to the path. */
  readonly #routed = new Map<CachedRoute<never>, (host: string) => readonly SelectedField[]>()
  #bySpecificity = false
  /** Routes declare writes. */
  #areWritten = false
  readonly #refused = new Map<string, RefusalLog>()
  readonly #context: RoutesContext
  readonly #hosts: HostWatch
  readonly #keys: KeyWatch
  readonly #evictedKeys: EvictedKeys
  readonly #http: HttpPolicy
  #unsafe: WriteRoute<unknown> | undefined

  constructor(context: RoutesContext) {
    this.#context = context
    this.#hosts = new HostWatch(context.logger)
    this.#keys = new KeyWatch(context.logger)
    this.#evictedKeys = new EvictedKeys(context.logger)
    this.#http = resolveDefaults(context.defaults, context)
  }

  /** The cache of a GET route. Throws OptionsError with every problem of its options. `name`: method and template. */
  cache<Req>(
    name: string,
    { where, options, order }: Declared<CacheOptions<Req>>,
    traits: HostTraits,
  ): CachedRoute<Req> {
    const { scope, logger, onCached } = this.#context
    const policy = resolvePolicy(where, options, { ...this.#defaults(traits.path), routedBy: traits.routedBy })
    const { key, prefix = '' } = policy
    // Routes with the same prefix of their own share their keys on purpose.
    const isAlone = key !== undefined && policy.prefix === undefined
    const problem = isAlone && traits.knowsRoutes === true ? this.#keys.problemOf(key, name) : undefined
    if (problem !== undefined) throw new OptionsError(where, [problem])
    const isPath = policy.enabled && key === undefined && policy.prefix === undefined && !policy.http.host
    if (isPath && traits.knowsRoutes !== true) this.#keys.notePath(name)
    this.#warnUndefined(name, options)
    if (isUnbounded(policy.http)) scope.expectUnbounded()
    if (policy.per === true) this.#personal.add(where)
    const keys = isAlone ? this.#keys : undefined
    const { paths } = this
    const cache = new CachedRoute(scope, policy, { name, logger, paths, hosts: this.#hosts, keys, ...traits })
    this.#caches.add(cache)
    this.#orders.set(cache, order ?? this.#caches.size)
    this.#bySpecificity ||= traits.bySpecificity === true
    if (traits.routed !== undefined) this.#routed.set(cache, traits.routed)
    if (traits.templates !== undefined) this.#templates.set(cache, traits.templates)
    scope.cachesRoutes ||= policy.enabled
    if (traits.knowsRoutes === true) this.#evictedKeys.cached(policy, name)
    this.expectGroup(policy.group)
    if (policy.enabled && key === undefined) onCached?.(`${name}${prefix}`)
    return cache
  }

  /** What the cache would do with a request, and why. Throws UsageError where no cached route is known that answers it. */
  async explain(question: ExplainRequest): Promise<Explanation> {
    const { url, method = 'GET', headers = {}, route, native, principal } = question
    const sent = sentUrl(url)
    const { origin, host, pathname, search } = new URL(
      sent.startsWith('/') ? `http://localhost${sent}` : sent,
      'http://localhost',
    )
    const fields = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
    if (!fields.has('host')) fields.set('host', host)
    const found = this.#answering(method, pathname, route)
    if (found === undefined) {
      const known = [...this.#caches].map(({ name }) => name).join(', ')
      throw new UsageError(
        `No cached route matches ${method} ${pathname}. Cached routes: ${known === '' ? 'none' : known}.`,
      )
    }
    if (found.cache === undefined) throw new UsageError(`${found.name} answers ${pathname}, and is not cached.`)
    const target = `${pathname}${search}`
    const query = Object.fromEntries(new URLSearchParams(search))
    const headerFields = Object.fromEntries(fields)
    const standIn = { method, url: target, originalUrl: target, headers: headerFields, params: found.params, query }
    const header = (name: string) => fields.get(name)
    return explain(found.cache, {
      method,
      target,
      origin,
      header,
      native: (native ?? standIn) as never,
      principal: () => principal,
      routed: this.#routed.get(found.cache)?.(header('host') ?? ''),
    })
  }

  /** The route that the router takes, cached or not, as far as this process knows its routes. */
  #answering(method: string, path: string, route: string | undefined): Answering | undefined {
    const known = [...this.#caches]
      .sort((one, other) => (this.#orders.get(one) ?? 0) - (this.#orders.get(other) ?? 0))
      .flatMap((cache): Omit<Answering, 'params'>[] => {
        const { name } = cache
        return (this.#templates.get(cache) ?? [templateOf(name)]).map((template) => ({ name, cache, template }))
      })
    const others = this.#uncached.map((name) => ({ name, cache: undefined, template: templateOf(name) }))
    const matching = [...known, ...others].flatMap((one) => {
      const params = matchTemplate(one.template, path)
      return params === undefined ? [] : [{ ...one, params }]
    })
    if (route !== undefined) {
      const named = (one: Pick<Answering, 'name' | 'cache'>): boolean => one.name === route && one.cache !== undefined
      const unmatched = known.find(named)
      return matching.find(named) ?? (unmatched && { ...unmatched, params: {} })
    }
    const ofMethod = matching.filter(({ name }) => hasMethod(name, method))
    const all = ofMethod.length === 0 ? matching.filter(({ cache }) => cache !== undefined) : ofMethod
    if (this.#bySpecificity) all.sort((one, other) => compareTemplates(one.template, other.template))
    return all[0]
  }

  /** A route that answers requests and is not cached. */
  noteUncached(name: string): void {
    this.#uncached.push(name)
  }

  /** A route will be cached with these options: what invalidates its URIs has to know from the start. */
  expect<Req>({ where, options }: Declared<CacheOptions<Req>>, path: PathRule): void {
    const policy = resolvePolicy(where, options, this.#defaults(path))
    if (policy.enabled) this.paths.add(policy)
    this.#evictedKeys.cached(policy)
    this.expectGroup(policy.group)
  }

  /** A route is going to store entries in this group. */
  expectGroup(group: unknown): void {
    this.#context.scope.groupNames.declare(group)
  }

  /** Whether a request may change what is cached. */
  get areChanged(): boolean {
    return this.#areWritten || this.paths.size > 0
  }

  /** A route that writes is going to evict this group, if any. */
  expectEvicted(group: unknown): void {
    this.#areWritten = true
    this.#context.scope.groupNames.expect(group)
  }

  /** What a route that writes stores and invalidates. `name`, for telemetry: method and template. */
  write<Req>(
    put: Declared<CachePutOptions<Req>> | undefined,
    evict: Declared<CacheEvictOptions<Req>> | undefined,
    { path, knowsRoutes = false }: Pick<HostTraits, 'path' | 'knowsRoutes'>,
    name?: string,
  ): WriteRoute<Req> {
    const defaults = this.#defaults(path)
    this.expectGroup(put?.options.group)
    for (const declared of [put, evict]) if (declared?.options.per === true) this.#personal.add(declared.where)
    if (put !== undefined) this.#warnUndefined(name ?? put.where, put.options)
    const group = evict?.options.group ?? []
    this.expectEvicted(group)
    if (evict !== undefined && typeof group !== 'function')
      for (const one of [group].flat()) this.#evicted.push([name ?? evict.where, one])
    const evicts = evict && resolveEvictPolicy(evict.where, evict.options, defaults)
    if (evict !== undefined && evicts !== undefined)
      this.#evictedKeys.evicting(evicts, { where: evict.where, name, isAtStart: knowsRoutes })
    if (!knowsRoutes) this.checkEvicted()
    return new WriteRoute({
      ...this.#shared,
      put: put && resolvePolicy(put.where, put.options, defaults),
      evict: evicts,
      refusals: (route) => this.#refusals(route),
      name,
    })
  }

  #warnUndefined(name: string, options: object): void {
    if ('ttl' in options && options.ttl === undefined) this.#context.logger.warn(`redwell: ${name}: ${UNDEFINED_TTL}`)
  }

  /** The refusals of a route that writes. */
  #refusals(route: string): RefusalLog {
    const { scope, logger } = this.#context
    const known = this.#refused.get(route) ?? new RefusalLog(route, logger, scope.telemetry.route(route))
    this.#refused.set(route, known)
    return known
  }

  /** Logs evicted groups and keys that nothing has, once all routes and namespaces are known. */
  checkEvicted(): void {
    this.#evictedKeys.check()
    const { logger, scope } = this.#context
    for (const [where, group] of this.#evicted.splice(0)) {
      const meant = scope.groupNames.meant(group)
      if (meant !== undefined)
        logger.warn(
          `redwell: ${where} evicts the group '${group}', which no cached route or namespace declares; did you mean '${meant}'?`,
        )
    }
  }

  /** Throws UsageError where routes say `per: true` in an application that has no `principal`. */
  expectPrincipal(principal: unknown): void {
    if (principal !== undefined || this.#personal.size === 0) return
    throw new UsageError(`${[...this.#personal].join(', ')}: ${WITHOUT_PRINCIPAL}`)
  }

  /** Any other request by an unsafe method: it invalidates its URI where routes cache it (RFC 9111 section 4.4). */
  get unsafe(): WriteRoute<unknown> {
    this.#unsafe ??= new WriteRoute(this.#shared)
    return this.#unsafe
  }

  get #shared() {
    return { scope: this.#context.scope, paths: this.paths, http: this.#http }
  }

  #defaults(path: PathRule): RouteDefaults {
    const { defaultTtlMs, defaults, prefixProblem } = this.#context
    return { defaultTtlMs, defaults, host: this.#http.host, prefixProblem, path: pathRule(path, this.#http) }
  }
}

/** Decides as a lookup does, and runs and stores nothing. */
async function explain<Req>(route: CachedRoute<Req>, request: RequestContext<Req>): Promise<Explanation> {
  const { policy, variants, scope } = route
  if (!policy.enabled) return bypass(route, 'disabled')
  const owner = await ownerOf(request, policy)
  const http = 'principal' in owner && owner.principal !== undefined ? policy.personal : policy.http
  const plan = planRequest(request, http)
  if (plan.bypass !== undefined) return bypass(route, plan.bypass)
  if (!isUnambiguous(request, policy)) return bypass(route, 'request-target')
  if ('bypass' in owner) return bypass(route, owner.bypass)
  const location = await route.locator.locate(request, owner.principal)
  for (;;) {
    const vary = [...variants.names(location), ...http.varyValues.map(({ label }) => label)]
    const ref = variants.ref(request, location)
    const found = await scope.lookup(ref)
    if (variants.learn(location, found)) continue
    const lastRefusal = route.refusals.last(ref.key)
    const key = scope.nameOf(ref.key)
    return { ...NOTHING, route: route.name, key, vary, lastRefusal, ...evaluate(route, http, plan, found) }
  }
}

const NOTHING = {
  key: undefined,
  vary: [],
  validates: false,
  servableOnError: false,
  entry: undefined,
  lastRefusal: undefined,
} as const

function bypass(route: { readonly name: string }, reason: BypassReason): Explanation {
  return { ...NOTHING, route: route.name, outcome: 'bypass', reason }
}

type Evaluated = Pick<Explanation, 'outcome' | 'reason'> & Partial<Explanation>

function evaluate({ scope }: CachedRoute<never>, http: HttpPolicy, plan: RequestPlan, found: EntryLookup): Evaluated {
  if (found.state !== 'valid') return { outcome: 'miss', reason: found.state }
  const { entry, softened } = found
  if (entry.kind !== 'response') return { outcome: 'miss', reason: 'unusable' }
  const now = scope.now()
  const { action, reason, conditional, servableOnError } = evaluateReuse(entry, plan, http, now, softened)
  const stale = action === 'stale-while-revalidate' || reason === 'max-stale'
  const runs = action === 'validate' || action === 'unusable'
  return {
    outcome: runs ? 'miss' : stale ? 'stale' : 'hit',
    reason,
    validates: runs && conditional,
    servableOnError,
    entry: describe(entry, softened, now),
  }
}

/** Names that the application gave; the groups of paths and of everything are none. */
function namesOf(groups: readonly string[]): readonly string[] {
  const names = groups.map(groupName).filter(({ kind }) => kind === 'group' || kind === 'namespace')
  return [...new Set(names.map(({ name }) => name))]
}

function describe(entry: Entry, softened: boolean, now: number): ExplainedEntry {
  return {
    status: entry.status,
    storedAt: new Date(entry.storedAt),
    ageMs: entry.initialAgeMs + now - entry.storedAt,
    freshForMs: entry.freshUntil - now,
    groups: namesOf(entry.groups),
    bodyBytes: entry.body.length,
    softened,
  }
}

/** The route declares entries without an end; that of a default shows when the first of them is stored. */
function isUnbounded({ ttlMs }: HttpPolicy): boolean {
  return ttlMs === Infinity || (ttlMs instanceof Map && [...ttlMs.values()].includes(Infinity))
}
