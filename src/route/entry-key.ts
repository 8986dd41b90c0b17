import type { EntryRef } from '../cache/entry-ref.js'
import { encodeGroup, entryGroups, groupProblem, GROUPS_PER_ENTRY_MAX } from '../cache/group.js'
import { customKey, type Key, type KeyPart, keyProblem, pathKey, variantKey } from '../cache/key.js'
import { OptionsError } from '../errors.js'
import { type HttpPolicy, type RequestHead, selectedFields } from '../http/index.js'
import { isPromise, type MaybePromise } from '../maybe-promise.js'
import { pathGroup } from '../store/keyspace.js'
import type { EvictPolicy, KeyPolicy, RoutePolicy } from './policy.js'

/** What a key is made from. */
interface KeyedRequest<Req> extends RequestHead {
  readonly target: string
  readonly native: Req
}

/** Where a request's entry is, before the request fields of Vary are looked at. */
export class Location {
  /** The key of its URI, with the host where the route says so. */
  readonly uri: string
  /** The key below which variants by request fields live: that of the URI, or of one principal below it. */
  readonly path: string
  /** Undefined where the route has no `per`; null where it has one and this request has no principal. */
  readonly principal: string | null | undefined
  /** Encoded; with those of the paths above its own. */
  readonly groups: readonly string[]
  /** The route's groups as the route names them. */
  readonly names: readonly string[]

  constructor(
    uri: string,
    path: string,
    principal: string | null | undefined,
    groups: readonly string[],
    names: readonly string[],
  ) {
    this.uri = uri
    this.path = path
    this.principal = principal
    this.groups = groups
    this.names = names
  }
}

class Ref implements EntryRef {
  readonly key: string
  readonly path: string
  readonly groups: readonly string[]
  slot: unknown = undefined

  constructor(key: string, path: string, groups: readonly string[]) {
    this.key = key
    this.path = path
    this.groups = groups
  }
}

/** The entry of the variant that the request's fields select. A variant is in the group of its path, a plain entry is not. */
export function refOf(request: RequestHead, location: Location, names: readonly string[], http: HttpPolicy): EntryRef {
  const { path, groups } = location
  if (names.length === 0) return new Ref(path, path, groups)
  const fields = selectedFields(request, names, http)
  return new Ref(variantKey(path, { fields }), path, [...groups, pathGroup(path)])
}

/** Finds the entries of one route's requests. */
export class EntryLocator<Req> {
  readonly #policy: RoutePolicy<Req>
  /** Encoded at the declaration: the author may change the list later. */
  readonly #groups: Groups | undefined

  constructor(policy: RoutePolicy<Req>) {
    this.#policy = policy
    this.#groups = typeof policy.group === 'function' ? undefined : encoded(policy.group)
  }

  /** Synchronous where every function of the options is: a hit from memory costs no turn of the event loop. */
  locate(request: KeyedRequest<Req>): MaybePromise<Location> {
    const policy = this.#policy
    const uri = uriKey(request, policy)
    const principal = policy.per === undefined ? undefined : policy.per(request.native)
    const groups = this.#groups ?? (typeof policy.group === 'function' ? policy.group(request.native) : undefined)
    if (isPromise(uri) || isPromise(principal) || isPromise(groups)) {
      return Promise.all([uri, principal, groups]).then((parts) => this.#location(request, ...parts))
    }
    return this.#location(request, uri, principal, groups)
  }

  #location(
    request: KeyedRequest<Req>,
    uri: string,
    principal: string | undefined,
    groups: Groups | string | readonly string[] | undefined,
  ): Location {
    const policy = this.#policy
    const own = groups instanceof Groups ? groups : encoded(groups)
    const upper = policy.host && policy.key === undefined ? [pathGroup(pathOf(request.target, policy))] : NONE
    if (policy.per === undefined) {
      return new Location(uri, uri, undefined, upper.length === 0 ? own.encoded : [...own.encoded, ...upper], own.names)
    }
    if (principal === undefined || principal === '') return new Location(uri, uri, null, own.encoded, own.names)
    const all = [...own.encoded, ...upper, pathGroup(uri)]
    return new Location(uri, principalKey(uri, principal), principal, all, own.names)
  }
}

class Groups {
  readonly names: readonly string[]
  /** The prefix's first. */
  readonly encoded: readonly string[]

  constructor(names: readonly string[]) {
    this.names = names
    this.encoded = entryGroups(names)
  }
}

const NONE: readonly string[] = []

const NO_GROUPS = new Groups(NONE)

function encoded(group: string | readonly string[] | undefined): Groups {
  if (group === undefined) return NO_GROUPS
  const names = typeof group === 'string' ? [group] : [...group]
  const problem = groupsProblem(names)
  if (problem !== undefined) throw new OptionsError('groups of a request', [problem])
  return new Groups(names)
}

type PathPolicy = Pick<KeyPolicy<never>, 'prefix' | 'path'>

/** The key of a path, for all hosts. */
function pathOf(target: string, { prefix, path }: PathPolicy): string {
  return pathKey(target, path, { prefix })
}

/** The key of a URI as the routes with these options make it. Without `host`: of all hosts. */
export function uriPath(target: string, { prefix, path }: PathPolicy, host: string | undefined): string {
  return pathKey(target, path, { prefix, host })
}

/** The key of one principal's entries of a URI. */
export function principalKey(uri: string, principal: string): string {
  return variantKey(uri, { principal })
}

/** The key of the request's URI, or of the parts that the route's own function returns. */
function uriKey<Req>(request: KeyedRequest<Req>, policy: KeyPolicy<Req>): MaybePromise<string> {
  const { key, prefix } = policy
  if (key === undefined) return uriPath(request.target, policy, hostOf(request, policy))
  const parts = key(request.native)
  return isPromise(parts) ? parts.then((known) => checkedKey(known, prefix)) : checkedKey(parts, prefix)
}

export function hostOf(request: RequestHead, policy: { readonly host: boolean }): string | undefined {
  return policy.host ? (request.header('host') ?? '').toLowerCase() : undefined
}

/** A key function that returns no key is a mistake of the application: an error, never a key that requests share. */
function checkedKey(parts: Key, prefix: string | undefined): string {
  const problem = keyProblem(parts)
  if (problem !== undefined) throw new OptionsError("result of the route's key function", [problem])
  return customKey(parts, prefix)
}

/** What `cacheEvict` names. Without a principal it is the path itself: the entries of all principals and variants end. */
export function evictedPath<Req>(
  request: KeyedRequest<Req>,
  policy: EvictPolicy<Req>,
  key: 'path' | readonly KeyPart[],
  principal: string | undefined,
): string {
  const uri = key === 'path' ? uriPath(request.target, policy, hostOf(request, policy)) : checkedKey(key, policy.prefix)
  return principal === undefined || principal === '' ? uri : principalKey(uri, principal)
}

/** Why these cannot be the groups of one entry, or undefined. */
export function groupsProblem(names: readonly unknown[]): string | undefined {
  if (names.length > GROUPS_PER_ENTRY_MAX)
    return `an entry carries at most ${GROUPS_PER_ENTRY_MAX} groups, these are ${names.length}`
  for (const name of names) {
    const problem = groupProblem(name)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Groups that a handler names. That there are too many is found when the response is there, and does not fail it. */
export function checkedNames(names: readonly string[]): readonly string[] {
  const problem = names.map(groupProblem).find((one) => one !== undefined)
  if (problem !== undefined) throw new OptionsError('groups of a response', [problem])
  return names
}

export function encodeGroups(names: readonly string[]): readonly string[] {
  const problem = groupsProblem(names)
  if (problem !== undefined) throw new OptionsError('groups to evict', [problem])
  return names.map(encodeGroup)
}

/** Origin-form (RFC 9112 section 3.2.1): the only one that a route and its handler understand alike. */
export function isPath(target: string): boolean {
  return target.charCodeAt(0) === 0x2f
}
