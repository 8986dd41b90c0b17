import { isInnerList, parseList, serializeList } from 'structured-headers'
import { firstField, type HeaderList, joinedField } from './fields.js'
import type { HttpPolicy } from './options.js'
import type { ResponseHead } from './types.js'

/** Methods that change nothing (RFC 9110 section 9.2.1, RFC 9111 section 4.4); QUERY by its specification. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY', 'SEARCH', 'PROPFIND', 'REPORT'])

/** An unknown method is unsafe. Names are case-sensitive. */
export function isSafe(method: string): boolean {
  return SAFE_METHODS.has(method)
}

/** A non-error response in the sense of RFC 9111 section 4.4. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status < 400
}

export type InvalidationPolicy = Pick<
  HttpPolicy,
  'autoInvalidate' | 'invalidateLocations' | 'groupInvalidation' | 'invalidateSharedGroups'
>

/**
 * What a successful unsafe request invalidates (RFC 9111 section 4.4, RFC 9875 section 3): its URI, Location and
 * Content-Location of the same origin, and the groups that the response names. `url` is absolute. `targets` are path and
 * query as they were sent, because a reader's URI is compared in that form.
 */
export function invalidationOf(
  method: string,
  url: string,
  response: ResponseHead,
  policy: InvalidationPolicy,
): { readonly targets: readonly string[]; readonly groups: readonly string[] } {
  if (isSafe(method) || !isSuccess(response.status)) return { targets: [], groups: [] }
  const groups = policy.groupInvalidation ? groupList(response.headers, 'cache-group-invalidation') : []
  if (!policy.autoInvalidate) return { targets: [], groups }
  return { targets: [...new Set([url.replace(ORIGIN, ''), ...locations(url, response, policy)])], groups }
}

/** Scheme and authority of an absolute URI (RFC 3986 section 3). */
const ORIGIN = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/

/** URIs of other origins are left alone: evicting those would be a way to attack them. */
function locations(url: string, { status, headers }: ResponseHead, policy: InvalidationPolicy): string[] {
  const { invalidateLocations } = policy
  if (invalidateLocations === false) return []
  const names = ['content-location', ...(invalidateLocations === true || status === 201 ? ['location'] : [])]
  const values = names.map((name) => firstField(headers, name)).filter((value) => value !== undefined)
  // Few responses have either, and to parse a URL costs as much as a command.
  if (values.length === 0 || !URL.canParse(url)) return []
  const base = new URL(url)
  return values
    .filter((value) => URL.canParse(value, base.href))
    .map((value) => new URL(value, base))
    .filter(({ origin }) => origin === base.origin && origin !== 'null')
    .map(({ pathname, search }) => `${pathname}${search}`)
}

/** Groups of one entry; RFC 9875 section 2 requires at least 32. */
const CACHE_GROUPS_MAX = 128

/** Length of a name; RFC 9875 section 2 requires at least 32. */
const CACHE_GROUP_LENGTH_MAX = 256

const NONE: readonly string[] = []

/**
 * Groups that a response is in or invalidates (RFC 9875 sections 2 and 3): a List of Strings, compared exactly, parameters
 * ignored. A field of any other form is ignored as a whole.
 */
export function groupList(headers: HeaderList, field: string): readonly string[] {
  const value = joinedField(headers, field)
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

/** Whether an entry can carry all of them: one that a group could not invalidate must not be stored. */
export function fitsEntry(groups: readonly string[]): boolean {
  return groups.length <= CACHE_GROUPS_MAX && groups.every((group) => group.length <= CACHE_GROUP_LENGTH_MAX)
}

const PRINTABLE = /^[\x20-\x7e]*$/

/** Members of Cache-Groups for caches in front, without names that a String cannot hold (RFC 9651 section 3.3.3). */
export function serializeGroups(groups: readonly string[]): string {
  return serializeList(groups.filter((group) => PRINTABLE.test(group)).map((group) => [group, new Map()]))
}
