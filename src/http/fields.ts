/**
 * Header fields as one flat list: name, value, name, value …; names as the handler wrote them, order and repetition
 * kept.
 */
export type HeaderList = readonly string[]

/** Calls `visit` for each field line, in order. An index loop, not an iterator: hits walk their fields as well. */
function forEachField(headers: HeaderList, visit: (name: string, value: string) => void): void {
  for (let index = 0; index < headers.length; index += 2) visit(headers[index] ?? '', headers[index + 1] ?? '')
}

/** Whether a name as sent is `name`, which must be lower case. */
export function isField(own: string, name: string): boolean {
  return own === name || (own.length === name.length && own.toLowerCase() === name)
}

/** The first line of a field. */
export function firstField(headers: HeaderList, name: string): string | undefined {
  for (let index = 0; index < headers.length; index += 2) {
    if (isField(headers[index] ?? '', name)) return headers[index + 1]
  }
  return undefined
}

export function hasField(headers: HeaderList, name: string): boolean {
  return firstField(headers, name) !== undefined
}

/** All lines of a field as one list (RFC 9110 section 5.3); undefined where there is none. */
export function joinedField(headers: HeaderList, name: string): string | undefined {
  let joined: string | undefined
  for (let index = 0; index < headers.length; index += 2) {
    if (!isField(headers[index] ?? '', name)) continue
    const value = headers[index + 1] ?? ''
    joined = joined === undefined ? value : `${joined}, ${value}`
  }
  return joined
}

/** The lines of a field, names included. */
export function linesOf(headers: HeaderList, name: string): string[] {
  const lines: string[] = []
  forEachField(headers, (own, value) => {
    if (isField(own, name)) lines.push(own, value)
  })
  return lines
}

/** The fields whose lower-case name passes; the list itself where all do. */
export function keepFields(headers: HeaderList, keep: (name: string) => boolean): HeaderList {
  const kept: string[] = []
  forEachField(headers, (name, value) => {
    if (keep(name.toLowerCase())) kept.push(name, value)
  })
  return kept.length === headers.length ? headers : kept
}

/** `update` over `base`, field by field: at its place where the base has it, otherwise at the end. */
export function mergeFields(base: HeaderList, update: HeaderList): HeaderList {
  const merged: string[] = []
  const done = new Set<string>()
  forEachField(base, (name, value) => {
    const lower = name.toLowerCase()
    if (done.has(lower)) return
    const lines = linesOf(update, lower)
    if (lines.length === 0) return void merged.push(name, value)
    done.add(lower)
    merged.push(...lines)
  })
  return [...merged, ...keepFields(update, (name) => !done.has(name))]
}

/**
 * Adds members to a list-valued field. They join its last line, so that a framework that sets fields by name keeps all
 * of them; without one they are a line at the end.
 */
export function appendMembers(headers: HeaderList, name: string, members: string): HeaderList {
  const lower = name.toLowerCase()
  const last = headers.findLastIndex((text, index) => index % 2 === 0 && isField(text, lower))
  if (last === -1) return [...headers, name, members]
  return headers.map((text, index) => (index === last + 1 ? `${text}, ${members}` : text))
}

/** A token, such as the name of a field (RFC 9110 sections 5.1 and 5.6.2). */
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** Members of a comma-separated list of tokens: lower case, empty ones left out. */
export function listMembers(value: string | undefined): string[] {
  const members = value?.toLowerCase().split(',') ?? []
  return members.map((member) => member.trim()).filter((member) => member !== '')
}

/** What a field line has in addition to its name and value: colon, space, CR, LF. */
const LINE_OVERHEAD = 4

/** Bytes of header fields as HTTP/1.1 writes them. */
export function fieldBytes(headers: HeaderList): number {
  let bytes = 0
  for (const text of headers) bytes += text.length
  return bytes + (headers.length / 2) * LINE_OVERHEAD
}

/**
 * Fields by which servers identify users: credentials, API keys, and identities that proxies forward. The
 * response of a handler that reads one is for one client.
 */
export const CREDENTIALS: readonly string[] = [
  ...['authorization', 'cookie', 'proxy-authorization'],
  ...['api-key', 'apikey', 'x-api-key', 'x-apikey', 'x-api-token', 'x-access-token', 'x-auth-token', 'x-session-token'],
  ...['remote-user', 'x-remote-user', 'x-forwarded-user', 'x-forwarded-email', 'x-forwarded-preferred-username'],
  ...['x-forwarded-groups', 'x-forwarded-access-token', 'x-auth-request-user', 'x-auth-request-email'],
  ...['x-auth-request-access-token', 'x-webauth-user', 'x-jwt-assertion', 'x-client-cert', 'x-ssl-client-cert'],
  ...['x-forwarded-client-cert', 'client-cert'],
  ...['cf-access-jwt-assertion', 'cf-access-authenticated-user-email'],
  ...['x-goog-iap-jwt-assertion', 'x-goog-authenticated-user-email', 'x-goog-authenticated-user-id'],
  ...['x-amzn-oidc-data', 'x-amzn-oidc-identity', 'x-amzn-oidc-accesstoken'],
  ...['x-ms-client-principal', 'x-ms-client-principal-id', 'x-ms-client-principal-name'],
]

/** What stands for the address of the client's connection among names of fields. */
export const CLIENT_ADDRESS = ':address'

/** The address of the client: of its connection, and as proxies forward it. The response of a handler that reads it is for one client. */
export const ADDRESSES: readonly string[] = [
  CLIENT_ADDRESS,
  ...['forwarded', 'x-forwarded-for', 'x-original-forwarded-for', 'x-real-ip', 'x-client-ip', 'client-ip'],
  ...['true-client-ip', 'x-cluster-client-ip', 'cf-connecting-ip', 'cf-connecting-ipv6', 'fastly-client-ip'],
  ...['fly-client-ip', 'x-appengine-user-ip', 'x-azure-clientip', 'x-azure-socketip', 'x-envoy-external-address'],
  ...['x-vercel-forwarded-for', 'x-nf-client-connection-ip', 'cloudfront-viewer-address'],
]

/** The field only this cache reads; it never leaves the server. */
export const OWN_TARGET = 'redis-cache-control'

/** The status field that only this cache writes. A handler's Cache-Status describes caches behind it and is kept. */
export const OWN_STATUS_FIELD = 'x-redis-cache'

/** 2^31: the value of any larger number of seconds (RFC 9111 section 1.2.2). */
export const MAX_SECONDS = 2 ** 31

/** Digits and nothing else, as seconds; undefined where it is anything else. */
export function parseDeltaSeconds(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Math.min(Number(text), MAX_SECONDS) : undefined
}

/** Content-Range of a 206 with one part: `bytes 0-99/1234` (RFC 9110 section 14.4). */
export interface ContentRange {
  readonly first: number
  readonly last: number
  /** Undefined: `*`, unknown. */
  readonly complete: number | undefined
}

/** Longer than any Content-Range whose numbers count. */
const CONTENT_RANGE_MAX = 64

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i

export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = value === undefined || value.length > CONTENT_RANGE_MAX ? null : CONTENT_RANGE.exec(value.trim())
  if (match === null) return undefined
  const complete = match[3] === '*' ? undefined : Number(match[3])
  const range = { first: Number(match[1]), last: Number(match[2]), complete }
  return range.first <= range.last && (complete === undefined || range.last < complete) ? range : undefined
}

export function contentRangeOf(headers: HeaderList): ContentRange | undefined {
  return parseContentRange(firstField(headers, 'content-range'))
}

export function formatContentRange({ first, last, complete }: ContentRange): string {
  return `bytes ${first}-${last}/${complete ?? '*'}`
}

/** Longer texts are not worth keeping: clients choose them, and they seldom come twice. */
const KEY_MAX = 256

/** Enough for the spellings of real clients and routes; bounds what hostile clients can make the process keep. */
const ENTRIES_MAX = 256

/** A pure function of a text that remembers recent texts. The results must be immutable. */
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

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/** The three formats of RFC 9110 section 5.6.7, in lower case: IMF-fixdate, RFC 850, asctime. */
const DATES = [
  /^(?:mon|tue|wed|thu|fri|sat|sun), (?<day>\d{2}) (?<month>[a-z]{3}) (?<year>\d{4}) (?<time>\d{2}:\d{2}:\d{2}) gmt$/,
  /^(?:mon|tues|wednes|thurs|fri|satur|sun)day, (?<day>\d{2})-(?<month>[a-z]{3})-(?<year>\d{2}) (?<time>\d{2}:\d{2}:\d{2}) gmt$/,
  /^(?:mon|tue|wed|thu|fri|sat|sun) (?<month>[a-z]{3}) (?<day>[ \d]\d) (?<time>\d{2}:\d{2}:\d{2}) (?<year>\d{4})$/,
]

/** The longest date is an RFC 850 one on a Wednesday; this leaves room for white space around it. */
const DATE_LENGTH_MAX = 64

/**
 * An HTTP-date in any of its three formats, in any case (RFC 9111 section 4.2), GMT only; milliseconds, or undefined.
 * `now` decides the century of two-digit years.
 */
export function parseHttpDate(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value.length > DATE_LENGTH_MAX) return undefined
  const text = value.trim().toLowerCase()
  for (const format of DATES) {
    const { day = '', month = '', year = '', time = '' } = format.exec(text)?.groups ?? {}
    const [hour = 0, minute = 0, second = 0] = time.split(':').map(Number)
    const index = MONTHS.indexOf(month)
    if (index === -1 || hour > 23 || minute > 59 || second > 60) continue
    const midnight = new Date(0).setUTCFullYear(
      year.length === 2 ? fullYear(Number(year), now) : Number(year),
      index,
      Number(day),
    )
    if (new Date(midnight).getUTCDate() !== Number(day)) return undefined
    return midnight + ((hour * 60 + minute) * 60 + second) * 1000
  }
  return undefined
}

/** The first Date, or another date field, in milliseconds; undefined where there is none or it is invalid. */
export function dateOf(headers: HeaderList, now: number, name = 'date'): number | undefined {
  return parseHttpDate(firstField(headers, name), now)
}

/** A two-digit year over 50 years ahead is the last past year with those digits (RFC 9110 section 5.6.7). */
function fullYear(year: number, now: number): number {
  const thisYear = new Date(now).getUTCFullYear()
  const full = thisYear - (thisYear % 100) + year
  return full > thisYear + 50 ? full - 100 : full
}

let lastSecond = NaN

let lastDate = ''

/** IMF-fixdate. Formatted once per second: all answers of that second share the text. */
export function formatHttpDate(ms: number): string {
  const second = Math.floor(ms / 1000)
  if (second === lastSecond) return lastDate
  lastDate = new Date(second * 1000).toUTCString()
  lastSecond = second
  return lastDate
}
