import type { HeaderList } from './contract.js'
import { hasField } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'

const NAMES = ['set-cookie', 'set-cookie2']

/**
 * Cookie fields that are left out of the stored response: by the route, or by `no-cache="Set-Cookie"` (RFC 9111
 * section 7.3).
 */
export function strippedCookies(policy: HttpPolicy): readonly string[] {
  return policy.setCookie === 'strip' ? NAMES : []
}

/** A cookie is for one client: stored, it would be given to all of them. */
export function refusesCookies(headers: HeaderList, qualified: readonly string[], policy: HttpPolicy): boolean {
  if (policy.setCookie !== 'refuse') return false
  return NAMES.some((name) => hasField(headers, name) && !qualified.includes(name))
}
