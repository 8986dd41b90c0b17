import type { Entry, EntryKind, Stamp } from './entry.js'

/*
 * Entry format 1, one Redis string, little-endian:
 *
 *   0  u8   format            8  f64 stored at (ms)       40 f64 error until (ms)
 *   1  u8   kind             16  f64 stamp (us)           48 f64 initial age (ms)
 *   2  u16  flags            24  f64 fresh until (ms)     56 u32 length of meta
 *   4  u16  status           32  f64 stale until (ms)     60 u32 length of body
 *   6  u16  zero
 *  64  meta: latin1 lines: family, groups (space between), then name and value of each header field
 *   …  body
 *
 * Fixed offsets let a script compare (8-23: which fill this is) or change (24-31: soft invalidation) an entry
 * without parsing it. The two lengths make a truncated or foreign string recognisable.
 */
export const ENTRY_FORMAT = 1

export const HEAD_BYTES = 64

const FRESH_UNTIL_OFFSET = 24

const KINDS: readonly EntryKind[] = ['response', 'value', 'pass', 'variants']

/** What cannot stand in a line of meta: a line feed, NUL, or a character that latin1 has not. */
const UNSTORABLE = /[\n\0]|[^\0-\xff]/

/** The entry as bytes, or undefined where a header field has characters that HTTP does not allow either. */
export function encodeEntry(entry: Entry): Buffer | undefined {
  const meta = `${entry.family}\n${entry.groups.join(' ')}${entry.headers.length > 0 ? `\n${entry.headers.join('\n')}` : ''}`
  if (entry.headers.some((text) => UNSTORABLE.test(text))) return undefined
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
  bytes.writeUInt16LE(0, 6)
  writeIdentity(bytes, 8, entry)
  bytes.writeDoubleLE(entry.freshUntil, FRESH_UNTIL_OFFSET)
  bytes.writeDoubleLE(entry.staleUntil, 32)
  bytes.writeDoubleLE(entry.errorUntil, 40)
  bytes.writeDoubleLE(entry.initialAgeMs, 48)
  bytes.writeUInt32LE(metaLength, 56)
  bytes.writeUInt32LE(entry.body.length, 60)
}

function writeIdentity(bytes: Buffer, offset: number, entry: Entry): void {
  bytes.writeDoubleLE(entry.storedAt, offset)
  bytes.writeDoubleLE(entry.stamp, offset + 8)
}

/** Bytes 8 to 23 of a stored entry, empty where there is none. */
export function entryIdentity(entry: Entry | undefined): Buffer {
  const bytes = Buffer.alloc(entry === undefined ? 0 : 16)
  if (entry !== undefined) writeIdentity(bytes, 0, entry)
  return bytes
}

/** The entry in these bytes, or undefined: another format, foreign, truncated or corrupt. The body shares their memory. */
export function decodeEntry(bytes: Buffer): Entry | undefined {
  if (bytes.length < HEAD_BYTES || bytes[0] !== ENTRY_FORMAT) return undefined
  const kind = KINDS[bytes[1] as number]
  const bodyStart = HEAD_BYTES + bytes.readUInt32LE(56)
  if (kind === undefined || bodyStart + bytes.readUInt32LE(60) !== bytes.length) return undefined
  const lines = bytes.toString('latin1', HEAD_BYTES, bodyStart).split('\n')
  return lines.length >= 2 && lines.length % 2 === 0 ? readEntry(bytes, kind, lines, bodyStart) : undefined
}

function readEntry(bytes: Buffer, kind: EntryKind, lines: string[], bodyStart: number): Entry | undefined {
  const storedAt = bytes.readDoubleLE(8)
  const stamp = bytes.readDoubleLE(16)
  const freshUntil = bytes.readDoubleLE(FRESH_UNTIL_OFFSET)
  const staleUntil = bytes.readDoubleLE(32)
  const errorUntil = bytes.readDoubleLE(40)
  const initialAgeMs = bytes.readDoubleLE(48)
  if (Number.isNaN(storedAt + stamp + freshUntil + staleUntil + errorUntil + initialAgeMs)) return undefined
  return {
    kind,
    flags: bytes.readUInt16LE(2),
    status: bytes.readUInt16LE(4),
    storedAt,
    stamp,
    freshUntil,
    staleUntil,
    errorUntil,
    initialAgeMs,
    family: lines[0] as string,
    groups: lines[1] === '' ? PREFIX_ONLY : (lines[1] as string).split(' '),
    headers: lines.slice(2),
    body: bytes.subarray(bodyStart),
    memo: undefined,
  }
}

const PREFIX_ONLY: readonly string[] = ['']

/** A group's stamps are text: `<hard>` or `<hard> <soft>`. Undefined where it is neither. */
export function decodeStamp(bytes: Buffer): Stamp | undefined {
  const [hard, soft = '0', ...rest] = bytes.toString('latin1').split(' ')
  const stamp = { hard: Number(hard), soft: Number(soft) }
  return rest.length === 0 && stamp.hard > 0 && stamp.soft >= 0 ? stamp : undefined
}
