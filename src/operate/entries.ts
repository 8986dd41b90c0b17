import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import type { Redis } from '../create-redis.js'
import { noneIfUnavailable } from '../errors.js'
import { isNegative, storedBytes } from '../data/stored-value.js'
import { allows, type Entry, type EntryHead, type GroupStamp, headOf, isSoftened, usefulUntil } from '../store/entry.js'
import type { StoredHead } from '../store/store.js'
import { clockTime } from './groups.js'
import { groupName, type GroupName, showGroup } from '../cache/names.js'
import { type Page, type PageRequest, scanPage } from './pages.js'

/**
 * - `fresh`: answers requests
 * - `stale`: answers within `staleWhileRevalidate`, while it is renewed
 * - `error`: answers only in place of a failure (`staleIfError`)
 * - `expired`: past all of that
 * - `invalid`: one of its groups was invalidated, was lost, or cannot be read now
 */
export type EntryState = 'fresh' | 'stale' | 'error' | 'expired' | 'invalid'

/** An entry in a list. Times are milliseconds. */
export interface EntrySummary {
  /** As `show`, `evict` and the page take it: without prefix. */
  readonly key: string
  readonly kind: Entry['kind']
  /** HTTP status; 0 for values. */
  readonly status: number
  readonly state: EntryState
  /** Why it is in this state, in words. */
  readonly reasons: readonly string[]
  readonly storedAt: number
  readonly ageMs: number
  /** Negative: stale for so long. null: until it is evicted. */
  readonly freshForMs: number | null
  readonly bodyBytes: number
  readonly groups: readonly GroupName[]
}

/** One group of an entry, and what it says about it. */
export interface EntryGroup extends GroupName {
  readonly allows: boolean
  /** Entries that were loaded before are not valid. Milliseconds since the epoch; null where the stamp is missing. */
  readonly invalidatedAt: number | null
}

/** Everything about one entry but its body. */
export interface EntryDetail extends Omit<EntrySummary, 'groups'> {
  /** The name of the key in Redis. */
  readonly redisKey: string
  readonly groups: readonly EntryGroup[]
  /** null: without end. */
  readonly staleForMs: number | null
  readonly errorForMs: number | null
  readonly softened: boolean
  /** Whether a request is filling the key now. */
  readonly filling: boolean
  /** Response fields, or what a value says about its form. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** When the handler or loader ran that made it. */
  readonly loadedAt: number
}

/** The body of an entry, as text where it is text. */
export interface EntryBody {
  readonly contentType: string
  /** Bytes after decompression. */
  readonly bytes: number
  /** JSON is indented. Other than text: base64. */
  readonly text: string
  readonly isText: boolean
  /** Only the first part is given. */
  readonly truncated: boolean
}

/** Bytes of a body that are shown. */
const BODY_SHOWN_MAX = 256 * 1024

/** A page of the entries whose keys begin with a text. */
export async function listEntries(redis: Redis, request: PageRequest): Promise<Page<EntrySummary>> {
  const { items: keys, ...page } = await scanPage(redis, 'entries', request)
  const stored = await redis.scope.inspect.heads(keys)
  const now = redis.scope.now()
  const items = keys.flatMap((key, index) => {
    const one = stored[index]
    return one === undefined ? [] : [summaryOf(key, one.head, stampsOf(one.head, one.stamps), now)]
  })
  return { ...page, items }
}

/** Empty where they cannot be read. */
type Stamps = ReadonlyMap<string, GroupStamp | undefined>

function stampsOf({ groups }: Pick<EntryHead, 'groups'>, stamps: StoredHead['stamps']): Stamps {
  return new Map(stamps === undefined ? [] : groups.map((group, index) => [group, stamps[index]]))
}

function summaryOf(key: string, head: EntryHead, stamps: Stamps, now: number): EntrySummary {
  const { kind, status, storedAt, initialAgeMs, freshUntil, bodyBytes, groups } = head
  return {
    ...{ key, kind, status, storedAt, bodyBytes },
    ...judge(head, stamps, now),
    ageMs: Math.max(0, initialAgeMs + now - storedAt),
    freshForMs: remaining(freshUntil, now),
    groups: groups.map(groupName).filter(({ kind: which }) => which !== 'prefix'),
  }
}

function remaining(until: number, now: number): number | null {
  return until === Infinity ? null : until - now
}

function judge(head: EntryHead, stamps: Stamps, now: number): { state: EntryState; reasons: readonly string[] } {
  if (stamps.size === 0 && head.groups.length > 0)
    return { state: 'invalid', reasons: ['a primary with one of its groups does not answer'] }
  const invalid = head.groups.flatMap((group) => problemOf(head, group, stamps.get(group)))
  if (invalid.length > 0) return { state: 'invalid', reasons: invalid }
  if (now >= usefulUntil(head)) return { state: 'expired', reasons: ['its lifetime has ended'] }
  const softened = softenedBy(head, stamps)
  if (now < head.freshUntil && !softened) return { state: 'fresh', reasons: ['within its lifetime'] }
  const why = softened ? 'it was evicted softly' : 'its lifetime has ended'
  if (now < head.staleUntil) return { state: 'stale', reasons: [`${why}; served while it is refreshed`] }
  if (now < head.errorUntil) return { state: 'error', reasons: [`${why}; served only if its handler fails`] }
  return { state: 'expired', reasons: [why] }
}

function softenedBy(head: EntryHead, stamps: Stamps): boolean {
  const { groups } = head
  return isSoftened(
    head,
    groups,
    groups.map((group) => stamps.get(group)),
  )
}

function problemOf(head: EntryHead, group: string, stamp: GroupStamp | undefined): readonly string[] {
  if (allows(head, group, stamp)) return []
  const name = showGroup(group)
  if (stamp === undefined) return [`${name} no longer has a stamp, so it may have been invalidated`]
  if (stamp.incarnation !== head.incarnation) return [`the clock of the prefix was lost since it was stored (${name})`]
  return [`${name} was invalidated at ${new Date(clockTime(stamp.hard)).toISOString()}, after it was loaded`]
}

async function groupStampsOf({ scope }: Redis, key: string, groups: readonly string[]): Promise<StoredHead['stamps']> {
  return (await scope.inspect.read([key], groups)).stamps
}

/** One entry; undefined where there is none. */
export async function showEntry(redis: Redis, key: string): Promise<EntryDetail | undefined> {
  const { scope } = redis
  const entry = (await scope.inspect.read([key], [])).entries[0]
  if (entry === undefined) return undefined
  const head = headOf(entry)
  const [found, filling] = await Promise.all([
    groupStampsOf(redis, key, entry.groups).catch(noneIfUnavailable),
    scope.inspect.isLeased(key).catch(() => false),
  ])
  const stamps = stampsOf(entry, found)
  const now = scope.now()
  return {
    ...summaryOf(key, head, stamps, now),
    redisKey: scope.nameOf(key),
    groups: entry.groups.map((group) => ({
      ...groupName(group),
      allows: allows(head, group, stamps.get(group)),
      invalidatedAt: stamps.get(group) === undefined ? null : clockTime(stamps.get(group)?.hard ?? 0),
    })),
    staleForMs: remaining(entry.staleUntil, now),
    errorForMs: remaining(entry.errorUntil, now),
    softened: softenedBy(head, stamps),
    filling,
    headers: pairsOf(entry.headers),
    loadedAt: clockTime(entry.stamp),
  }
}

function pairsOf(headers: readonly string[]): readonly (readonly [string, string])[] {
  return Array.from({ length: headers.length / 2 }, (_, index) => [
    headers[2 * index] ?? '',
    headers[2 * index + 1] ?? '',
  ])
}

/** The body of an entry; undefined where there is none. */
export async function showBody(redis: Redis, key: string): Promise<EntryBody | undefined> {
  const entry = (await redis.scope.inspect.read([key], [])).entries[0]
  if (entry === undefined) return undefined
  if (entry.kind === 'value') return bodyOf(await storedBytes(entry), isNegative(entry) ? 'nothing' : 'value', entry)
  return bodyOf(entry.body, fieldOf(entry, 'content-type') ?? 'application/octet-stream', entry)
}

function fieldOf({ headers }: Entry, name: string): string | undefined {
  return pairsOf(headers).find(([field]) => field.toLowerCase() === name)?.[1]
}

const DECODERS: Readonly<Record<string, (bytes: Buffer, options: { maxOutputLength: number }) => Buffer>> = {
  gzip: gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
}

/** More is not decompressed: damaged or hostile bytes inflate a thousandfold. */
const INFLATED_MAX = 16 * 1024 * 1024

function bodyOf(raw: Buffer, contentType: string, entry: Entry): EntryBody {
  const bytes = decompressed(raw, fieldOf(entry, 'content-encoding'))
  const truncated = bytes.length > BODY_SHOWN_MAX
  const shown = bytes.subarray(0, BODY_SHOWN_MAX)
  const text = textOf(shown, truncated)
  const isText = text !== undefined
  return {
    contentType,
    bytes: bytes.length,
    truncated,
    isText,
    text: text === undefined ? shown.toString('base64') : indented(text),
  }
}

function decompressed(bytes: Buffer, encoding: string | undefined): Buffer {
  const decode = encoding === undefined ? undefined : DECODERS[encoding.trim().toLowerCase()]
  if (decode === undefined) return bytes
  try {
    return decode(bytes, { maxOutputLength: INFLATED_MAX })
  } catch {
    return bytes
  }
}

/** Undefined where the bytes are not UTF-8. A character that was cut at the end is left out. */
function textOf(bytes: Buffer, cut: boolean): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: cut })
    // oxlint-disable-next-line no-control-regex -- control characters mean that it is no text
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

function indented(text: string): string {
  if (!/^\s*[[{]/.test(text)) return text
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2)
  } catch {
    return text
  }
}
