import type { ResponseHead } from './contract.js'
import { firstField, joinedField } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'
import { NO_RESPONSE_DIRECTIVES, parseResponseDirectives, type ResponseDirectives } from './response-directives.js'
import { targetedDirectives } from './targeted.js'

/** The directives that govern this cache, and the fields they came with. */
export interface Governing {
  readonly directives: ResponseDirectives
  /** From a targeted field: Cache-Control and Expires do not count (RFC 9213 section 2.2). */
  readonly targeted: boolean
  readonly expires: string | undefined
}

export function governing(response: ResponseHead, policy: HttpPolicy): Governing {
  const targeted = targetedDirectives(response.headers, policy.targets)
  const found = targeted ?? cacheControlOf(response)
  return {
    directives: policy.override === 'all' ? unbound(found) : found,
    targeted: targeted !== undefined,
    expires: targeted === undefined ? firstField(response.headers, 'expires') : undefined,
  }
}

export function cacheControlOf(response: ResponseHead): ResponseDirectives {
  const value = joinedField(response.headers, 'cache-control')
  return value === undefined ? NO_RESPONSE_DIRECTIVES : parseResponseDirectives(value)
}

/** `override: 'all'`: the route's author answers for what the handler forbids. Field names stay forbidden. */
function unbound(directives: ResponseDirectives): ResponseDirectives {
  return {
    ...directives,
    noStore: false,
    private: false,
    noCache: false,
    mustRevalidate: false,
    proxyRevalidate: false,
    mustUnderstand: false,
  }
}
