import { hash } from 'node:crypto'

/** 132 bits: two bodies of one URI never share a validator by chance, and none can be made to at a reasonable price. */
const DIGEST_CHARS = 22

/**
 * A weak validator made from the body. Weak, because whatever compresses or re-encodes the answer after us keeps the
 * field (RFC 9110 section 8.8.1).
 */
export function makeEtag(body: Buffer): string {
  return `W/"${hash('sha256', body, 'base64url').slice(0, DIGEST_CHARS)}"`
}

export function isWeak(etag: string): boolean {
  return etag.startsWith('W/')
}

function opaque(etag: string): string {
  return isWeak(etag) ? etag.slice(2) : etag
}

/** Both strong and the same (RFC 9110 section 8.8.3.2). */
export function strongMatch(one: string, other: string): boolean {
  return one === other && !isWeak(one)
}

/** The same opaque tag, weak or not (RFC 9110 section 8.8.3.2). */
export function weakMatch(one: string, other: string): boolean {
  return one === other || opaque(one) === opaque(other)
}

/** Whether an If-None-Match list or `*` names the tag, compared weakly (RFC 9110 section 13.1.2). One pass. */
export function listNames(list: string, etag: string | undefined): boolean {
  if (list === etag) return true
  const value = list.trim()
  if (value === '*') return true
  if (etag === undefined) return false
  let start = 0
  while (start < value.length) {
    const end = memberEnd(value, start)
    const member = value.slice(start, end).trim()
    if (member !== '' && weakMatch(member, etag)) return true
    start = end + 1
  }
  return false
}

/** A comma may stand inside the quotes of an entity-tag; a tag has no escapes (RFC 9110 section 8.8.3). */
function memberEnd(value: string, start: number): number {
  let quoted = false
  for (let index = start; index < value.length; index += 1) {
    const code = value.charCodeAt(index)
    if (code === 0x22) quoted = !quoted
    else if (code === 0x2c && !quoted) return index
  }
  return value.length
}
