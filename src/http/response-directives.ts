import { parseDeltaSeconds } from './delta-seconds.js'
import { scanDirectives } from './directives.js'
import { memoise } from './memoise.js'

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

type Draft = { -readonly [Name in keyof ResponseDirectives]: ResponseDirectives[Name] }

export interface ResponseDirectiveReader {
  /** `argument` undefined: none; '': ill-formed. */
  read(name: string, argument: string | undefined): void
  result(): ResponseDirectives
}

/** Takes directives one by one, from Cache-Control or from a targeted field (RFC 9213). */
export function responseDirectiveReader(): ResponseDirectiveReader {
  const draft: Draft = { ...NO_RESPONSE_DIRECTIVES }
  return {
    read: (name, argument) => READERS.get(name)?.(draft, argument),
    result: () => Object.freeze(draft),
  }
}

type Reader = (draft: Draft, argument: string | undefined) => void

/** The first of a repeated lifetime counts (RFC 9111 section 4.2.1); of prohibitions, each. */
const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ['no-store', (draft) => void (draft.noStore = true)],
  ['no-cache', readNoCache],
  ['private', readPrivate],
  ['public', (draft) => void (draft.public = true)],
  ['must-revalidate', (draft) => void (draft.mustRevalidate = true)],
  ['proxy-revalidate', (draft) => void (draft.proxyRevalidate = true)],
  ['must-understand', (draft) => void (draft.mustUnderstand = true)],
  ['immutable', (draft) => void (draft.immutable = true)],
  ['max-age', (draft, argument) => void (draft.maxAge ??= seconds(argument))],
  ['s-maxage', (draft, argument) => void (draft.sMaxage ??= seconds(argument))],
  ['stale-while-revalidate', (draft, argument) => void (draft.staleWhileRevalidate ??= seconds(argument))],
  ['stale-if-error', (draft, argument) => void (draft.staleIfError ??= seconds(argument))],
])

/** An ill-formed lifetime is none: the response counts as stale (RFC 9111 section 4.2.1). */
function seconds(argument: string | undefined): number {
  return argument === undefined ? 0 : (parseDeltaSeconds(argument) ?? 0)
}

function readNoCache(draft: Draft, argument: string | undefined): void {
  const names = fieldNames(argument)
  if (names === undefined) draft.noCache = true
  else draft.noCacheFields = [...draft.noCacheFields, ...names]
}

function readPrivate(draft: Draft, argument: string | undefined): void {
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
