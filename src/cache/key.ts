import { createHash } from 'node:crypto'

/**
 * A part of a key. Text, numbers and booleans count by their text (`1` and `'1'` are equal, as in a URL); objects by
 * their sorted entries, entries with `undefined` left out; lists by their order.
 */
export type KeyPart = string | number | bigint | boolean | null | Date | readonly KeyPart[] | KeyParams

export interface KeyParams {
  readonly [name: string]: KeyPart | undefined
}

/** What names an entry: one part or several. */
export type Key = KeyPart

/** Which parts of a query count. Default: all pairs, sorted. */
export interface QueryRule {
  /** Parameters that do not select another response, such as `utm_source`. */
  readonly ignore?: readonly string[] | undefined
  /** The only parameters that count. */
  readonly only?: readonly string[] | undefined
  /** Sort the pairs, so that their order makes no difference. False: the query counts as it was sent. Default true; with the `rfc9111` preset false. */
  readonly sort?: boolean | undefined
}

export interface PathRule {
  readonly query?: QueryRule | undefined
  /** `/items/` and `/items` name the same entry. Default false; Fastify's `ignoreTrailingSlash` sets it. */
  readonly ignoreTrailingSlash?: boolean | undefined
  /** `/a//b` and `/a/b` name the same entry. */
  readonly ignoreDuplicateSlashes?: boolean | undefined
}

/**
 * The key of a request target, the same for GET, PUT and DELETE of a path: `<path>?<query>`. Equivalent URIs have
 * equal keys (RFC 3986 section 6.2.2), different ones different keys.
 */
export function pathKey(target: string, rule: PathRule = {}, host?: string): string {
  const origin = target.charCodeAt(0) === 0x2f ? target : originForm(target)
  const mark = origin.indexOf('?')
  const path = encodePath(normalisePath(mark === -1 ? origin : origin.slice(0, mark), rule))
  const query = mark === -1 ? '' : queryKey(origin.slice(mark + 1), rule.query)
  const bare = mark === -1 || (query === '' && rule.query?.sort !== false)
  const key = bare ? path : `${path}?${query}`
  return bounded(host === undefined ? key : `${key}|host:${encodePart(host.toLowerCase())}`)
}

/** absolute-form (RFC 9112 section 3.2.2) to origin-form. */
function originForm(target: string): string {
  const match = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/.exec(target)
  return match ? target.slice(match[0].length) : target
}

function normalisePath(path: string, rule: PathRule): string {
  let normal = path
  if (rule.ignoreDuplicateSlashes === true) normal = normal.replace(/\/{2,}/g, '/')
  if (rule.ignoreTrailingSlash === true && normal.length > 1 && normal.endsWith('/')) normal = normal.slice(0, -1)
  return normal
}

function queryKey(query: string, rule: QueryRule | undefined): string {
  if (query === '') return ''
  if (rule === undefined && !query.includes('&')) return encodePair(query)
  const pairs = query.split('&')
  if (rule?.sort === false)
    return pairs
      .filter((pair) => counts(pair, rule))
      .map(encodePair)
      .join('&')
  return pairs
    .filter((pair) => pair !== '' && counts(pair, rule))
    .map(encodePair)
    .sort()
    .join('&')
}

function counts(pair: string, rule: QueryRule | undefined): boolean {
  if (rule?.only === undefined && rule?.ignore === undefined) return true
  const name = decodeName(pair.split('=', 1)[0] as string)
  return rule.only?.includes(name) !== false && rule.ignore?.includes(name) !== true
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}

/** The key that a route's own key function names. */
export function customKey(parts: Key): string {
  return bounded(`key:${encodeKey(parts)}`)
}

/** The key of a value in the data cache. `version` is part of it, so that another version is another world. */
export function valueKey(namespace: string, key: Key, version?: number | string): string {
  return valueKeyUnder(valueKeyHead(namespace, version), key)
}

/** What the keys of a namespace begin with. A comma is in no encoded name, so no name can imitate a version. */
export function valueKeyHead(namespace: string, version?: number | string): string {
  return `value:${encodePart(namespace)}${version === undefined ? '' : `,v${encodePart(String(version))}`}:`
}

export function valueKeyUnder(head: string, key: Key): string {
  return bounded(head + (typeof key === 'string' ? encodePart(key) : encodeKey(key)))
}

/** The key of a call without arguments; unlike that of any arguments. */
export const NO_PARTS: Key = Object.freeze({})

/** A pattern over the keys of a namespace: `*` stands for any characters, `:` separates parts, all else for itself. */
export function valuePattern(head: string, pattern: string): string {
  return (
    head +
    pattern
      .split(/([*:])/)
      .map((text, index) => (index % 2 === 1 ? text : encodePart(text)))
      .join('')
  )
}

/** Parts of a top-level list stand side by side: `user:42`. */
function encodeKey(key: Key): string {
  if (key === NO_PARTS) return '!none'
  return Array.isArray(key) ? key.map((part) => encodeKeyPart(part as KeyPart)).join(':') : encodeKeyPart(key)
}

function encodeKeyPart(part: KeyPart): string {
  if (Array.isArray(part)) return `(${part.map((inner) => encodeKeyPart(inner as KeyPart)).join(',')})`
  if (part instanceof Date) return encodePart(part.toISOString())
  if (part === null) return '!null'
  if (typeof part === 'object') return encodeParams(part as KeyParams)
  return encodePart(String(part))
}

function encodeParams(params: KeyParams): string {
  const names = Object.keys(params).filter((name) => params[name] !== undefined)
  const entries = names.sort().map((name) => `${encodePart(name)}=${encodeKeyPart(params[name] as KeyPart)}`)
  return `(${entries.join('&')})!o`
}

/** What a variant of a key is selected by. */
export interface Selector {
  /** Whose entry it is; digested, so that no identity shows in Redis. */
  readonly principal?: string | undefined
  /** Header name (lower case) and normalised value; undefined where the request has no such field. */
  readonly fields?: readonly (readonly [name: string, value: string | undefined])[] | undefined
}

/** The key of one variant. An absent field and an empty one differ (RFC 9111 section 4.1). */
export function variantKey(base: string, { principal, fields = [] }: Selector): string {
  const per = principal === undefined ? '' : `|per:${digest(principal)}`
  return bounded(
    `${base}${per}${fields.map(([name, value]) => `|${encodePart(name)}${fieldValue(name, value)}`).join('')}`,
  )
}

/** Values that may identify somebody never stand in a key. */
const PERSONAL_FIELDS = new Set(['cookie', 'authorization'])

const READABLE_VALUE_MAX = 64

function fieldValue(name: string, value: string | undefined): string {
  if (value === undefined) return ''
  return value.length > READABLE_VALUE_MAX || PERSONAL_FIELDS.has(name) ? `#${digest(value)}` : `=${encodePart(value)}`
}

/** Why a value cannot be a key, or undefined. */
export function keyProblem(key: unknown): string | undefined {
  if (key === undefined) return 'a key must not be undefined'
  if (Array.isArray(key) && key.length === 0) return 'a key must have at least one part'
  return partProblem(key)
}

function partProblem(part: unknown): string | undefined {
  if (Array.isArray(part)) return part.map(partProblem).find((problem) => problem !== undefined)
  if (part === null || typeof part === 'boolean' || typeof part === 'string' || typeof part === 'bigint')
    return undefined
  if (typeof part === 'number') return Number.isNaN(part) ? 'NaN cannot be part of a key' : undefined
  if (part instanceof Date) return Number.isNaN(part.getTime()) ? 'an invalid Date cannot be part of a key' : undefined
  if (typeof part !== 'object') return `a ${typeof part} cannot be part of a key`
  const prototype: unknown = Object.getPrototypeOf(part)
  if (prototype !== Object.prototype && prototype !== null) return 'only plain objects can be part of a key'
  const values = Object.values(part).filter((value) => value !== undefined)
  return values.map(partProblem).find((problem) => problem !== undefined)
}

/*
 * How text becomes part of a key. Three rules keep it injective:
 *   1. a percent-encoded octet stays one, in its normal form (RFC 3986 section 6.2.2: upper-case hex; unreserved
 *      characters decoded), so that equivalent URIs are equal and `%2F` is never `/`;
 *   2. every other character outside the safe set becomes `!hh` (ASCII) or `!uhhhh` (a UTF-16 code unit);
 *   3. `!` itself is not safe.
 * The safe sets leave out what separates (`? & = |` where they do), braces (hash tags), glob characters, quotes,
 * spaces and controls.
 */

const PLAIN_PATH = /^[A-Za-z0-9\-._~/@:$&'()+,;=]*$/

const PLAIN_QUERY = /^[A-Za-z0-9\-._~/@:$'()+,;=]*$/

const PLAIN_PART = /^[A-Za-z0-9\-._~@$]*$/

const UNSAFE_IN_PATH = /%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~/@:$&'()+,;=]/g

const UNSAFE_IN_QUERY = /%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~/@:$'()+,;=]/g

const UNSAFE_IN_PART = /[^A-Za-z0-9\-._~@$]/g

const UNRESERVED = /[A-Za-z0-9\-._~]/

function escapeUnit(unit: string): string {
  const code = unit.charCodeAt(0)
  return code < 0x80 ? `!${hex(code, 2)}` : `!u${hex(code, 4)}`
}

function hex(code: number, digits: number): string {
  return code.toString(16).toUpperCase().padStart(digits, '0')
}

function normaliseUri(match: string): string {
  if (match.length !== 3) return escapeUnit(match)
  const decoded = String.fromCharCode(Number.parseInt(match.slice(1), 16))
  return UNRESERVED.test(decoded) ? decoded : match.toUpperCase()
}

/** A path as the client sent it; it always begins with a slash. */
export function encodePath(path: string): string {
  const absolute = path.charCodeAt(0) === 0x2f ? path : `/${path}`
  return PLAIN_PATH.test(absolute) ? absolute : absolute.replace(UNSAFE_IN_PATH, normaliseUri)
}

/** One `name=value` pair of a query as the client sent it. */
export function encodePair(pair: string): string {
  return PLAIN_QUERY.test(pair) ? pair : pair.replace(UNSAFE_IN_QUERY, normaliseUri)
}

/** Text that is not part of a URI: a key part, a group name, a header value. `%` is a character like any other. */
export function encodePart(text: string): string {
  return PLAIN_PART.test(text) ? text : text.replace(UNSAFE_IN_PART, escapeUnit)
}

/** SHA-256, base64url. Digests are never cut where they stand for a key. */
export function digest(text: string): string {
  // UTF-16 and not UTF-8: lone surrogates all become the same replacement character in UTF-8.
  return createHash('sha256').update(text, 'utf16le').digest('base64url')
}

/** Longer keys are digested; long enough that ordinary URLs stay readable in Redis. */
export const KEY_MAX = 512

const READABLE_HEAD = 80

/** `#` is in no safe set, so a digested key is never equal to a readable one. */
export function bounded(key: string): string {
  return key.length <= KEY_MAX ? key : `${key.slice(0, READABLE_HEAD)}#${digest(key)}`
}
