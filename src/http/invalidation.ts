import { isInnerList, parseList, serializeList } from 'structured-headers'
import { firstField, joinedField } from './header-list.js'
import type { HttpPolicy } from './options.js'
import { isSuccess } from './storage.js'
import type { HeaderList, ResponseHead } from './types.js'

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

/** What one entry carries; RFC 9875 section 2 asks for at least 32. */
const CACHE_GROUPS_MAX = 128

/** Length of a name; RFC 9875 section 2 asks for at least 32. */
const CACHE_GROUP_LENGTH_MAX = 256

/** Groups the response is in (RFC 9875 section 2). */
export function cacheGroups(headers: HeaderList): readonly string[] {
  return groupList(joinedField(headers, 'cache-groups'))
}

/** Groups the response to an unsafe method invalidates (RFC 9875 section 3). */
export function invalidatedGroups(headers: HeaderList): readonly string[] {
  return groupList(joinedField(headers, 'cache-group-invalidation'))
}

const NONE: readonly string[] = []

/** A List of Strings, compared exactly, parameters ignored. A field that is anything else is ignored as a whole. */
function groupList(value: string | undefined): readonly string[] {
  if (value === undefined) return NONE
  try {
    const members = parseList(value).map((member) => (isInnerList(member) ? undefined : member[0]))
    return members.every((member) => typeof member === 'string')
      ? [...new Set(members)].filter((name) => name !== '')
      : NONE
  } catch {
    return NONE
  }
}

/** Whether all of them can be kept: an entry that could not be invalidated by each of its groups must not be stored. */
export function fitsEntry(groups: readonly string[]): boolean {
  return groups.length <= CACHE_GROUPS_MAX && groups.every((group) => group.length <= CACHE_GROUP_LENGTH_MAX)
}

const PRINTABLE = /^[\x20-\x7e]*$/

/** Cache-Groups for caches in front; names that no String can hold are left out (RFC 9651 section 3.3.3). */
export function serializeGroups(groups: readonly string[]): string {
  return serializeList(groups.filter((group) => PRINTABLE.test(group)).map((group) => [group, new Map()]))
}
