import type { HeaderList, RequestPlan } from './contract.js'
import { isWeak, listNames, strongMatch } from './entity-tag.js'
import { firstField } from './header-list.js'
import { parseHttpDate } from './http-date.js'

interface Validated {
  readonly status: number
  readonly headers: HeaderList
  readonly storedAt: number
}

/**
 * Whether the client has this response already (RFC 9110 section 13.2.2, RFC 9111 section 4.3.2): If-None-Match decides
 * alone where it is there, otherwise If-Modified-Since against Last-Modified, Date, or when it was stored.
 */
export function clientHasIt(response: Validated, plan: RequestPlan, etag: string | undefined, now: number): boolean {
  if (plan.ifNoneMatch === undefined && plan.ifModifiedSince === undefined) return false
  if (response.status !== 200 && response.status !== 206) return false
  if (plan.ifNoneMatch !== undefined) return listNames(plan.ifNoneMatch, etag)
  const since = parseHttpDate(plan.ifModifiedSince, now)
  return since !== undefined && lastChange(response, now) <= since
}

/** An HTTP-date has whole seconds; so has what is held against it. */
function lastChange({ headers, storedAt }: Validated, now: number): number {
  const modified =
    parseHttpDate(firstField(headers, 'last-modified'), now) ?? parseHttpDate(firstField(headers, 'date'), now)
  return modified ?? Math.floor(storedAt / 1000) * 1000
}

interface Dated {
  readonly headers: HeaderList
  readonly storedAt: number
}

/**
 * A Last-Modified is a strong validator only when it is at least a second older than the response (section 8.8.2.2).
 */
const STRONG_AFTER_MS = 1000

/**
 * Whether Range counts: without If-Range always, otherwise only when its strong entity-tag or its exact date is that of
 * the representation (RFC 9110 section 13.1.5).
 */
export function rangeApplies(stored: Dated, ifRange: string | undefined, now: number): boolean {
  if (ifRange === undefined) return true
  const condition = ifRange.trim()
  if (condition.startsWith('"') || isWeak(condition)) {
    const etag = firstField(stored.headers, 'etag')
    return etag !== undefined && strongMatch(condition, etag)
  }
  const modified = parseHttpDate(firstField(stored.headers, 'last-modified'), now)
  if (modified === undefined || modified !== parseHttpDate(condition, now)) return false
  const date = parseHttpDate(firstField(stored.headers, 'date'), now) ?? stored.storedAt
  return date - modified >= STRONG_AFTER_MS
}
