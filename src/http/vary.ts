import type { MaybePromise } from '../maybe-promise.js'
import type { RequestFunction } from '../request-function.js'
import { appendMembers, dateOf, type HeaderList, joinedField, keepFields, listMembers, memoise } from './fields.js'

/**
 * How the values of a request field compare. `list`: white space around commas is dropped, and preferences of Accept,
 * Accept-Encoding and Accept-Language are ordered by weight. `exact`: as sent. `language`: the ranges in order of
 * preference, without the weights.
 */
export type VaryRule = 'list' | 'exact' | 'language'

/** What a function of `vary` returns. `undefined` and `null`: the request has no such value. */
export type VaryResult = string | number | bigint | boolean | null | undefined

/** A function of the request that returns a value by which responses differ, such as a tenant or a kind of device. */
export type VaryFunction<Req> = RequestFunction<Req, MaybePromise<VaryResult>>

/** A function of `vary`, and the fields that `Vary` names for it. */
export interface VaryFrom<Req> {
  /** Returns the value. */
  readonly value: VaryFunction<Req>
  /**
   * Names of the request fields that the value is made of, for `Vary`; `[]` where other caches need no field to tell
   * responses apart. Default: `'*'`, which lets no other cache use the response again without asking.
   */
  readonly from: string | readonly string[]
}

/**
 * What selects the responses of a path, by name. `cookie`: names of cookies. A `VaryRule`: the request field of that
 * name. A function of the request: the value that it returns, under a name of your choice.
 */
export type VaryBy<Req> =
  | {
      /** Names of cookies. */
      readonly cookie: string | readonly string[]
    }
  | { readonly [name: string]: VaryRule | VaryFunction<Req> | VaryFrom<Req> | undefined }

/** Names of request fields, or an object. */
export type VaryOption<Req> = string | readonly string[] | VaryBy<Req>

/** The part of a field's value that counts; undefined: the request has no such field, which differs from an empty one. */
type VaryNormaliser = (value: string | undefined) => string | undefined

/** A part of the request, other than a whole field, that selects responses. */
export interface VaryValue {
  /** In keys. Has an `@`, which no name of a field has. */
  readonly name: string
  /** For people. */
  readonly label: string
  /** Request fields behind it, lower case. `*`: it is not known which. */
  readonly from: readonly string[]
  /** The name of a cookie, or a function of the request. */
  readonly of: string | VaryFunction<never>
}

/** The option `vary` as it was checked. */
export interface DeclaredVary {
  readonly rules: ReadonlyMap<string, VaryRule>
  readonly values: readonly VaryValue[]
}

/** What a route selects responses by. */
export interface VaryPolicy {
  /** Names of request fields, lower case, sorted. */
  readonly vary: readonly string[]
  readonly varyRules: ReadonlyMap<string, VaryNormaliser>
  readonly varyValues: readonly VaryValue[]
  /** Fields behind what else selects responses, such as a cookie: Vary names them to other caches. Lower case. */
  readonly varyBehind: readonly string[]
}

export function cookieValue(name: string): VaryValue {
  return { name: `cookie@${name}`, label: `cookie ${name}`, from: ['cookie'], of: name }
}

export function functionValue(name: string, of: VaryFunction<never>, from: readonly string[]): VaryValue {
  return { name: `@${name}`, label: name, from, of }
}

/** `*` (RFC 9110 section 12.5.5): the value is made of what other caches cannot know. */
export const UNKNOWN_FIELDS: readonly string[] = ['*']

/** All values of a cookie in a `Cookie` field, since parsers disagree about which one counts; undefined: there is none. */
export function cookieOf(field: string | undefined, name: string): string | undefined {
  if (field?.includes(name) !== true) return undefined
  const values = pairsOf(field).flatMap(([own, value]) => (own === name ? [value] : []))
  return values.length === 0 ? undefined : values.join(';')
}

/** The `Cookie` field of a request that has only the cookies of these names; undefined: it has none of them. */
export function cookiesOnly(field: string | undefined, names: readonly string[]): string | undefined {
  const kept = pairsOf(field ?? '').filter(([own]) => names.includes(own))
  return kept.length === 0 ? undefined : kept.map((pair) => pair.join('=')).join('; ')
}

/** A part without `=` is no cookie. */
function pairsOf(field: string): (readonly [name: string, value: string])[] {
  return field.split(';').flatMap((pair) => {
    const equals = pair.indexOf('=')
    return equals === -1 ? [] : [[pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()] as const]
  })
}

/**
 * Names in the response's Vary, and the route's: lower case, sorted, each once. `*` where no request can match (RFC
 * 9111 section 4.1).
 */
export function varyNames(headers: HeaderList, { vary }: VaryPolicy): readonly string[] | '*' {
  const value = joinedField(headers, 'vary')
  if (value === undefined) return vary
  const own = listMembers(value)
  if (own.includes('*')) return '*'
  return own.every((name) => vary.includes(name)) ? vary : [...new Set([...vary, ...own])].sort()
}

/** The response's Vary completed by the route's names, or `*` alone: caches in front must know them as well. */
export function withVary(headers: HeaderList, vary: readonly string[]): HeaderList {
  if (vary.length === 0) return headers
  const own = listMembers(joinedField(headers, 'vary'))
  if (own.includes('*')) return headers
  // Caches look for a `*` that stands alone.
  if (vary.includes('*')) return [...keepFields(headers, (name) => name !== 'vary'), 'Vary', '*']
  const missing = vary.filter((name) => !own.includes(name))
  return missing.length === 0 ? headers : appendMembers(headers, 'Vary', missing.join(', '))
}

export type SelectedField = readonly [name: string, value: string | undefined]

/** The part of each selecting field that counts; equal lists for requests that the same response answers. */
export function selectedFields(
  request: { header(name: string): string | undefined },
  names: readonly string[],
  { varyRules }: VaryPolicy,
): readonly SelectedField[] {
  return names.map((name) => {
    const normalise = varyRules.get(name) ?? normaliser(name)
    return [name, normalise(request.header(name))]
  })
}

/** Of several matching responses, the one with the most recent Date (RFC 9111 section 4.1). */
export function mostRecent<T extends { readonly headers: HeaderList; readonly storedAt: number }>(
  candidates: readonly T[],
  now: number,
): T | undefined {
  const dateOfEach = (one: T): number => dateOf(one.headers, now) ?? one.storedAt
  return [...candidates].sort((one, other) => dateOfEach(one) - dateOfEach(other)).at(-1)
}

export function isVaryRule(value: unknown): value is VaryRule {
  return value === 'list' || value === 'exact' || value === 'language'
}

/** Fields whose members are ordered by weight (RFC 9110 section 12.5). */
const PREFERENCES = new Set(['accept', 'accept-charset', 'accept-encoding', 'accept-language'])

function ofPresent(normalise: (value: string) => string): VaryNormaliser {
  const memoised = memoise(normalise)
  return (value) => (value === undefined ? undefined : memoised(value))
}

const NORMALISERS = {
  exact: ofPresent((value) => value.trim()),
  // `en-GB,en;q=0.9` and `en-gb, en;q=0.5` prefer the same; a refused range stays refused.
  language: ofPresent((value) => ranked(value, ({ range, weight }) => (weight === 0 ? `!${range}` : range))),
  // White space around commas and at the ends carries no meaning (RFC 9111 section 4.1), except inside quotes. Empty
  // members stay: the field may not be a list at all.
  list: ofPresent((value) => splitList(value).join(',')),
  // `gzip;q=1, br` and `gzip,br` are equivalent (RFC 9110 section 12.4.2).
  preferences: ofPresent((value) =>
    ranked(value, ({ range, weight }) => (weight === 1 ? range : `${range};q=${weight}`)),
  ),
}

/** `list` is the rule of names that the route does not mention. */
export function normaliser(name: string, rule: VaryRule = 'list'): VaryNormaliser {
  return NORMALISERS[rule === 'list' && PREFERENCES.has(name) ? 'preferences' : rule]
}

/** Members between commas that are not in quotes, trimmed. */
function splitList(value: string): string[] {
  const members: string[] = []
  let quoted = false
  let start = 0
  for (let index = 0; index <= value.length; index += 1) {
    const char = value[index]
    if (quoted && char === '\\') index += 1
    else if (char === '"') quoted = !quoted
    if (index < value.length && (char !== ',' || quoted)) continue
    members.push(value.slice(start, index).trim())
    start = index + 1
  }
  return members
}

interface Preference {
  readonly range: string
  readonly weight: number
}

/** Heaviest first; equal weights keep their order, which servers use to break the tie (RFC 9110 section 12.4.2). */
function ranked(value: string, write: (one: Preference) => string): string {
  const members = splitList(value).filter((member) => member !== '')
  const preferences = members.map(preference).sort((one, other) => other.weight - one.weight)
  return preferences.map(write).join(',')
}

/** RFC 9110 section 12.4.2. An ill-formed weight stays part of the range, because handlers may read it in any way. */
const WEIGHT = /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/i

/** Ranges and parameter names are case-insensitive; the values of media type parameters may not be. */
function preference(member: string): Preference {
  const [range = '', ...parameters] = member.split(';').map((part) => part.trim())
  const weights = parameters.filter((part) => WEIGHT.test(part))
  const weight = weights.length === 1 ? weights[0] : undefined
  const others = parameters.filter((part) => part !== weight).map(withLowerName)
  return {
    range: [range.toLowerCase(), ...others].join(';'),
    weight: weight === undefined ? 1 : Number(weight.slice(2)),
  }
}

function withLowerName(parameter: string): string {
  const equals = parameter.indexOf('=')
  return equals === -1 ? parameter.toLowerCase() : parameter.slice(0, equals).toLowerCase() + parameter.slice(equals)
}
