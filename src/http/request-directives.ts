import { parseDeltaSeconds } from './delta-seconds.js'
import { scanDirectives } from './directives.js'
import { memoise } from './memoise.js'

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
