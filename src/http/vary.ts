import type { HeaderList, RequestHead, StoredResponse } from './contract.js'
import { firstField, joinedField, listMembers } from './header-list.js'
import { parseHttpDate } from './http-date.js'
import type { HttpPolicy } from './http-policy.js'
import { defaultNormaliser } from './vary-value.js'

/**
 * Names in the response's Vary, and the route's: lower case, sorted, each once. `*` where no request can match (RFC
 * 9111 section 4.1).
 */
export function varyNames(headers: HeaderList, policy: HttpPolicy): readonly string[] | '*' {
  const value = joinedField(headers, 'vary')
  if (value === undefined) return policy.vary
  const own = listMembers(value)
  if (own.includes('*')) return '*'
  return own.every((name) => policy.vary.includes(name)) ? policy.vary : [...new Set([...policy.vary, ...own])].sort()
}

/** A Vary line for what the route selects by and the handler does not say: caches in front must know it, too. */
export function varyAddition(headers: HeaderList, policy: HttpPolicy): HeaderList {
  if (policy.vary.length === 0) return NONE
  const own = listMembers(joinedField(headers, 'vary'))
  if (own.includes('*')) return NONE
  const missing = policy.vary.filter((name) => !own.includes(name))
  return missing.length === 0 ? NONE : ['Vary', missing.join(', ')]
}

const NONE: HeaderList = []

export type SelectedField = readonly [name: string, value: string | undefined]

/** What counts of each selecting field of a request; the same list for requests that the response answers alike. */
export function selectedFields(
  request: RequestHead,
  names: readonly string[],
  policy: HttpPolicy,
): readonly SelectedField[] {
  return names.map((name) => {
    const normalise = policy.varyRules.get(name) ?? defaultNormaliser(name)
    return [name, normalise(request.header(name))]
  })
}

/** Of several stored responses that match, the one with the most recent Date (RFC 9111 section 4.1). */
export function mostRecent<T extends StoredResponse>(candidates: readonly T[], now: number): T | undefined {
  let best: T | undefined
  let bestDate = -Infinity
  for (const candidate of candidates) {
    const date = parseHttpDate(firstField(candidate.headers, 'date'), now) ?? candidate.storedAt
    if (date < bestDate) continue
    best = candidate
    bestDate = date
  }
  return best
}
