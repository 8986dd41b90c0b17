import { type Dictionary, isInnerList, parseDictionary } from 'structured-headers'
import { joinedField } from './header-list.js'
import type { HeaderList } from './types.js'

/**
 * A directive as it stands in Cache-Control: lower-case name, and its argument without quotes. The argument is
 * undefined where there is none and '' where it is ill-formed, which no directive takes for a valid one.
 */
export type OnDirective = (name: string, argument: string | undefined) => void

/**
 * Walks through Cache-Control (RFC 9111 section 5.2). Never throws; one pass, whatever the input. A quote that is never
 * closed is an ordinary character, so that it cannot hide a prohibition behind it.
 */
export function scanDirectives(value: string, on: OnDirective): void {
  let equals = -1
  let start = 0
  while (start < value.length) {
    const comma = endOf(value, ',', start)
    if (equals < start) equals = endOf(value, '=', start)
    if (equals >= comma) {
      emit(value.slice(start, comma), undefined, on)
      start = comma + 1
      continue
    }
    const close = value[equals + 1] === '"' ? closingQuote(value, equals + 2) : undefined
    const end = close === undefined || close === -1 ? comma : endOf(value, ',', close)
    emit(value.slice(start, equals), value.slice(equals + 1, end), on)
    start = end + 1
  }
}

function endOf(value: string, char: string, from: number): number {
  const index = value.indexOf(char, from)
  return index === -1 ? value.length : index
}

/** Index of the quote that ends a quoted-string, -1 where none does. */
function closingQuote(value: string, from: number): number {
  for (let index = from; index < value.length; index += 1) {
    const char = value[index]
    if (char === '"') return index
    if (char === '\\') index += 1
  }
  return -1
}

function emit(rawName: string, rawArgument: string | undefined, on: OnDirective): void {
  const name = rawName.trim().toLowerCase()
  if (name === '') return
  if (rawArgument === undefined) return on(name, undefined)
  // Space round the equals sign is not HTTP: `max-age= 10` counts as ill-formed, not as 10.
  const spaced = rawName.trimEnd() !== rawName || rawArgument.trimStart() !== rawArgument
  on(name, spaced ? '' : unquote(rawArgument.trimEnd()))
}

function unquote(argument: string): string {
  if (argument.charCodeAt(0) !== 0x22) return argument
  const close = closingQuote(argument, 1)
  if (close !== argument.length - 1) return ''
  const inner = argument.slice(1, -1)
  return inner.includes('\\') ? inner.replace(/\\(.)/g, '$1') : inner
}

/** 2^31: what a larger number of seconds means (RFC 9111 section 1.2.2). */
export const MAX_SECONDS = 2 ** 31

const ZERO = 48

const NINE = 57

/** Digits and nothing else, as seconds; undefined where it is anything else. */
export function parseDeltaSeconds(text: string): number | undefined {
  if (text === '') return undefined
  let seconds = 0
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code < ZERO || code > NINE) return undefined
    seconds = Math.min(seconds * 10 + code - ZERO, MAX_SECONDS)
  }
  return seconds
}

/** Longer texts are not worth keeping: clients choose them, and they seldom come twice. */
const KEY_MAX = 256

/** Enough for the spellings that real clients and routes have; bounds what hostile ones can make us keep. */
const ENTRIES_MAX = 256

/** A pure function of a text that remembers the texts it has seen lately. The results must be immutable. */
export function memoise<T>(parse: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    const found = known.get(text)
    if (found !== undefined) return found
    const parsed = parse(text)
    if (text.length > KEY_MAX) return parsed
    if (known.size >= ENTRIES_MAX) known.clear()
    known.set(text, parsed)
    return parsed
  }
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

export const NO_REQUEST_DIRECTIVES: RequestDirectives = Object.freeze({
  noStore: false,
  noCache: false,
  onlyIfCached: false,
  maxAge: undefined,
  minFresh: undefined,
  maxStale: undefined,
  staleIfError: undefined,
})

type Draft = { -readonly [Name in keyof RequestDirectives]: RequestDirectives[Name] }

export const parseRequestDirectives: (field: string) => RequestDirectives = memoise((field) => {
  const draft: Draft = { ...NO_REQUEST_DIRECTIVES }
  scanDirectives(field, (name, argument) => READERS.get(name)?.(draft, argument))
  return Object.freeze(draft)
})

type Reader = (draft: Draft, argument: string | undefined) => void

/** The first of a repeated directive counts. What is ill-formed gives the client nothing but a newer answer. */
const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['no-store', (draft) => void (draft.noStore = true)],
  ['no-cache', (draft) => void (draft.noCache = true)],
  ['only-if-cached', (draft) => void (draft.onlyIfCached = true)],
  ['max-age', (draft, argument) => void (draft.maxAge ??= seconds(argument) ?? 0)],
  ['min-fresh', (draft, argument) => void (draft.minFresh ??= seconds(argument))],
  ['max-stale', (draft, argument) => void (draft.maxStale ??= argument === undefined ? Infinity : seconds(argument))],
  ['stale-if-error', (draft, argument) => void (draft.staleIfError ??= seconds(argument))],
])

function seconds(argument: string | undefined): number | undefined {
  return argument === undefined ? undefined : parseDeltaSeconds(argument)
}

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

export const NO_RESPONSE_DIRECTIVES: ResponseDirectives = Object.freeze({
  noStore: false,
  noCache: false,
  noCacheFields: [],
  private: false,
  privateFields: [],
  public: false,
  mustRevalidate: false,
  proxyRevalidate: false,
  mustUnderstand: false,
  immutable: false,
  maxAge: undefined,
  sMaxage: undefined,
  staleWhileRevalidate: undefined,
  staleIfError: undefined,
})

export const parseResponseDirectives: (field: string) => ResponseDirectives = memoise((field) => {
  const reader = responseDirectiveReader()
  scanDirectives(field, (name, argument) => reader.read(name, argument))
  return reader.result()
})

type Draft2 = { -readonly [Name in keyof ResponseDirectives]: ResponseDirectives[Name] }

export interface ResponseDirectiveReader {
  /** `argument` undefined: none; '': ill-formed. */
  read(name: string, argument: string | undefined): void
  result(): ResponseDirectives
}

/** Takes directives one by one, from Cache-Control or from a targeted field (RFC 9213). */
export function responseDirectiveReader(): ResponseDirectiveReader {
  const draft: Draft2 = { ...NO_RESPONSE_DIRECTIVES }
  return {
    read: (name, argument) => READERS2.get(name)?.(draft, argument),
    result: () => Object.freeze(draft),
  }
}

type Reader2 = (draft: Draft2, argument: string | undefined) => void

const READERS2: ReadonlyMap<string, Reader2> = new Map<string, Reader2>([
  ['no-store', (draft) => void (draft.noStore = true)],
  ['no-cache', readNoCache],
  ['private', readPrivate],
  ['public', (draft) => void (draft.public = true)],
  ['must-revalidate', (draft) => void (draft.mustRevalidate = true)],
  ['proxy-revalidate', (draft) => void (draft.proxyRevalidate = true)],
  ['must-understand', (draft) => void (draft.mustUnderstand = true)],
  ['immutable', (draft) => void (draft.immutable = true)],
  ['max-age', (draft, argument) => void (draft.maxAge ??= seconds2(argument))],
  ['s-maxage', (draft, argument) => void (draft.sMaxage ??= seconds2(argument))],
  ['stale-while-revalidate', (draft, argument) => void (draft.staleWhileRevalidate ??= seconds2(argument))],
  ['stale-if-error', (draft, argument) => void (draft.staleIfError ??= seconds2(argument))],
])

/** An ill-formed lifetime is none: the response counts as stale (RFC 9111 section 4.2.1). */
function seconds2(argument: string | undefined): number {
  return argument === undefined ? 0 : (parseDeltaSeconds(argument) ?? 0)
}

function readNoCache(draft: Draft2, argument: string | undefined): void {
  const names = fieldNames(argument)
  if (names === undefined) draft.noCache = true
  else draft.noCacheFields = [...draft.noCacheFields, ...names]
}

function readPrivate(draft: Draft2, argument: string | undefined): void {
  const names = fieldNames(argument)
  if (names === undefined) draft.private = true
  else draft.privateFields = [...draft.privateFields, ...names]
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/

/** Undefined where the argument is not a list of field names: then the whole response is meant, the safe reading. */
function fieldNames(argument: string | undefined): string[] | undefined {
  if (argument === undefined) return undefined
  const names = argument
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  return names.length > 0 && names.every((name) => TOKEN.test(name)) ? names : undefined
}

/**
 * The directives of the first valid targeted field, which then stand in for Cache-Control and Expires (RFC 9213 section
 * 2.2). A field that is empty or does not parse is as if it were absent (section 2.1).
 */
export function targetedDirectives(headers: HeaderList, targets: readonly string[]): ResponseDirectives | undefined {
  for (const name of targets) {
    const value = joinedField(headers, name)
    const dictionary = value === undefined ? undefined : parse(value)
    if (dictionary !== undefined && dictionary.size > 0) return read(dictionary)
  }
  return undefined
}

function parse(value: string): Dictionary | undefined {
  try {
    return parseDictionary(value)
  } catch {
    return undefined
  }
}

/** Parameters are ignored. A value of the wrong type never lengthens a lifetime nor lifts a prohibition. */
function read(dictionary: Dictionary): ResponseDirectives {
  const reader = responseDirectiveReader()
  for (const [name, member] of dictionary) {
    if (isInnerList(member)) reader.read(name, '')
    else if (member[0] !== false) reader.read(name, argumentOf(name, member[0]))
  }
  return reader.result()
}

/** Lifetimes are Integers: a String that looks like one is as ill-formed as any other. */
const LIFETIMES = new Set(['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error'])

function argumentOf(name: string, value: unknown): string | undefined {
  if (value === true) return undefined
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && !LIFETIMES.has(name) ? value : ''
}
