import { bounded, encodePart } from './key.js'

/** Longest name of a group, in UTF-16 units. RFC 9875 asks a cache for at least 32. */
const GROUP_NAME_MAX = 256

/** Most groups one entry may carry. RFC 9875 asks a cache for at least 32. */
export const GROUPS_PER_ENTRY_MAX = 128

/** The group that every entry of a prefix is in; clearing the prefix invalidates it. */
export const PREFIX_GROUP = ''

/** Why a value cannot be the name of a group, or undefined. */
export function groupProblem(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'a group is a text that is not empty'
  if (name.length > GROUP_NAME_MAX)
    return `a group's name has at most ${GROUP_NAME_MAX} characters, this one has ${name.length}`
  return undefined
}

/** `name` as it stands in a key. Groups of namespaces begin with a character that no encoded name has. */
export function encodeGroup(name: string): string {
  return bounded(encodePart(name))
}

/** The group of all entries of a namespace. */
export function namespaceGroup(namespace: string): string {
  return bounded(`:${encodePart(namespace)}`)
}

/** A group that a response of one origin names, where several share the cache: RFC 9875 section 2 keeps them apart. */
export function originGroup(host: string, name: string): string {
  return bounded(`:${encodePart(host)}:${encodePart(name)}`)
}

/** Groups as an entry carries them: encoded, each once, the prefix's first. */
export function entryGroups(names: readonly string[]): readonly string[] {
  if (names.length === 0) return PREFIX_ONLY
  const groups = [PREFIX_GROUP]
  for (const name of names) {
    const encoded = encodeGroup(name)
    if (!groups.includes(encoded)) groups.push(encoded)
  }
  return groups
}

const PREFIX_ONLY: readonly string[] = [PREFIX_GROUP]
