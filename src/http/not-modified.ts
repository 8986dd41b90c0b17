import type { HeaderList, Outgoing } from './contract.js'
import { keepFields } from './header-list.js'
import { OWN_STATUS_FIELD } from './stored-fields.js'

/**
 * The fields of a 304 (RFC 9110 section 15.4.5), Age, and what speaks of the cache. No field that describes content.
 */
const FIELDS = new Set([
  'cache-control',
  'content-location',
  'date',
  'etag',
  'expires',
  'vary',
  'last-modified',
  'age',
  'cache-status',
  OWN_STATUS_FIELD,
])

/** The same answer for a client that has it. `more`: lower-case names to keep beside. */
export function toNotModified(headers: HeaderList, more?: string): Outgoing {
  return {
    status: 304,
    headers: keepFields(headers, (name) => FIELDS.has(name) || name === more),
    body: null,
    memo: undefined,
  }
}
