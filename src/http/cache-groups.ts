import { isInnerList, parseList, serializeList } from 'structured-headers'
import type { HeaderList } from './contract.js'
import { joinedField } from './header-list.js'

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
