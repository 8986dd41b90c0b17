import { memoise } from './cache-control.js'
import { firstField, joinedField, listMembers } from './header-list.js'
import { parseHttpDate } from './http-date.js'
import type { HttpPolicy } from './options.js'
import type { HeaderList, RequestHead, StoredResponse } from './types.js'

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

/**
 * How the values of a request field compare. `list`: white space round commas is dropped, and preferences of Accept,
 * Accept-Encoding and Accept-Language are put in order of their weight. `exact`: as sent. `language`: the ranges in
 * order of preference, without the weights. Or a function that gives what counts of a value.
 */
export type VaryRule = 'list' | 'exact' | 'language' | ((value: string | undefined) => string | undefined)

/** What counts of a field's value; undefined: the request has no such field, which differs from an empty one. */
export type VaryNormaliser = (value: string | undefined) => string | undefined

export function isVaryRule(value: unknown): value is VaryRule {
  return value === 'list' || value === 'exact' || value === 'language' || typeof value === 'function'
}

/** Fields whose members are case-insensitive and ordered by weight (RFC 9110 section 12.5). */
const PREFERENCES = new Set(['accept', 'accept-charset', 'accept-encoding', 'accept-language'])

export function normaliser(name: string, rule: VaryRule): VaryNormaliser {
  if (typeof rule === 'function') return rule
  if (rule === 'exact') return present((value) => value.trim())
  if (rule === 'language') return present(preferenceOrder)
  return PREFERENCES.has(name) ? present(preferences) : present(listSpacing)
}

/** Of names that the route does not mention. */
const LEARNED = new Map<string, VaryNormaliser>([...PREFERENCES].map((name) => [name, normaliser(name, 'list')]))

const PLAIN_LIST = normaliser('', 'list')

export function defaultNormaliser(name: string): VaryNormaliser {
  return LEARNED.get(name) ?? PLAIN_LIST
}

function present(normalise: (value: string) => string): VaryNormaliser {
  const remembered = memoise(normalise)
  return (value) => (value === undefined ? undefined : remembered(value))
}

/** White space round commas and at the ends carries no meaning (RFC 9111 section 4.1); inside quotes it does. */
function listSpacing(value: string): string {
  return splitList(value).join(',')
}

/** Members between commas that are not in quotes, trimmed, empty ones left out (RFC 9110 section 5.6.1). */
function splitList(value: string): string[] {
  const members: string[] = []
  let quoted = false
  let start = 0
  for (let index = 0; index <= value.length; index += 1) {
    const char = value[index]
    if (quoted && char === '\\') index += 1
    else if (char === '"') quoted = !quoted
    if (index < value.length && (char !== ',' || quoted)) continue
    const member = value.slice(start, index).trim()
    if (member !== '') members.push(member)
    start = index + 1
  }
  return members
}

interface Preference {
  readonly range: string
  readonly weight: number
}

/** Heaviest first; equal weights keep their order, which servers use to break the tie (RFC 9110 section 12.4.2). */
function ranked(value: string): Preference[] {
  return splitList(value.toLowerCase())
    .map(preference)
    .sort((one, other) => other.weight - one.weight)
}

/** RFC 9110 section 12.4.2. What is ill-formed stays part of the range: nobody knows what a handler makes of it. */
const WEIGHT = /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/

function preference(member: string): Preference {
  const parts = member.split(';').map((part) => part.trim())
  const weights = parts.filter((part) => WEIGHT.test(part))
  if (weights.length !== 1) return { range: parts.join(';'), weight: 1 }
  return { range: parts.filter((part) => part !== weights[0]).join(';'), weight: Number(weights[0]?.slice(2)) }
}

/** `gzip;q=1, br` and `gzip,br` mean the same (RFC 9110 section 12.4.2). */
function preferences(value: string): string {
  return ranked(value)
    .map(({ range, weight }) => (weight === 1 ? range : `${range};q=${weight}`))
    .join(',')
}

/** `en-GB,en;q=0.9` and `en-gb, en;q=0.5` prefer the same; what is refused stays refused. */
function preferenceOrder(value: string): string {
  return ranked(value)
    .map(({ range, weight }) => (weight === 0 ? `!${range}` : range))
    .join(',')
}
