import { parseHttpDate } from './date.js'
import { matchesNone } from './etag.js'
import { field, filterFields } from './fields.js'
import { ageMs } from './judge.js'
import type { HttpPolicy } from './policy.js'
import { Flag, type HeaderList, type Outgoing, type RequestHead, type RequestPlan, type StoredResponse } from './types.js'

/** The fields of a 304 (RFC 9110 section 15.4.5), beside our own status. */
const NOT_MODIFIED_FIELDS = new Set(['cache-control', 'content-location', 'date', 'etag', 'expires', 'last-modified', 'vary', 'age'])

/** The answer a stored response gives: the miss again, but for the fields that speak about caching. */
export function replay(stored: StoredResponse, plan: RequestPlan, request: RequestHead, policy: HttpPolicy, now: number): Outgoing {
  const headers = [...stored.headers]
  addFreshness(headers, stored, now)
  if (policy.statusHeader) headers.push('x-redis-cache', 'HIT')
  if (plan.conditional && notModified(stored, request, now)) return toNotModified(headers)
  return { status: stored.status, headers, body: stored.body }
}

/** Exactly one of the two ways to tell the age: a countdown where the lifetime is ours, Age where it is the handler's. */
function addFreshness(headers: string[], stored: StoredResponse, now: number): void {
  if ((stored.flags & Flag.generatedCacheControl) !== 0) headers.push('cache-control', countdown(stored.flags, stored.freshUntil, now))
  else if ((stored.flags & Flag.routeGoverned) === 0) headers.push('age', String(Math.floor(ageMs(stored, now) / 1000)))
}

/** `max-age` with what is left, rounded up so that a stored response is never told to be stale from the start. */
export function countdown(flags: number, freshUntil: number, now: number): string {
  const lifetime = freshUntil === Infinity ? 'no-cache' : `max-age=${Math.max(0, Math.ceil((freshUntil - now) / 1000))}`
  return (flags & Flag.personal) === 0 ? lifetime : `private, ${lifetime}`
}

/** RFC 9110 section 13.2.2: If-None-Match decides alone where it is there; only for a 200. */
export function notModified(stored: { readonly status: number; readonly headers: HeaderList; readonly storedAt: number }, request: RequestHead, now: number): boolean {
  if (stored.status !== 200) return false
  const none = request.header('if-none-match')
  if (none !== undefined) return matchesNone(none, field(stored.headers, 'etag'))
  const since = parseHttpDate(request.header('if-modified-since'), now)
  if (since === undefined) return false
  const modified = parseHttpDate(field(stored.headers, 'last-modified') ?? field(stored.headers, 'date'), now)
  return (modified ?? Math.floor(stored.storedAt / 1000) * 1000) <= since
}

/** The same answer without its content. */
export function toNotModified(headers: HeaderList): Outgoing {
  return { status: 304, headers: filterFields(headers, (name) => NOT_MODIFIED_FIELDS.has(name) || name === 'x-redis-cache' || name === 'cache-status'), body: null }
}
