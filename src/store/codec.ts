import type { Entry, EntryKind, GroupStamp, HeaderList, Stamp } from './entry.js'

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
  writeHead(bytes, entry, meta.length)
  bytes.write(meta, HEAD_BYTES, 'latin1')
  entry.body.copy(bytes, HEAD_BYTES + meta.length)
  return bytes
}

function writeHead(bytes: Buffer, entry: Entry, metaLength: number): void {
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
  bytes.writeUInt32LE(metaLength, 72)
  bytes.writeUInt32LE(entry.body.length, 76)
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

/**
 * The entry in these bytes; undefined where they have another format or are foreign, truncated or corrupt, or where a
 * response could not be sent as it stands. The body shares their memory.
 */
export function decodeEntry(bytes: Buffer): Entry | undefined {
  if (bytes.length < HEAD_BYTES || bytes[0] !== ENTRY_FORMAT) return undefined
  const kind = KINDS[bytes[1] ?? -1]
  const bodyStart = HEAD_BYTES + bytes.readUInt32LE(72)
  if (kind === undefined || bodyStart + bytes.readUInt32LE(76) !== bytes.length) return undefined
  const meta = bytes.toString('latin1', HEAD_BYTES, bodyStart)
  if (INVALID_META.test(meta)) return undefined
  const [groups, ownGroups, ...headers] = meta.split('\n')
  if (groups === undefined || ownGroups === undefined || headers.length % 2 !== 0) return undefined
  if (kind === 'response' && !isSendable(bytes.readUInt16LE(4), headers)) return undefined
  return readEntry(bytes, kind, groups, ownGroups, headers, bodyStart)
}

function isSendable(status: number, headers: HeaderList): boolean {
  if (status < 200 || status > 599) return false
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? ''
    if (!FIELD_NAME.test(name) || CONNECTION_FIELD.test(name)) return false
  }
  return true
}

function readEntry(
  bytes: Buffer,
  kind: EntryKind,
  groups: string,
  ownGroups: string,
  headers: HeaderList,
  bodyStart: number,
): Entry | undefined {
  const entry = {
    kind,
    flags: bytes.readUInt16LE(2),
    status: bytes.readUInt16LE(4),
    storedAt: bytes.readDoubleLE(8),
    incarnation: bytes.readDoubleLE(16),
    stamp: bytes.readDoubleLE(24),
    writeStamp: bytes.readDoubleLE(32),
    ownGroups: ownGroups === '' ? NONE : ownGroups.split(' '),
    freshUntil: bytes.readDoubleLE(40),
    staleUntil: bytes.readDoubleLE(48),
    errorUntil: bytes.readDoubleLE(56),
    initialAgeMs: bytes.readDoubleLE(64),
    softened: bytes.readUInt16LE(6) !== 0,
    groups: groups === '' ? PREFIX_ONLY : groups.split(' '),
    headers,
    body: bytes.subarray(bodyStart),
    memo: undefined,
  }
  const sum = entry.storedAt + entry.incarnation + entry.stamp + entry.writeStamp + entry.initialAgeMs
  return Number.isNaN(sum + entry.freshUntil + entry.staleUntil + entry.errorUntil) ? undefined : entry
}

const NONE: readonly string[] = []

const PREFIX_ONLY: readonly string[] = ['']

/** `<incarnation> <hard> <soft>`; undefined for a mark and for anything else. */
export function decodeGroupStamp(text: Buffer | string): GroupStamp | undefined {
  const [, incarnation, hard, soft] = /^(\d+) (\d+) (\d+)$/.exec(String(text)) ?? []
  if (incarnation === undefined || hard === undefined || soft === undefined) return undefined
  return { incarnation: Number(incarnation), hard: Number(hard), soft: Number(soft) }
}

/** `<incarnation> <at>`, which scripts return and take. */
export function decodeStamp(text: Buffer | string): Stamp {
  const [incarnation = NaN, at = NaN] = String(text).split(' ').map(Number)
  return { incarnation, at }
}

export function encodeStamp({ incarnation, at }: Stamp): string {
  return `${incarnation} ${at}`
}
