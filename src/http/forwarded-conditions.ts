import type { RequestPlan, StoredResponse, Verdict } from './contract.js'
import { Flag, hasFlag } from './flag.js'
import { firstField } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'

/** The conditional fields the handler's request is to have in place of the client's. Undefined: none. */
export interface Conditions {
  readonly ifNoneMatch: string | undefined
  readonly ifModifiedSince: string | undefined
}

const NONE: Conditions = Object.freeze({ ifNoneMatch: undefined, ifModifiedSince: undefined })

/** What the handler may be asked about a stored response with: validators it made itself (RFC 9111 section 4.3.1). */
export function handlerValidators(stored: StoredResponse): Conditions {
  if (!hasFlag(stored.flags, Flag.validators)) return NONE
  return {
    ifNoneMatch: hasFlag(stored.flags, Flag.generatedEtag) ? undefined : firstField(stored.headers, 'etag'),
    ifModifiedSince: firstField(stored.headers, 'last-modified'),
  }
}

/**
 * The conditions a handler run gets; `as-is`: the client's own. A handler that answered the client's condition with
 * 304 would leave nothing to store, so on a miss it does not see them. `others`: stored variants of the URI that the
 * request does not select.
 */
export function forwardedConditions(
  plan: RequestPlan,
  policy: HttpPolicy,
  stored?: StoredResponse,
  verdict?: Verdict,
  others: readonly StoredResponse[] = [],
): Conditions | 'as-is' {
  if (plan.outcome === 'bypass') return 'as-is'
  if (stored !== undefined && verdict?.conditional === true) return handlerValidators(stored)
  if (stored === undefined && policy.validateOtherVariants && others.length > 0) return tagsOf(others)
  return stored === undefined && policy.forwardConditionals ? 'as-is' : NONE
}

/** RFC 9111 section 4.1: a 304 tells which of them answers this request. */
function tagsOf(others: readonly StoredResponse[]): Conditions {
  const tags = others.map((other) => handlerValidators(other).ifNoneMatch).filter((tag) => tag !== undefined)
  return tags.length === 0 ? NONE : { ifNoneMatch: [...new Set(tags)].join(', '), ifModifiedSince: undefined }
}
