import { type Dictionary, isInnerList, parseDictionary } from 'structured-headers'
import { type HeaderList, joinedField, memoise, parseDeltaSeconds } from './fields.js'

/**
 * Arguments of each directive by lower-case name, in order, without quotes. Undefined: none; '': ill-formed, which no
 * directive accepts as valid.
 */
type Directives = Map<string, (string | undefined)[]>

/**
 * Parses Cache-Control (RFC 9111 section 5.2). Never throws; one pass, whatever the input. A quote that is never closed
 * is an ordinary character, so that it cannot hide a prohibition behind it.
 */
function parseDirectives(value: string): Directives {
  const directives: Directives = new Map()
  let equals = -1
  let start = 0
  while (start < value.length) {
    const comma = indexOrEnd(value, ',', start)
    if (equals < start) equals = indexOrEnd(value, '=', start)
    if (equals >= comma) {
      add(directives, value.slice(start, comma).trim(), undefined)
      start = comma + 1
      continue
    }
    const close = value[equals + 1] === '"' ? closingQuote(value, equals + 2) : -1
    const end = close === -1 ? comma : indexOrEnd(value, ',', close)
    addWithArgument(directives, value.slice(start, equals), value.slice(equals + 1, end))
    start = end + 1
  }
  return directives
}

function indexOrEnd(value: string, char: string, from: number): number {
  const index = value.indexOf(char, from)
  return index === -1 ? value.length : index
}

/** Index of the quote that ends a quoted-string; -1 where it is never closed. */
function closingQuote(value: string, from: number): number {
  for (let index = from; index < value.length; index += 1) {
    const char = value[index]
    if (char === '"') return index
    if (char === '\\') index += 1
  }
  return -1
}

/** Space around the equals sign is not HTTP: `max-age= 10` counts as ill-formed, not as 10. */
function addWithArgument(directives: Directives, name: string, argument: string): void {
  const spaced = name.trimEnd() !== name || argument.trimStart() !== argument
  add(directives, name.trim(), spaced ? '' : unquote(argument.trimEnd()))
}

function add(directives: Directives, name: string, argument: string | undefined): void {
  if (name === '') return
  const lower = name.toLowerCase()
  const known = directives.get(lower)
  if (known === undefined) directives.set(lower, [argument])
  else known.push(argument)
}

function unquote(argument: string): string {
  if (!argument.startsWith('"')) return argument
  if (closingQuote(argument, 1) !== argument.length - 1) return ''
  const inner = argument.slice(1, -1)
  return inner.includes('\\') ? inner.replace(/\\(.)/g, '$1') : inner
}

/** Seconds of a directive, the first where it is repeated; `otherwise` where it is ill-formed or lacks its argument. */
function secondsOf<T>(directives: Directives, name: string, otherwise: T): number | T | undefined {
  const values = directives.get(name)
  return values === undefined ? undefined : (parseDeltaSeconds(values[0]) ?? otherwise)
}

/** Cache-Control of a request (RFC 9111 section 5.2.1, RFC 5861 section 4). Seconds; undefined where absent. */
export interface RequestDirectives {
  readonly noStore: boolean
  readonly noCache: boolean
  readonly onlyIfCached: boolean
  readonly maxAge: number | undefined
  readonly minFresh: number | undefined
  /** Infinity: any staleness. */
  readonly maxStale: number | undefined
  readonly staleIfError: number | undefined
}

export const parseRequestDirectives: (field: string) => RequestDirectives = memoise((field) => {
  const directives = parseDirectives(field)
  const anyStale = directives.get('max-stale')?.[0] === undefined ? Infinity : undefined
  return Object.freeze({
    noStore: directives.has('no-store'),
    noCache: directives.has('no-cache'),
    onlyIfCached: directives.has('only-if-cached'),
    // Ill-formed counts as 0: the client gets a newer response than it may have asked for, never an older one.
    maxAge: secondsOf(directives, 'max-age', 0),
    minFresh: secondsOf(directives, 'min-fresh', undefined),
    maxStale: secondsOf(directives, 'max-stale', anyStale),
    staleIfError: secondsOf(directives, 'stale-if-error', undefined),
  })
})

export const NO_REQUEST_DIRECTIVES = parseRequestDirectives('')

/** Cache-Control of a response (RFC 9111 section 5.2.2, RFC 5861, RFC 8246). Seconds; undefined where absent. */
export interface ResponseDirectives {
  readonly noStore: boolean
  /** `no-cache` without field names. */
  readonly noCache: boolean
  /** Field names of `no-cache="f"`, lower case: not stored. */
  readonly noCacheFields: readonly string[]
  /** `private` without field names. */
  readonly private: boolean
  /** Field names of `private="f"`, lower case: not stored. */
  readonly privateFields: readonly string[]
  readonly public: boolean
  readonly mustRevalidate: boolean
  readonly proxyRevalidate: boolean
  readonly mustUnderstand: boolean
  readonly immutable: boolean
  readonly maxAge: number | undefined
  readonly sMaxage: number | undefined
  readonly staleWhileRevalidate: number | undefined
  readonly staleIfError: number | undefined
}

function responseDirectives(directives: Directives): ResponseDirectives {
  const noCache = directives.get('no-cache')?.map(fieldNames) ?? []
  const privates = directives.get('private')?.map(fieldNames) ?? []
  return Object.freeze({
    noStore: directives.has('no-store'),
    noCache: noCache.includes(undefined),
    noCacheFields: noCache.flatMap((names) => names ?? []),
    private: privates.includes(undefined),
    privateFields: privates.flatMap((names) => names ?? []),
    public: directives.has('public'),
    mustRevalidate: directives.has('must-revalidate'),
    proxyRevalidate: directives.has('proxy-revalidate'),
    mustUnderstand: directives.has('must-understand'),
    immutable: directives.has('immutable'),
    // An ill-formed lifetime is none: the response counts as stale (RFC 9111 section 4.2.1).
    maxAge: secondsOf(directives, 'max-age', 0),
    sMaxage: secondsOf(directives, 's-maxage', 0),
    staleWhileRevalidate: secondsOf(directives, 'stale-while-revalidate', 0),
    staleIfError: secondsOf(directives, 'stale-if-error', 0),
  })
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/

/** Undefined where the argument is not a list of field names: then the whole response is meant, the safe reading. */
function fieldNames(argument: string | undefined): string[] | undefined {
  const names = (argument ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  return names.length > 0 && names.every((name) => TOKEN.test(name)) ? names : undefined
}

export const parseResponseDirectives: (field: string) => ResponseDirectives = memoise((field) =>
  responseDirectives(parseDirectives(field)),
)

/** Directives of the response's Cache-Control. */
export function cacheControlOf(headers: HeaderList): ResponseDirectives {
  return parseResponseDirectives(joinedField(headers, 'cache-control') ?? '')
}

/**
 * The directives of the first valid targeted field, which then replace Cache-Control and Expires (RFC 9213 section
 * 2.2). A field that is empty or does not parse counts as absent (section 2.1).
 */
export function targetedDirectives(headers: HeaderList, targets: readonly string[]): ResponseDirectives | undefined {
  for (const name of targets) {
    const value = joinedField(headers, name)
    const dictionary = value === undefined ? undefined : dictionaryOf(value)
    if (dictionary !== undefined && dictionary.size > 0) return fromDictionary(dictionary)
  }
  return undefined
}

function dictionaryOf(value: string): Dictionary | undefined {
  try {
    return parseDictionary(value)
  } catch {
    return undefined
  }
}

/** Parameters are ignored. A value of the wrong type never lengthens a lifetime nor lifts a prohibition. */
function fromDictionary(dictionary: Dictionary): ResponseDirectives {
  const directives: Directives = new Map()
  for (const [name, member] of dictionary) {
    if (isInnerList(member)) directives.set(name, [''])
    else if (member[0] !== false) directives.set(name, [argumentOf(name, member[0])])
  }
  return responseDirectives(directives)
}

/** Lifetimes are Integers: a String that looks like one is as ill-formed as any other. */
const LIFETIMES = new Set(['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error'])

function argumentOf(name: string, value: unknown): string | undefined {
  if (value === true) return undefined
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && !LIFETIMES.has(name) ? value : ''
}
