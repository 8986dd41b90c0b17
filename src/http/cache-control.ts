import { type Dictionary, isInnerList, parseDictionary } from 'structured-headers'
import { type HeaderList, joinedField, listMembers, memoise, parseDeltaSeconds, TOKEN } from './fields.js'

/**
 * Arguments of each directive by lower-case name, in order, without quotes. Undefined: none; '': ill-formed, which no
 * directive accepts as valid.
 */
type Directives = Map<string, (string | undefined)[]>

/**
 * A directive ends at a comma that is not in quotes. A quote that is never closed is an ordinary character, so that it
 * cannot hide a prohibition behind it.
 */
const DIRECTIVE = /([^=,]*)(?:=("[^"\\]*(?:\\[^][^"\\]*)*"[^,]*|[^,]*))?(?:,|$)/g

const QUOTED = /^"([^"\\]*(?:\\[^][^"\\]*)*)"$/

/** Parses Cache-Control (RFC 9111 section 5.2). Never throws; always one pass. */
function parseDirectives(field: string): Directives {
  const directives: Directives = new Map()
  for (const [, name = '', value] of field.matchAll(DIRECTIVE)) {
    const lower = name.trim().toLowerCase()
    if (lower === '') continue
    const argument = value === undefined ? undefined : argumentOf(name, value)
    const known = directives.get(lower)
    if (known === undefined) directives.set(lower, [argument])
    else known.push(argument)
  }
  return directives
}

/** Space around the equals sign is not HTTP: `max-age= 10` counts as ill-formed, not as 10. */
function argumentOf(name: string, value: string): string {
  if (name.trimEnd() !== name || value.trimStart() !== value) return ''
  const argument = value.trimEnd()
  return argument.startsWith('"') ? (QUOTED.exec(argument)?.[1] ?? '').replace(/\\([^])/g, '$1') : argument
}

/** Seconds of a directive, the first where it is repeated; `otherwise` where it is ill-formed or lacks its argument. */
function secondsOf<T>(directives: Directives, name: string, otherwise: T): number | T | undefined {
  const values = directives.get(name)
  return values === undefined ? undefined : (parseDeltaSeconds(values[0]) ?? otherwise)
}

/** Cache-Control of a request (RFC 9111 section 5.2.1, RFC 5861 section 4). Seconds; undefined where absent. */
export type RequestDirectives = ReturnType<typeof parseRequestDirectives>

export const parseRequestDirectives = memoise((field) => {
  const directives = parseDirectives(field)
  const anyStale = directives.get('max-stale')?.[0] === undefined ? Infinity : undefined
  return Object.freeze({
    noStore: directives.has('no-store'),
    noCache: directives.has('no-cache'),
    /** Must not run the handler: 504 where the store has no answer (section 5.2.1.7). */
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
export type ResponseDirectives = ReturnType<typeof responseDirectives>

function responseDirectives(directives: Directives) {
  // Undefined: a directive without field names, which is about the whole response.
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

/** Undefined where the argument is not a list of field names: then the whole response is meant, the safe reading. */
function fieldNames(argument: string | undefined): string[] | undefined {
  const names = listMembers(argument)
  return names.length > 0 && names.every((name) => TOKEN.test(name)) ? names : undefined
}

export const parseResponseDirectives = memoise((field) => responseDirectives(parseDirectives(field)))

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
    const dictionary = dictionaryOf(joinedField(headers, name))
    if (dictionary !== undefined && dictionary.size > 0) return fromDictionary(dictionary)
  }
  return undefined
}

function dictionaryOf(value: string | undefined): Dictionary | undefined {
  try {
    return value === undefined ? undefined : parseDictionary(value)
  } catch {
    return undefined
  }
}

/** Lifetimes are Integers: a String that looks like one is as ill-formed as any other. */
const LIFETIMES = new Set(['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error'])

/** Parameters are ignored. A value of the wrong type never lengthens a lifetime nor lifts a prohibition. */
function fromDictionary(dictionary: Dictionary): ResponseDirectives {
  const directives: Directives = new Map()
  for (const [name, member] of dictionary) {
    const value = isInnerList(member) ? '' : member[0]
    if (value === false) continue
    const valid = typeof value === 'number' || (typeof value === 'string' && !LIFETIMES.has(name))
    directives.set(name, [value === true ? undefined : valid ? String(value) : ''])
  }
  return responseDirectives(directives)
}
