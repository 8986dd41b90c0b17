/** Content-Range of a 206 with one part: `bytes 0-99/1234` (RFC 9110 section 14.4). */
export interface ContentRange {
  readonly first: number
  readonly last: number
  /** Undefined: `*`, unknown. */
  readonly complete: number | undefined
}

const PATTERN = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i

export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const match = value === undefined || value.length > 64 ? null : PATTERN.exec(value.trim())
  if (match === null) return undefined
  const range = {
    first: Number(match[1]),
    last: Number(match[2]),
    complete: match[3] === '*' ? undefined : Number(match[3]),
  }
  const valid = range.first <= range.last && (range.complete === undefined || range.last < range.complete)
  return valid ? range : undefined
}

export function formatContentRange({ first, last, complete }: ContentRange): string {
  return `bytes ${first}-${last}/${complete ?? '*'}`
}
