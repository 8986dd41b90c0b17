import { createHash } from 'node:crypto'

/*
 * How text becomes part of a key. Three rules keep it injective:
 *   1. a percent-encoded octet stays one, in its normal form (RFC 3986 section 6.2.2: upper-case hex; unreserved
 *      characters decoded), so that equivalent URIs are equal and `%2F` is never `/`;
 *   2. every other character outside the safe set becomes `!hh` (ASCII) or `!uhhhh` (a UTF-16 code unit);
 *   3. `!` itself is not safe.
 * The safe sets leave out what separates (`? & = |` where they do), braces (hash tags), glob characters, quotes,
 * spaces and controls.
 */

const PLAIN_PATH = /^[A-Za-z0-9\-._~/@:$&'()+,;=]*$/
const PLAIN_QUERY = /^[A-Za-z0-9\-._~/@:$'()+,;=]*$/
const PLAIN_PART = /^[A-Za-z0-9\-._~@$]*$/

const UNSAFE_IN_PATH = /%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~/@:$&'()+,;=]/g
const UNSAFE_IN_QUERY = /%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~/@:$'()+,;=]/g
const UNSAFE_IN_PART = /[^A-Za-z0-9\-._~@$]/g

const UNRESERVED = /[A-Za-z0-9\-._~]/

function escapeUnit(unit: string): string {
  const code = unit.charCodeAt(0)
  return code < 0x80 ? `!${hex(code, 2)}` : `!u${hex(code, 4)}`
}

function hex(code: number, digits: number): string {
  return code.toString(16).toUpperCase().padStart(digits, '0')
}

function normaliseUri(match: string): string {
  if (match.length !== 3) return escapeUnit(match)
  const decoded = String.fromCharCode(Number.parseInt(match.slice(1), 16))
  return UNRESERVED.test(decoded) ? decoded : match.toUpperCase()
}

/** A path as the client sent it; it always begins with a slash. */
export function encodePath(path: string): string {
  const absolute = path.charCodeAt(0) === 0x2f ? path : `/${path}`
  return PLAIN_PATH.test(absolute) ? absolute : absolute.replace(UNSAFE_IN_PATH, normaliseUri)
}

/** One `name=value` pair of a query as the client sent it. */
export function encodePair(pair: string): string {
  return PLAIN_QUERY.test(pair) ? pair : pair.replace(UNSAFE_IN_QUERY, normaliseUri)
}

/** Text that is not part of a URI: a key part, a group name, a header value. `%` is a character like any other. */
export function encodePart(text: string): string {
  return PLAIN_PART.test(text) ? text : text.replace(UNSAFE_IN_PART, escapeUnit)
}

/** SHA-256, base64url. Digests are never cut where they stand for a key. */
export function digest(text: string): string {
  // UTF-16 and not UTF-8: lone surrogates all become the same replacement character in UTF-8.
  return createHash('sha256').update(text, 'utf16le').digest('base64url')
}

/** Longer keys are digested; long enough that ordinary URLs stay readable in Redis. */
export const KEY_MAX = 512
const READABLE_HEAD = 80

/** `#` is in no safe set, so a digested key is never equal to a readable one. */
export function bounded(key: string): string {
  return key.length <= KEY_MAX ? key : `${key.slice(0, READABLE_HEAD)}#${digest(key)}`
}
