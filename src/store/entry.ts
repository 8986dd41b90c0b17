/** Header fields as one flat list: name, value, name, value …; order and repetition kept. */
export type HeaderList = readonly string[]

/**
 * - `response`: status, header fields and body bytes of an HTTP response
 * - `value`: an encoded value of the data cache
 * - `variants`: stands at the key of a path whose entries differ by header fields or principal; names those fields
 */
export type EntryKind = 'response' | 'value' | 'variants'

/**
 * A point of a prefix's logical clock, in microseconds. The incarnation is random and made with the clock: points of
 * two incarnations cannot be compared, because the clock was lost between them.
 */
export interface Stamp {
  readonly incarnation: number
  readonly at: number
}

/** The last hard and the last soft invalidation of a group (0: never). A missing one is `undefined`. */
export interface GroupStamp {
  readonly incarnation: number
  readonly hard: number
  readonly soft: number
}

/**
 * What is stored under one key. Immutable: the memory store returns the same object to every reader.
 * Instants are milliseconds since the epoch; Infinity means no end.
 */
export interface Entry {
  readonly kind: EntryKind
  /** 16 bits whose meaning belongs to the layer that wrote the entry. */
  readonly flags: number
  /** HTTP status; 0 for an entry that is not a response. */
  readonly status: number
  readonly storedAt: number
  /** Incarnation of `stamp` and `writeStamp`. */
  readonly incarnation: number
  /** Logical time read before the handler or loader ran. */
  readonly stamp: number
  /** Logical time of the write-through that stored the entry; `stamp` for all others. */
  readonly writeStamp: number
  /** Groups that were invalidated by the entry's own write-through: compared with `writeStamp`. Usually empty. */
  readonly ownGroups: readonly string[]
  readonly freshUntil: number
  /** May be served stale while it is refreshed, until this instant. */
  readonly staleUntil: number
  /** May be served in place of a failure, until this instant. */
  readonly errorUntil: number
  /** Age of the response when it was stored (RFC 9111 section 4.2.3). */
  readonly initialAgeMs: number
  /** True after a soft eviction by key: usable, but not fresh. See `isSoftened`. */
  readonly softened?: boolean | undefined
  /** Encoded group names. The first is always `''`, the group of the whole prefix. */
  readonly groups: readonly string[]
  readonly headers: HeaderList
  readonly body: Buffer
  /** Facts that a reader derived from this object, kept as long as the object; never stored. */
  memo?: unknown
}

/** The last instant at which an entry can still be used. */
export function usefulUntil(entry: Pick<Entry, 'freshUntil' | 'staleUntil' | 'errorUntil'>): number {
  return Math.max(entry.freshUntil, entry.staleUntil, entry.errorUntil)
}

/** What decides whether the groups of an entry allow it. */
export type Judged = Pick<Entry, 'incarnation' | 'stamp' | 'writeStamp' | 'ownGroups'>

/**
 * The entry under these stamps, with this body. Field by field: a spread of so many takes a microsecond, and makes objects
 * that hits from memory are slow to read.
 */
export function stampedWith(
  entry: Omit<Entry, keyof Judged>,
  { incarnation, stamp, writeStamp, ownGroups }: Judged,
  body: Buffer = entry.body,
): Entry {
  return {
    kind: entry.kind,
    flags: entry.flags,
    status: entry.status,
    storedAt: entry.storedAt,
    incarnation,
    stamp,
    writeStamp,
    ownGroups,
    freshUntil: entry.freshUntil,
    staleUntil: entry.staleUntil,
    errorUntil: entry.errorUntil,
    initialAgeMs: entry.initialAgeMs,
    softened: entry.softened,
    groups: entry.groups,
    headers: entry.headers,
    body,
    memo: entry.memo,
  }
}

/** The point of the clock that counts for one of the entry's groups. */
export function stampFor(entry: Judged, group: string): number {
  return entry.ownGroups.length > 0 && entry.ownGroups.includes(group) ? entry.writeStamp : entry.stamp
}

/**
 * Whether a group allows the entry: its stamp is present, of the same incarnation and not newer than the entry's. An
 * equal stamp is valid. A missing stamp may have been an invalidation, so it allows nothing.
 */
export function allows(entry: Judged, group: string, stamp: GroupStamp | undefined): boolean {
  return stamp !== undefined && stamp.incarnation === entry.incarnation && stamp.hard <= stampFor(entry, group)
}

/** Whether the entry is of use at `now` and all of these groups allow it; `stamps` are in the order of `groups`. */
export function isValid(
  entry: Judged & Pick<Entry, 'freshUntil' | 'staleUntil' | 'errorUntil'>,
  groups: readonly string[],
  stamps: readonly (GroupStamp | undefined)[],
  now: number,
): boolean {
  if (now >= entry.freshUntil && now >= usefulUntil(entry)) return false
  // Loops, not callbacks: this runs at every hit.
  for (let index = 0; index < groups.length; index += 1)
    if (!allows(entry, groups[index] ?? '', stamps[index])) return false
  return true
}

/** Whether the entry was evicted softly, by its key or by one of these groups: valid, but not fresh. */
export function isSoftened(
  entry: Judged & Pick<Entry, 'softened'>,
  groups: readonly string[],
  stamps: readonly (GroupStamp | undefined)[],
): boolean {
  if (entry.softened === true) return true
  for (let index = 0; index < groups.length; index += 1)
    if ((stamps[index]?.soft ?? 0) > stampFor(entry, groups[index] ?? '')) return true
  return false
}

/*
 * Entry format 2, one Redis string, little-endian:
 *
 *   0  u8   format            16 f64 incarnation           48 f64 stale until (ms)
 *   1  u8   kind              24 f64 stamp (us)            56 f64 error until (ms)
 *   2  u16  flags             32 f64 write stamp (us)      64 f64 initial age (ms)
 *   4  u16  status            40 f64 fresh until (ms)      72 u32 length of meta
 *   6  u16  1: softened        8 f64 stored at (ms)        76 u32 length of body
 *  80  meta: latin1 lines: groups (space between), own groups, then name and value of each header field
 *   …  body
 *
 * Fixed offsets let a script compare (8-39: which fill or write this is) or change (6: soft eviction) an entry without
 * parsing it. The two lengths make a truncated or foreign string recognisable.
 */
export const ENTRY_FORMAT = 2

export const HEAD_BYTES = 80

const IDENTITY_OFFSET = 8
const IDENTITY_BYTES = 32

const KINDS: readonly EntryKind[] = ['response', 'value', 'variants']

/** Characters that no field value may have (RFC 9110 section 5.5), and those that latin1 lacks. */
const INVALID_TEXT = /[^\t\x20-\x7e\x80-\xff]/

/** The same for a whole meta block, whose lines end with a line feed. */
const INVALID_META = /[^\t\n\x20-\x7e\x80-\xff]/

const FIELD_NAME = /^[!#$%&'*+\-.^_`|~\w]+$/

/** Fields of one connection (RFC 9110 section 7.6.1): redwell never stores them, and sending one breaks the framing. */
const CONNECTION_FIELD = /^(?:connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade)$/i

/** The entry as bytes; undefined where a header field has characters that HTTP does not allow. */
export function encodeEntry(entry: Entry): Buffer | undefined {
  if (entry.headers.some((text) => INVALID_TEXT.test(text))) return undefined
  const meta = [entry.groups.join(' '), entry.ownGroups.join(' '), ...entry.headers].join('\n')
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + meta.length + entry.body.length)
  bytes[0] = ENTRY_FORMAT
  bytes[1] = KINDS.indexOf(entry.kind)
  bytes.writeUInt16LE(entry.flags, 2)
  bytes.writeUInt16LE(entry.status, 4)
  bytes.writeUInt16LE(entry.softened === true ? 1 : 0, 6)
  writeIdentity(bytes, IDENTITY_OFFSET, entry)
  bytes.writeDoubleLE(entry.freshUntil, 40)
  bytes.writeDoubleLE(entry.staleUntil, 48)
  bytes.writeDoubleLE(entry.errorUntil, 56)
  bytes.writeDoubleLE(entry.initialAgeMs, 64)
  bytes.writeUInt32LE(meta.length, 72)
  bytes.writeUInt32LE(entry.body.length, 76)
  bytes.write(meta, HEAD_BYTES, 'latin1')
  entry.body.copy(bytes, HEAD_BYTES + meta.length)
  return bytes
}

function writeIdentity(bytes: Buffer, offset: number, entry: Entry): void {
  bytes.writeDoubleLE(entry.storedAt, offset)
  bytes.writeDoubleLE(entry.incarnation, offset + 8)
  bytes.writeDoubleLE(entry.stamp, offset + 16)
  bytes.writeDoubleLE(entry.writeStamp, offset + 24)
}

/** Bytes 8 to 39 of a stored entry; empty where there is none. */
export function entryIdentity(entry: Entry | undefined): Buffer {
  const bytes = Buffer.alloc(entry === undefined ? 0 : IDENTITY_BYTES)
  if (entry !== undefined) writeIdentity(bytes, 0, entry)
  return bytes
}

/** The last byte of what identifies the fill or write of an entry. */
export const IDENTITY_END = String(IDENTITY_OFFSET + IDENTITY_BYTES - 1)

/** The same from the first bytes of what is stored, up to that byte; empty where they are no entry. */
export function identityIn(bytes: unknown): Buffer {
  return Buffer.isBuffer(bytes) && bytes[0] === ENTRY_FORMAT ? bytes.subarray(IDENTITY_OFFSET) : Buffer.alloc(0)
}

/**
 * The entry in these bytes; undefined where they have another format or are foreign, truncated or corrupt, or where a
 * response could not be sent as it stands. The body shares their memory.
 */
export function decodeEntry(bytes: Buffer): Entry | undefined {
  if (bytes.length < HEAD_BYTES || bytes[0] !== ENTRY_FORMAT) return undefined
  const bodyStart = HEAD_BYTES + bytes.readUInt32LE(72)
  return bodyStart + bytes.readUInt32LE(76) === bytes.length ? decodeAt(bytes, bodyStart) : undefined
}

/** An entry without its body, for listings. */
export type EntryHead = Omit<Entry, 'body' | 'memo'> & { readonly bodyBytes: number }

/** Bytes that hold the head of nearly every entry. */
export const HEAD_GUESS_BYTES = 4096

/**
 * The head of an entry from its first bytes. `more`: they end within it, so ask again for this many. Undefined where
 * they are no entry. That the body is complete is not known.
 */
export function decodeHead(bytes: Buffer): { readonly head: EntryHead } | { readonly more: number } | undefined {
  if (bytes.length < HEAD_BYTES || bytes[0] !== ENTRY_FORMAT) return undefined
  const bodyStart = HEAD_BYTES + bytes.readUInt32LE(72)
  if (bodyStart > bytes.length) return bytes.length < HEAD_GUESS_BYTES ? undefined : { more: bodyStart }
  const entry = decodeAt(bytes, bodyStart)
  return entry === undefined ? undefined : { head: headOf(entry, bytes.readUInt32LE(76)) }
}

export function headOf({ body, memo: _, ...head }: Entry, bodyBytes = body.length): EntryHead {
  return { ...head, bodyBytes }
}

function decodeAt(bytes: Buffer, bodyStart: number): Entry | undefined {
  const kind = KINDS[bytes[1] ?? -1]
  if (kind === undefined) return undefined
  const meta = bytes.toString('latin1', HEAD_BYTES, bodyStart)
  if (INVALID_META.test(meta)) return undefined
  const [groups, ownGroups, ...headers] = meta.split('\n')
  if (groups === undefined || ownGroups === undefined || headers.length % 2 !== 0) return undefined
  if (kind === 'response' && !isSendable(bytes.readUInt16LE(4), headers)) return undefined
  const entry = new DecodedEntry(
    kind,
    bytes,
    groups === '' ? PREFIX_ONLY : groups.split(' '),
    ownGroups === '' ? NONE : ownGroups.split(' '),
    headers,
    bytes.subarray(bodyStart),
  )
  const sum = entry.storedAt + entry.incarnation + entry.stamp + entry.writeStamp + entry.initialAgeMs
  return Number.isNaN(sum + entry.freshUntil + entry.staleUntil + entry.errorUntil) ? undefined : entry
}

/** A class: V8 takes a literal that is made for every request into the old generation after a while, and its request with it. */
class DecodedEntry implements Entry {
  readonly flags: number
  readonly status: number
  readonly storedAt: number
  readonly incarnation: number
  readonly stamp: number
  readonly writeStamp: number
  readonly freshUntil: number
  readonly staleUntil: number
  readonly errorUntil: number
  readonly initialAgeMs: number
  readonly softened: boolean
  memo: unknown = undefined

  constructor(
    readonly kind: EntryKind,
    head: Buffer,
    readonly groups: readonly string[],
    readonly ownGroups: readonly string[],
    readonly headers: HeaderList,
    readonly body: Buffer,
  ) {
    this.flags = head.readUInt16LE(2)
    this.status = head.readUInt16LE(4)
    this.softened = head.readUInt16LE(6) !== 0
    this.storedAt = head.readDoubleLE(8)
    this.incarnation = head.readDoubleLE(16)
    this.stamp = head.readDoubleLE(24)
    this.writeStamp = head.readDoubleLE(32)
    this.freshUntil = head.readDoubleLE(40)
    this.staleUntil = head.readDoubleLE(48)
    this.errorUntil = head.readDoubleLE(56)
    this.initialAgeMs = head.readDoubleLE(64)
  }
}

/** Heads that are remembered, in two generations of half as many each; longer ones than this are not. */
const HEADS_MAX = 4000
const HEAD_MAX_BYTES = 2048

/** The head of an entry as it was read last: its bytes, and the entry that they stand for. */
interface KnownHead {
  readonly bytes: Buffer
  readonly entry: Entry
}

/**
 * Decodes entries that are read again and again. Most of that work is in texts that are the same each time, so it is
 * not repeated where the bytes of the head are those of the last time. The body is never remembered.
 */
export class EntryDecoder {
  #young = new Map<string, KnownHead>()
  #old = new Map<string, KnownHead>()

  /** As `decodeEntry`; `key` is where the bytes were found. */
  readonly decode = (bytes: Buffer, key: string): Entry | undefined => {
    const known = this.#young.get(key) ?? this.#old.get(key)
    if (known !== undefined && bytes.length >= known.bytes.length) {
      const { length } = known.bytes
      if (known.bytes.compare(bytes, 0, length) === 0) return withBody(known.entry, bytes, length)
    }
    const entry = decodeEntry(bytes)
    if (entry !== undefined) this.#remember(key, bytes, entry)
    return entry
  }

  #remember(key: string, bytes: Buffer, entry: Entry): void {
    const length = bytes.length - entry.body.length
    if (length > HEAD_MAX_BYTES) return
    if (this.#young.size >= HEADS_MAX / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    // Copies: a part of what was read would keep the whole of it.
    const head = Buffer.from(bytes.subarray(0, length))
    this.#young.set(key, {
      bytes: head,
      entry: new DecodedEntry(entry.kind, head, entry.groups, entry.ownGroups, entry.headers, NO_BODY),
    })
  }
}

/** The entry of a known head; undefined where what follows is not as long as the head says. */
function withBody({ kind, groups, ownGroups, headers }: Entry, bytes: Buffer, bodyStart: number): Entry | undefined {
  if (bodyStart + bytes.readUInt32LE(76) !== bytes.length) return undefined
  return new DecodedEntry(kind, bytes, groups, ownGroups, headers, bytes.subarray(bodyStart))
}

const NO_BODY = Buffer.alloc(0)

function isSendable(status: number, headers: HeaderList): boolean {
  if (status < 200 || status > 599) return false
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? ''
    if (!FIELD_NAME.test(name) || CONNECTION_FIELD.test(name)) return false
  }
  return true
}

const NONE: readonly string[] = []

const PREFIX_ONLY: readonly string[] = ['']

/** `<incarnation> <hard> <soft>`; undefined for a mark and for anything else. */
export function decodeGroupStamp(text: Buffer | string): GroupStamp | undefined {
  const [, incarnation, hard, soft] = /^(\d+) (\d+) (\d+)$/.exec(String(text)) ?? []
  if (incarnation === undefined || hard === undefined || soft === undefined) return undefined
  return { incarnation: Number(incarnation), hard: Number(hard), soft: Number(soft) }
}

/** `<incarnation> <at>`, which scripts return. */
export function decodeStamp(reply: unknown): Stamp {
  const [incarnation = NaN, at = NaN] = String(reply).split(' ').map(Number)
  return { incarnation, at }
}
