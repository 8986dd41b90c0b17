import { isPromise, type MaybePromise } from '../maybe-promise.js'
import type { EntryRef } from '../cache/entry-ref.js'
import { encodeGroup, entryGroups, groupProblem, GROUPS_PER_ENTRY_MAX } from '../cache/group.js'
import { customKey, type Key, keyProblem, pathKey, variantKey } from '../cache/key.js'
import { OptionsError } from '../errors.js'
import { type HttpPolicy, type RequestHead, selectedFields } from '../http/index.js'
import type { KeyPolicy, RoutePolicy } from './policy.js'
import type { RequestContext } from './request.js'

/** Where a request's entry is, before its variants are told apart. */
export interface Location {
  readonly base: string
  /** Undefined where the route has no `per`; null where it has one and this request has no principal. */
  readonly principal: string | null | undefined
  /** Encoded; the prefix's first. */
  readonly groups: readonly string[]
  /** The same as the route names them. */
  readonly names: readonly string[]
}

/** Synchronous where every function of the options is: a hit from memory costs no turn of the event loop. */
export function locate<Req>(request: RequestContext<Req>, policy: RoutePolicy<Req>): MaybePromise<Location> {
  const base = baseKey(request, policy)
  const principal = policy.per === undefined ? undefined : policy.per(request.native)
  const group = typeof policy.group === 'function' ? policy.group(request.native) : policy.group
  if (isPromise(base) || isPromise(principal) || isPromise(group)) {
    return Promise.all([base, principal, group]).then(([key, own, names]) => location(policy, key, own, names))
  }
  return location(policy, base, principal, group)
}

function location<Req>(
  policy: RoutePolicy<Req>,
  base: string,
  principal: string | undefined,
  group: string | readonly string[] | undefined,
): Location {
  const own = policy.per === undefined ? undefined : principal === undefined || principal === '' ? null : principal
  return { base, principal: own, groups: groupsOf(group), names: namesOf(group) }
}

/** The key of the path, or of the parts that the route's own function names. */
function baseKey<Req>(request: RequestContext<Req>, policy: KeyPolicy<Req>): MaybePromise<string> {
  if (policy.key === undefined) return pathKey(request.target, policy.path, hostOf(request, policy))
  const parts = policy.key(request.native)
  return isPromise(parts) ? parts.then(checkedKey) : checkedKey(parts)
}

export function hostOf(request: RequestHead, policy: { readonly host: boolean }): string | undefined {
  return policy.host ? (request.header('host') ?? '').toLowerCase() : undefined
}

/** A key function that gives no key is a mistake of the application, told as such and never shared between requests. */
export function checkedKey(parts: Key): string {
  const problem = keyProblem(parts)
  if (problem !== undefined) throw new OptionsError("result of the route's key function", [problem])
  return customKey(parts)
}

const NONE: readonly string[] = []

function namesOf(group: string | readonly string[] | undefined): readonly string[] {
  if (group === undefined) return NONE
  return typeof group === 'string' ? [group] : group
}

let lastNames: unknown

let lastGroups: readonly string[] = entryGroups([])

/** Encoded groups. A route's static groups are the same object at every request, so they are encoded once. */
function groupsOf(group: string | readonly string[] | undefined): readonly string[] {
  if (group === lastNames) return lastGroups
  const names = namesOf(group)
  const problem = groupsProblem(names)
  if (problem !== undefined) throw new OptionsError('groups of a request', [problem])
  lastGroups = entryGroups(names)
  lastNames = group
  return lastGroups
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

/** The place of a request's variant: by principal, and by the request fields that select the response. */
export function placeOf<Req>(
  request: RequestContext<Req>,
  { base, principal, groups }: Omit<Location, 'names'>,
  names: readonly string[],
  http?: HttpPolicy,
): EntryRef {
  if (principal === undefined && names.length === 0) return { key: base, groups }
  const fields = http === undefined ? [] : selectedFields(request, names, http)
  return { key: variantKey(base, { principal: principal ?? undefined, fields }), base, groups }
}

/** Origin-form (RFC 9112 section 3.2.1): the only one that a route and its handler understand alike. */
export function isPath(target: string): boolean {
  return target.charCodeAt(0) === 0x2f
}
