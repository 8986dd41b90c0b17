import { invalidatedGroups } from './cache-groups.js'
import type { ResponseHead } from './contract.js'
import { firstField } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'
import { isSuccess } from './status-code.js'

/** Methods that change nothing (RFC 9110 section 9.2.1, RFC 9111 section 4.4); QUERY by its specification. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY', 'SEARCH', 'PROPFIND', 'REPORT'])

/** An unknown method is unsafe. Names are case-sensitive. */
export function isSafe(method: string): boolean {
  return SAFE_METHODS.has(method)
}

export interface Invalidation {
  /** Path and query of each URI whose variants go. */
  readonly targets: readonly string[]
  readonly groups: readonly string[]
}

const NOTHING: Invalidation = Object.freeze({ targets: [], groups: [] })

export type InvalidationPolicy = Pick<
  HttpPolicy,
  'autoInvalidate' | 'invalidateLocations' | 'groupInvalidation' | 'invalidateSharedGroups'
>

/**
 * What a successful unsafe request invalidates (RFC 9111 section 4.4, RFC 9875 section 3): its URI, Location and
 * Content-Location of the same origin, and the groups the response names. `url` is absolute. Its own path and query
 * stay as they were sent: what a reader of the URI sends is compared with them.
 */
export function invalidationOf(
  method: string,
  url: string,
  response: ResponseHead,
  policy: InvalidationPolicy,
): Invalidation {
  if (isSafe(method) || !isSuccess(response.status)) return NOTHING
  const groups = policy.groupInvalidation ? invalidatedGroups(response.headers) : []
  if (!policy.autoInvalidate) return { targets: [], groups }
  const targets = [url.replace(ORIGIN, ''), ...(policy.invalidateLocations ? locations(url, response) : [])]
  return { targets: [...new Set(targets)], groups }
}

/** Scheme and authority of an absolute URI (RFC 3986 section 3). */
const ORIGIN = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/

/** Another origin's URIs are not ours to invalidate: that would be a way to attack it. */
function locations(url: string, { headers }: ResponseHead): string[] {
  if (!URL.canParse(url)) return []
  const base = new URL(url)
  return ['location', 'content-location']
    .map((name) => firstField(headers, name))
    .filter((value) => value !== undefined && URL.canParse(value, base.href))
    .map((value) => new URL(value as string, base))
    .filter(({ origin }) => origin === base.origin && origin !== 'null')
    .map(({ pathname, search }) => `${pathname}${search}`)
}
