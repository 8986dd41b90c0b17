import { firstField, type HeaderList } from './fields.js'

/** A Range with one byte range (RFC 9110 section 14.1.2), before it is compared with a length. */
export interface RangeSpec {
  /** Undefined: a suffix, the last `last` bytes. */
  readonly first: number | undefined
  /** Undefined: to the end. */
  readonly last: number | undefined
}

/** Longer than any Range with one part; a longer field has several and is answered with the whole. */
const LENGTH_MAX = 64

const RANGE = /^bytes[ \t]*=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i

/** The one requested range. Undefined: several, another unit, or ill-formed; then Range is ignored (section 14.2). */
export function parseRange(value: string): RangeSpec | undefined {
  const match = value.length > LENGTH_MAX ? null : RANGE.exec(value)
  if (match === null || (match[1] === '' && match[2] === '')) return undefined
  const first = match[1] === '' ? undefined : Number(match[1])
  const last = match[2] === '' ? undefined : Number(match[2])
  return first !== undefined && last !== undefined && last < first ? undefined : { first, last }
}

export interface Slice {
  readonly first: number
  readonly last: number
}

/** The bytes of a representation that a range names; `unsatisfiable` is a 416, `whole` has no form as a 206. */
export function sliceOf(spec: RangeSpec, length: number): Slice | 'unsatisfiable' | 'whole' {
  if (spec.first === undefined) return suffix(spec.last ?? 0, length)
  if (spec.first >= length) return 'unsatisfiable'
  return { first: spec.first, last: Math.min(spec.last ?? length - 1, length - 1) }
}

/** A suffix of an empty representation is satisfiable, but no Content-Range can express it (section 14.1.2). */
function suffix(count: number, length: number): Slice | 'unsatisfiable' | 'whole' {
  if (count === 0) return 'unsatisfiable'
  return length === 0 ? 'whole' : { first: Math.max(0, length - count), last: length - 1 }
}

/** Content-Range of a 206 with one part: `bytes 0-99/1234` (RFC 9110 section 14.4). */
export interface ContentRange extends Slice {
  /** Undefined: `*`, unknown. */
  readonly complete: number | undefined
}

/** The requested range as offsets of the representation; undefined where a stored part lacks some of it. */
export function sliceOfPart(spec: RangeSpec, part: ContentRange): Slice | undefined {
  if (part.complete === undefined && (spec.first === undefined || spec.last === undefined)) return undefined
  const slice = sliceOf(spec, part.complete ?? Infinity)
  if (typeof slice === 'string' || slice.first < part.first || slice.last > part.last) return undefined
  return slice
}

const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i

export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = value === undefined || value.length > LENGTH_MAX ? null : CONTENT_RANGE.exec(value.trim())
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
