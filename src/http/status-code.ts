/** Statuses that are cacheable without explicit freshness (RFC 9110 section 15.1). */
export const HEURISTIC_STATUSES: ReadonlySet<number> = new Set([
  200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501,
])

/**
 * Statuses stored with the handler's own explicit freshness in `app`: those, and redirects (RFC 9111 section 3). Also
 * those whose caching rules are followed here, which is what `must-understand` asks for (section 5.2.2.3).
 */
export const HANDLER_STATUSES: ReadonlySet<number> = new Set([
  200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501,
])

/** What a route stores that names no status. */
export const ROUTE_STATUSES: ReadonlySet<number> = new Set([200])

/** Failures that a stale response may stand in for (RFC 5861 section 4). */
export function isFailure(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504
}

/** What RFC 9111 section 4.4 calls a non-error response. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status < 400
}
