import { DURATION_RULE, type Duration, durationMs } from '../duration.js'

/** What a route says about its responses as HTTP. */
export interface HttpOptions {
  /**
   * Lifetime: seconds, or `'500ms' | '30s' | '5m' | '2h' | '1d'`; 0 keeps the entry until it is evicted. By status:
   * `{ 200: '5m', 404: '10s' }`. Left out, the handler's own Cache-Control or Expires counts, and where it has none
   * `REDIS_DEFAULT_TTL`.
   */
  ttl?: Duration | Readonly<Record<number, Duration>> | undefined
  /** How long after its lifetime an entry may be served while it is refreshed in the background (RFC 5861). Default 0. */
  staleWhileRevalidate?: Duration | undefined
  /** How long after its lifetime an entry may stand in for a failing handler: a throw, 500, 502, 503 or 504 (RFC 5861). Default 0. */
  staleIfError?: Duration | undefined
  /** Shortens each lifetime by a random part of up to this fraction (0 to 1), so that entries do not expire together. Default 0. */
  jitter?: number | undefined
  /** The last part of the lifetime (0 to 1) in which a hit may refresh the entry in the background, the likelier the later. Default 0. */
  earlyRefresh?: number | undefined
  /** Statuses that are stored. Default `[200]`, or those that `ttl` names. */
  statuses?: readonly number[] | undefined
  /** A body over this many bytes is served whole and not stored. Default 10 MiB. */
  maxBodyBytes?: number | undefined
  /** Header fields over this many bytes are served and the response is not stored. Default 8 KiB. */
  maxHeaderBytes?: number | undefined
  /** `ignore`: a client's Cache-Control cannot make the handler run (RFC 9111 section 5.2.1). Default `honour`. */
  clientDirectives?: 'honour' | 'ignore' | undefined
  /** Request fields that select the response, as `Vary` names them. Those that responses name are learned. */
  vary?: string | readonly string[] | undefined
  /** `shared`: you assert that credentials make no difference to this route's responses. Default `bypass` (RFC 9111 section 3.5); with `per` each principal has its own. */
  auth?: 'bypass' | 'shared' | undefined
  /** A response with Set-Cookie: `refuse` to store it (default), or `strip` the field and store the rest. */
  setCookie?: 'refuse' | 'strip' | undefined
  /** Make a weak ETag from the body where the handler gave none. Default true. */
  etag?: boolean | undefined
  /** Send `X-Redis-Cache: HIT | MISS | BYPASS`. Default true. */
  statusHeader?: boolean | undefined
}

export interface HttpPolicy {
  /** Lifetime by status; `default` for all that have none of their own. Undefined: the handler's fields govern. Infinity: until evicted. */
  readonly ttlMs: { readonly default: number | undefined; readonly byStatus: ReadonlyMap<number, number> } | undefined
  /** For responses that say nothing on a route that says nothing. Infinity: until evicted. */
  readonly defaultTtlMs: number
  readonly swrMs: number
  readonly sieMs: number
  readonly jitter: number
  readonly earlyRefresh: number
  readonly statuses: ReadonlySet<number>
  readonly maxBodyBytes: number
  readonly maxHeaderBytes: number
  readonly honourDirectives: boolean
  /** Lower case, sorted. */
  readonly vary: readonly string[]
  /** Entries are one principal's: stored though the request has credentials, and said to be `private`. */
  readonly personal: boolean
  readonly authShared: boolean
  readonly setCookie: 'refuse' | 'strip'
  readonly etag: boolean
  readonly statusHeader: boolean
}

export const DEFAULT_MAX_BODY_BYTES = 10 * 1024 * 1024
export const DEFAULT_MAX_HEADER_BYTES = 8 * 1024

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** Resolves options once; every problem goes into `problems`. */
export function resolveHttpPolicy(
  options: HttpOptions,
  context: { readonly personal: boolean; readonly defaultTtlMs: number },
  problems: string[],
): HttpPolicy {
  const ttlMs = resolveTtl(options.ttl, problems)
  return {
    ttlMs,
    defaultTtlMs: endless(context.defaultTtlMs),
    swrMs: duration('staleWhileRevalidate', options.staleWhileRevalidate, problems),
    sieMs: duration('staleIfError', options.staleIfError, problems),
    jitter: fraction('jitter', options.jitter, problems),
    earlyRefresh: fraction('earlyRefresh', options.earlyRefresh, problems),
    statuses: resolveStatuses(options.statuses, ttlMs, problems),
    maxBodyBytes: bytes('maxBodyBytes', options.maxBodyBytes, DEFAULT_MAX_BODY_BYTES, problems),
    maxHeaderBytes: bytes('maxHeaderBytes', options.maxHeaderBytes, DEFAULT_MAX_HEADER_BYTES, problems),
    honourDirectives: choice('clientDirectives', options.clientDirectives, ['honour', 'ignore'], problems) === 'honour',
    vary: resolveVary(options.vary, problems),
    personal: context.personal,
    authShared: choice('auth', options.auth, ['bypass', 'shared'], problems) === 'shared',
    setCookie: choice('setCookie', options.setCookie, ['refuse', 'strip'], problems),
    etag: flag('etag', options.etag, problems),
    statusHeader: flag('statusHeader', options.statusHeader, problems),
  }
}

function resolveTtl(ttl: HttpOptions['ttl'], problems: string[]): HttpPolicy['ttlMs'] {
  if (ttl === undefined) return undefined
  if (typeof ttl !== 'object' || ttl === null) return { default: endless(duration('ttl', ttl, problems)), byStatus: new Map() }
  const byStatus = new Map(Object.entries(ttl).map(([status, own]) => [Number(status), endless(duration(`ttl.${status}`, own, problems))]))
  for (const status of byStatus.keys()) checkStatus('ttl', status, problems)
  if (byStatus.size === 0) problems.push('ttl: names no status')
  return { default: undefined, byStatus }
}

function endless(ms: number): number {
  return ms === 0 ? Infinity : ms
}

function resolveStatuses(statuses: HttpOptions['statuses'], ttlMs: HttpPolicy['ttlMs'], problems: string[]): ReadonlySet<number> {
  if (statuses === undefined) return new Set(ttlMs !== undefined && ttlMs.byStatus.size > 0 ? ttlMs.byStatus.keys() : [200])
  if (!Array.isArray(statuses)) {
    problems.push('statuses: must be a list of numbers')
    return new Set()
  }
  for (const status of statuses) checkStatus('statuses', status, problems)
  return new Set(statuses)
}

/** 206 is a part and 304 is about another response: neither answers a request by itself (RFC 9111 section 3). */
function checkStatus(name: string, status: unknown, problems: string[]): void {
  const final = typeof status === 'number' && Number.isInteger(status) && status >= 200 && status <= 599
  if (!final || status === 206 || status === 304) problems.push(`${name}: ${String(status)} is not a status that can be stored`)
}

function resolveVary(vary: HttpOptions['vary'], problems: string[]): readonly string[] {
  const names: readonly unknown[] = vary === undefined ? [] : Array.isArray(vary) ? vary : [vary]
  for (const name of names) {
    if (typeof name !== 'string' || !FIELD_NAME.test(name)) problems.push(`vary: '${String(name)}' is not the name of a header field`)
    else if (name === '*') problems.push("vary: '*' means that no stored response can answer; leave the cache off this route")
  }
  return [...new Set(names.map((name) => String(name).toLowerCase()))].sort()
}

function duration(name: string, value: unknown, problems: string[]): number {
  if (value === undefined) return 0
  const ms = durationMs(value)
  if (ms === undefined) problems.push(`${name}: ${typeof value === 'string' ? `'${value}'` : String(value)} is not a duration; give ${DURATION_RULE}`)
  return ms ?? 0
}

function fraction(name: string, value: unknown, problems: string[]): number {
  if (value === undefined) return 0
  if (typeof value === 'number' && value >= 0 && value <= 1) return value
  problems.push(`${name}: ${String(value)} is not a fraction from 0 to 1`)
  return 0
}

function bytes(name: string, value: unknown, fallback: number, problems: string[]): number {
  if (value === undefined) return fallback
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value
  problems.push(`${name}: ${String(value)} is not a whole number of bytes`)
  return fallback
}

function flag(name: string, value: unknown, problems: string[]): boolean {
  if (value !== undefined && typeof value !== 'boolean') problems.push(`${name}: ${String(value)} is neither true nor false`)
  return value !== false
}

/** The first choice is the default. */
function choice<T extends string>(name: string, value: unknown, choices: readonly [T, ...T[]], problems: string[]): T {
  const chosen = choices.find((one) => one === value)
  if (value !== undefined && chosen === undefined) problems.push(`${name}: ${String(value)} is not one of ${choices.join(', ')}`)
  return chosen ?? choices[0]
}
