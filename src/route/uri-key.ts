import { customKey, type Key, type KeyPart, keyProblem, pathKey, variantKey } from '../cache/key.js'
import { OptionsError } from '../errors.js'
import type { RequestHead, SelectedField } from '../http/index.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import { pathGroup } from '../store/keyspace.js'
import type { EvictPolicy, KeyPolicy } from './policy.js'

/** What a key is made from. */
export interface KeyedRequest<Req> extends RequestHead {
  readonly target: string
  readonly native: Req
  readonly routed?: readonly SelectedField[] | undefined
}

/** Groups of the paths whose eviction ends a URI as well: the path of all its queries, and both of all hosts. */
export function pathsAbove<Req>(request: KeyedRequest<Req>, policy: KeyPolicy<Req>, uri: string): readonly string[] {
  if (policy.key !== undefined) return NONE
  const { target } = request
  const host = hostOf(request, policy)
  const paths = host === undefined ? [] : [uriPath(target, policy)]
  if (target.includes('?')) {
    const path = withoutQuery(target)
    paths.push(uriPath(path, policy, host))
    if (host !== undefined) paths.push(uriPath(path, policy))
  }
  return paths.length === 0 ? NONE : paths.filter((path) => path !== uri).map(pathGroup)
}

/** The same of what one principal has of the path. */
export function personalPathAbove<Req>(
  request: KeyedRequest<Req>,
  policy: KeyPolicy<Req>,
  uri: string,
  principal: string,
): readonly string[] {
  if (policy.key !== undefined || !request.target.includes('?')) return NONE
  const path = uriPath(withoutQuery(request.target), policy, hostOf(request, policy))
  return path === uri ? NONE : [pathGroup(variantKey(path, { principal }))]
}

/** The key of a URI as the routes with these options make it. Without `host`: of all hosts. */
export function uriPath(
  target: string,
  { prefix, path }: Pick<KeyPolicy<never>, 'prefix' | 'path'>,
  host?: string,
): string {
  const fragment = target.indexOf('#')
  return pathKey(fragment === -1 ? target : target.slice(0, fragment), path, { prefix, host })
}

/** The key of the request's URI, or of the parts that the route's own function returns. */
export function uriKey<Req>(request: KeyedRequest<Req>, policy: KeyPolicy<Req>): MaybePromise<string> {
  const { key, prefix } = policy
  if (key === undefined) return uriPath(request.target, policy, hostOf(request, policy))
  return chain(key(request.native), (parts) => checkedKey(parts, prefix))
}

export function hostOf(request: RequestHead, policy: { readonly host: boolean }): string | undefined {
  return policy.host ? (request.header('host') ?? '').toLowerCase() : undefined
}

/** A key function that returns no key is a mistake of the application: an error, never a key that requests share. */
function checkedKey(parts: Key, prefix: string | undefined): string {
  refuse("result of the route's key function", [keyProblem(parts)])
  return customKey(parts, prefix)
}

/** What `cacheEvict` names. Without a principal it is the path itself: the entries of all principals and variants end. */
export function evictedPath<Req>(
  request: KeyedRequest<Req>,
  policy: EvictPolicy<Req>,
  key: 'path' | readonly KeyPart[],
  principal: string | undefined,
): string {
  const uri =
    key === 'path'
      ? uriPath(withoutQuery(request.target), policy, hostOf(request, policy))
      : checkedKey(key, policy.prefix)
  return principal === undefined ? uri : variantKey(uri, { principal })
}

/** Throws OptionsError where there is a problem. */
export function refuse(where: string, problems: readonly (string | undefined)[]): void {
  const found = problems.filter((problem) => problem !== undefined)
  if (found.length > 0) throw new OptionsError(where, found)
}

/** The path of a URL, of which a write changes every query. */
export function withoutQuery(target: string): string {
  return target.replace(/[?#].*/s, '')
}

const NONE: readonly string[] = []
