import type { HeaderList } from './contract.js'
import { parseDeltaSeconds } from './delta-seconds.js'
import { firstField } from './header-list.js'
import { parseHttpDate } from './http-date.js'

/** Age in milliseconds; the first member counts, and an invalid one is ignored (RFC 9111 section 5.1). */
export function parseAge(value: string | undefined): number {
  if (value === undefined) return 0
  const comma = value.indexOf(',')
  const first = (comma === -1 ? value : value.slice(0, comma)).trim()
  return (parseDeltaSeconds(first) ?? 0) * 1000
}

/** corrected_initial_age of RFC 9111 section 4.2.3: the time the handler took counts. */
export function initialAge(headers: HeaderList, requestedAt: number, receivedAt: number): number {
  const date = parseHttpDate(firstField(headers, 'date'), receivedAt) ?? receivedAt
  const apparent = Math.max(0, receivedAt - date)
  const delay = Math.max(0, receivedAt - requestedAt)
  return Math.max(apparent, parseAge(firstField(headers, 'age')) + delay)
}

interface Aged {
  readonly storedAt: number
  readonly initialAgeMs: number
}

/** current_age of RFC 9111 section 4.2.3, in milliseconds. */
export function currentAge(stored: Aged, now: number): number {
  return stored.initialAgeMs + Math.max(0, now - stored.storedAt)
}
