import { allowsSharing } from './authorization.js'
import { cacheGroups, fitsEntry } from './cache-groups.js'
import { parseContentRange } from './content-range.js'
import type { RequestHead, RequestPlan, ResponseHead, Storable, StoreFacts } from './contract.js'
import { parseDeltaSeconds } from './delta-seconds.js'
import type { Governing } from './governing.js'
import { fieldBytes, firstField, hasField, joinedField, listMembers } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'
import { explicitLifetime } from './lifetime.js'
import type { RefusalReason } from './reasons.js'
import { refusesCookies } from './set-cookie.js'
import { HANDLER_STATUSES } from './status-code.js'
import { varyNames } from './vary.js'

type Refusal = RefusalReason | undefined

/** What the run itself says, before any rule of the response. */
export function runRefusal(
  request: RequestHead,
  plan: RequestPlan,
  response: ResponseHead,
  rules: Governing,
  facts: StoreFacts,
  now: number,
): Refusal {
  if (facts.truncated === true) return 'truncated'
  if (plan.stores === 'write' && response.status !== 200 && response.status !== 201) return 'status'
  if (plan.stores === 'post' && !standsForGet(request, response, rules, now)) return 'content-location'
  return undefined
}

/** RFC 9110 section 9.3.3: a POST with its own URI as Content-Location and explicit freshness. */
function standsForGet(request: RequestHead, response: ResponseHead, rules: Governing, now: number): boolean {
  const location = firstField(response.headers, 'content-location')
  if (response.status !== 200 || location === undefined || request.target === undefined) return false
  const base = 'http://origin.invalid'
  if (!URL.canParse(location, base + request.target)) return false
  const same = new URL(location, base + request.target).href === new URL(request.target, base).href
  return same && explicitLifetime(response, rules, now) !== undefined
}

/** Statuses that are never stored, whatever route or response say (RFC 9111 section 3). */
export function statusRefusal(response: ResponseHead, rules: Governing, policy: HttpPolicy): Refusal {
  const { status } = response
  if (status < 200 || status === 304) return 'status'
  if (rules.directives.mustUnderstand && !HANDLER_STATUSES.has(status)) return 'status'
  if (status !== 206) return undefined
  const part = parseContentRange(firstField(response.headers, 'content-range'))
  return policy.partial && part !== undefined ? undefined : 'partial'
}

export interface ProhibitionInput {
  readonly plan: RequestPlan
  readonly response: ResponseHead
  readonly rules: Governing
  readonly qualified: readonly string[]
  readonly facts: StoreFacts
}

/** What forbids to store, in a route-governed response as well (RFC 9111 sections 3, 3.5, 5.2.2). */
export function prohibition(input: ProhibitionInput, policy: HttpPolicy): Refusal {
  const { directives } = input.rules
  const { headers } = input.response
  // With must-understand, no-store is for caches that do not (section 5.2.2.3).
  if (directives.noStore && !directives.mustUnderstand) return 'response-no-store'
  if (directives.private && !policy.personal) return 'response-private'
  if (refusesCookies(headers, input.qualified, policy)) return 'set-cookie'
  if (input.plan.authorized && !allowsSharing(directives)) return 'authorization'
  if (readsUnkeyed(input, policy)) return 'unkeyed-read'
  if (directives.noCache && !canValidate(input, policy)) return 'response-no-cache'
  return selectionRefusal(input, policy)
}

/** Who looks at Authorization and then says that the response may be shared has answered for it (section 3.5). */
function readsUnkeyed({ facts, rules }: ProhibitionInput, policy: HttpPolicy): boolean {
  if (facts.unkeyedRead === undefined || policy.unkeyedReads === 'ignore') return false
  return !(facts.unkeyedRead === 'authorization' && allowsSharing(rules.directives))
}

function canValidate({ response, qualified }: ProhibitionInput, policy: HttpPolicy): boolean {
  return (
    policy.revalidate &&
    ['etag', 'last-modified'].some((name) => hasField(response.headers, name) && !qualified.includes(name))
  )
}

function selectionRefusal({ response }: ProhibitionInput, policy: HttpPolicy): Refusal {
  const names = varyNames(response.headers, policy)
  if (names === '*') return 'vary-star'
  if (policy.encoded === 'vary' && isEncoded(response) && !names.includes('accept-encoding')) return 'content-encoding'
  return fitsEntry(cacheGroups(response.headers)) ? undefined : 'too-many-groups'
}

function isEncoded({ headers }: ResponseHead): boolean {
  return listMembers(joinedField(headers, 'content-encoding')).some((coding) => coding !== 'identity')
}

/** Bounds, and what can be of no use. */
export function sizeRefusal(
  response: ResponseHead,
  draft: Storable,
  body: Buffer | undefined,
  policy: HttpPolicy,
): Refusal {
  if (draft.physicalTtlMs !== undefined && draft.physicalTtlMs <= 0) return 'already-stale'
  if (fieldBytes(draft.storedHeaders) > policy.maxHeaderBytes) return 'headers-too-large'
  const announced = parseDeltaSeconds(firstField(response.headers, 'content-length')?.trim() ?? '')
  if ((announced ?? 0) > policy.maxBodyBytes) return 'body-too-large'
  // RFC 9111 section 3.3: an incomplete response is not stored as if it were complete.
  return body !== undefined && announced !== undefined && announced !== body.length ? 'truncated' : undefined
}
