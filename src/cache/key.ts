import { createHash } from 'node:crypto'
import { CREDENTIALS } from '../http/fields.js'

/**
 * A part of a key. Text, numbers and booleans count by their text (`1` and `'1'` are equal, as in a URL); objects by
 * their sorted entries, entries with `undefined` left out; lists by their order.
 */
export type KeyPart = string | number | bigint | boolean | null | Date | readonly KeyPart[] | KeyParams

/** Parameters as a part of a key; their order does not matter. */
export interface KeyParams {
  readonly [name: string]: KeyPart | undefined
}

/** What names an entry: one part or several. */
export type Key = KeyPart

/** Which parts of a query count. Default: all pairs, sorted by name. */
export interface QueryRule {
  /** Parameters that do not select another response, such as `utm_source`. */
  readonly ignore?: readonly string[] | undefined
  /** The only parameters that count. `id` includes `id[]` and `id[a]`, which some parsers fold into it. */
  readonly only?: readonly string[] | undefined
  /** Sort by name, so that the order of different parameters makes no difference. False: the query counts as sent. Default true; with the `rfc9111` preset false. */
  readonly sort?: boolean | undefined
}

export interface PathRule {
  readonly query?: QueryRule | undefined
  /** `/items/` and `/items` name the same entry. Default false; Fastify's `ignoreTrailingSlash` sets it. */
  readonly ignoreTrailingSlash?: boolean | undefined
  /** `/a//b` and `/a/b` name the same entry. */
  readonly ignoreDuplicateSlashes?: boolean | undefined
}

/** What distinguishes requests with equal targets. */
export interface KeyContext {
  /** The route's own prefix. */
  readonly prefix?: string | undefined
  /** In any case. */
  readonly host?: string | undefined
}

/**
 * The key of a request target, the same for GET, PUT and DELETE of a path: `<path>?<query>`. Equivalent URIs have
 * equal keys (RFC 3986 section 6.2.2), different ones different keys.
 */
export function pathKey(target: string, rule: PathRule = {}, context: KeyContext = {}): string {
  const origin = target.charCodeAt(0) === 0x2f ? target : originForm(target)
  const mark = origin.indexOf('?')
  const path = encodePath(normalisePath(mark === -1 ? origin : origin.slice(0, mark), rule))
  const query = mark === -1 ? '' : queryKey(origin.slice(mark + 1), rule.query)
  const bare = mark === -1 || (query === '' && rule.query?.sort !== false)
  return bounded(inContext(bare ? path : `${path}?${query}`, context))
}

/** Selects the entries of one URL. */
export interface PathOptions {
  /** Host of the URL, for routes whose key includes it. Default: that of an absolute URL. */
  readonly host?: string | undefined
  /** Only the entries of this principal. Default: all variants of the URL. */
  readonly per?: string | number | bigint | undefined
  /** `prefix` option of the routes. Default: none. */
  readonly prefix?: string | undefined
}

/**
 * A path with query, or an absolute URL, as a client sends it: a person writes spaces and letters of all scripts, and what
 * a browser would encode.
 */
export function sentUrl(url: string): string {
  const base = 'http://localhost'
  const isPath = url.startsWith('/')
  if (!isPath && !URL.canParse(url, base)) return url
  const { origin, pathname, search } = isPath ? new URL(base + url) : new URL(url, base)
  return isPath ? pathname + search : origin + pathname + search
}

/** The key of a URL on a route whose other options do not matter, where no routes are known. */
export function plainPathKey(url: string, { prefix, host, per }: PathOptions): string {
  const path = pathKey(sentUrl(url), {}, { prefix, host })
  return per === undefined ? path : variantKey(path, { principal: String(per) })
}

/** `|` and `:` are in no encoded part, so neither prefix nor suffix can be imitated by a path. */
function inContext(key: string, { prefix, host }: KeyContext): string {
  const before = prefix === undefined ? '' : `prefix:${encodePart(prefix)}:`
  return `${before}${key}${host === undefined ? '' : `|host:${encodePart(host.toLowerCase())}`}`
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

function queryKey(query: string, rule: QueryRule = {}): string {
  if (query === '') return ''
  const selective = rule.only !== undefined || rule.ignore !== undefined
  const pairs = selective ? query.split('&').filter((pair) => counts(pair, rule)) : query.split('&')
  if (rule.sort === false) return pairs.map(encodePair).join('&')
  const sorted = pairs.length === 1 ? pairs : sortedByName(pairs)
  return sorted
    .filter((pair) => pair !== '')
    .map(encodePair)
    .join('&')
}

/** Values of one name keep their order, which a handler may go by; so do `id` and `id[]`, which some parsers fold. */
function sortedByName(pairs: readonly string[]): readonly string[] {
  return pairs
    .map((pair) => ({ pair, name: foldedName(nameOf(pair)) }))
    .sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0))
    .map(({ pair }) => pair)
}

function counts(pair: string, { only, ignore }: QueryRule): boolean {
  const name = nameOf(pair)
  if (only !== undefined && !only.includes(name) && !only.includes(foldedName(name))) return false
  return ignore?.includes(name) !== true
}

/** The decoded name of a pair. */
function nameOf(pair: string): string {
  const end = pair.indexOf('=')
  const name = end === -1 ? pair : pair.slice(0, end)
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}

function foldedName(name: string): string {
  const bracket = name.indexOf('[')
  return bracket === -1 ? name : name.slice(0, bracket)
}

/** The key that a route's own key function returns. */
export function customKey(parts: Key, prefix?: string): string {
  return bounded(inContext(`key:${encodeKey(parts)}`, { prefix }))
}

/** The key of a value in the data cache. `version` is part of it: entries of other versions are never read. */
export function valueKey(namespace: string, key: Key, version?: number | string): string {
  return valueKeyUnder(valueKeyHead(namespace, version), key)
}

/** Beginning of the keys of a namespace. A comma is in no encoded name, so no name can imitate a version; `v2` is 2. */
export function valueKeyHead(namespace: string, version?: number | string): string {
  if (version === undefined) return `value:${encodePart(namespace)}:`
  return `value:${encodePart(namespace)},v${encodePart(String(version).replace(/^v(?=\d)/, ''))}:`
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
  return isList(key) ? key.map(encodeKeyPart).join(':') : encodeKeyPart(key)
}

/** An empty list is not `()`: that is a list of one empty text. */
function encodeKeyPart(part: KeyPart): string {
  if (isList(part)) return part.length === 0 ? '!empty' : `(${part.map(encodeKeyPart).join(',')})`
  if (part === null) return '!null'
  if (typeof part !== 'object') return encodePart(String(part))
  return part instanceof Date ? encodePart(part.toISOString()) : encodeParams(part)
}

/** `Array.isArray` does not narrow lists that are read-only. */
function isList(part: KeyPart): part is readonly KeyPart[] {
  return Array.isArray(part)
}

function encodeParams(params: KeyParams): string {
  const entries = Object.entries(params).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, encodeKeyPart(value)] as const],
  )
  entries.sort(([one], [other]) => (one < other ? -1 : 1))
  return `(${entries.map(([name, value]) => `${encodePart(name)}=${value}`).join('&')})!o`
}

/** What selects a variant of a path. */
export interface Selector {
  /** Whose entry it is; digested, so that no identity shows in Redis. */
  readonly principal?: string | undefined
  /** Header name (lower case) and normalised value; undefined where the request has no such field. */
  readonly fields?: readonly (readonly [name: string, value: string | undefined])[] | undefined
}

/** The key of one variant. An absent field and an empty one differ (RFC 9111 section 4.1). */
export function variantKey(path: string, { principal, fields = [] }: Selector): string {
  const per = principal === undefined ? '' : `|per:${digest(principal)}`
  return bounded(
    `${path}${per}${fields.map(([name, value]) => `|${encodePart(name)}${fieldValue(name, value)}`).join('')}`,
  )
}

/** Values of these fields identify people, and cookies of any name may: they never stand in a key. */
const PERSONAL_FIELDS: ReadonlySet<string> = new Set(CREDENTIALS)

function isPersonal(name: string): boolean {
  return name.startsWith('cookie@') || PERSONAL_FIELDS.has(name)
}

const READABLE_VALUE_MAX = 64

/** `!d` is no escape, so a digested value is never equal to a readable one; `#` would be that of a digested key. */
function fieldValue(name: string, value: string | undefined): string {
  if (value === undefined) return ''
  const readable = value.length <= READABLE_VALUE_MAX && !isPersonal(name)
  return `=${readable ? encodePart(value) : `!d${digest(value)}`}`
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
  const values: unknown[] = Object.values(part)
  return values.map((value) => (value === undefined ? undefined : partProblem(value))).find(Boolean)
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

/** Returns a function that encodes every character but the safe ones; text of safe characters is only tested. */
function encoder(safe: string, encode: (match: string) => string, escapes = ''): (text: string) => string {
  const plain = new RegExp(`^[${safe}]*$`)
  const unsafe = new RegExp(`${escapes}[^${safe}]`, 'g')
  return (text) => (plain.test(text) ? text : text.replace(unsafe, encode))
}

const OCTETS = '%[0-9A-Fa-f]{2}|'

const encodeSegments = encoder("A-Za-z0-9\\-._~/@:$&'()+,;=", normaliseUri, OCTETS)

/** A path as the client sent it; it always begins with a slash. */
function encodePath(path: string): string {
  return encodeSegments(path.charCodeAt(0) === 0x2f ? path : `/${path}`)
}

/** One `name=value` pair of a query as the client sent it. */
const encodePair = encoder("A-Za-z0-9\\-._~/@:$'()+,;=", normaliseUri, OCTETS)

/** Text that is not part of a URI: a key part, a group name, a header value. `%` is a character like any other. */
export const encodePart = encoder('A-Za-z0-9\\-._~@$', escapeUnit)

const UNRESERVED = /[A-Za-z0-9\-._~]/

function normaliseUri(match: string): string {
  if (match.length !== 3) return escapeUnit(match)
  const decoded = String.fromCharCode(Number.parseInt(match.slice(1), 16))
  return UNRESERVED.test(decoded) ? decoded : match.toUpperCase()
}

function escapeUnit(unit: string): string {
  const code = unit.charCodeAt(0)
  const hex = code.toString(16).toUpperCase()
  return code < 0x80 ? `!${hex.padStart(2, '0')}` : `!u${hex.padStart(4, '0')}`
}

/** SHA-256, base64url. Digests are never cut where they stand for a key. */
export function digest(text: string): string {
  // UTF-16 and not UTF-8: lone surrogates all become the same replacement character in UTF-8.
  return createHash('sha256').update(text, 'utf16le').digest('base64url')
}

/** Longer keys are digested; long enough that ordinary URLs stay readable in Redis. */
export const KEY_MAX = 512

const READABLE_HEAD = 80

/** `#` stands nowhere else in a key, so a digested key is never equal to a readable one. */
export function bounded(key: string): string {
  return key.length <= KEY_MAX ? key : `${key.slice(0, READABLE_HEAD)}#${digest(key)}`
}

/** Longest name of a group, in UTF-16 units. RFC 9875 asks a cache for at least 32. */
const GROUP_NAME_MAX = 256

/** Most groups one entry may carry. RFC 9875 asks a cache for at least 32. */
export const GROUPS_PER_ENTRY_MAX = 128

/** The group that every entry of a prefix is in; clearing the prefix invalidates it. */
export const PREFIX_GROUP = ''

/** Why a value cannot be the name of a group, or undefined. */
export function groupProblem(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'a group must be a non-empty string'
  if (name.length > GROUP_NAME_MAX)
    return `a group's name must have at most ${GROUP_NAME_MAX} characters, not ${name.length}`
  return undefined
}

/** Why these cannot be the groups of one entry, each reason once. */
export function groupProblems(names: readonly unknown[]): readonly string[] {
  if (names.length > GROUPS_PER_ENTRY_MAX)
    return [`an entry can have at most ${GROUPS_PER_ENTRY_MAX} groups, not ${names.length}`]
  return [...new Set(names.map(groupProblem))].filter((problem) => problem !== undefined)
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
