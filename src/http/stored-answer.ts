import { parseRange, sliceOf, sliceOfPart } from './byte-range.js'
import { replayStatus, statusFields } from './cache-status.js'
import { clientHasIt, rangeApplies } from './condition.js'
import { type ContentRange, formatContentRange, parseContentRange } from './content-range.js'
import type { HeaderList, Outgoing, ReplayHow, RequestHead, RequestPlan, StoredResponse } from './contract.js'
import { Flag, hasFlag } from './flag.js'
import { ageSeconds, withFreshness } from './freshness-fields.js'
import { firstField, keepFields } from './header-list.js'
import type { HttpPolicy } from './http-policy.js'
import { toNotModified } from './not-modified.js'

const HIT: ReplayHow = Object.freeze({ kind: 'hit' })

/** The answer a stored response gives: 200, 304, 206 or 416, or whatever its status is. */
export function replay(
  stored: StoredResponse,
  plan: RequestPlan,
  _request: RequestHead,
  policy: HttpPolicy,
  now: number,
  how: ReplayHow = HIT,
): Outgoing {
  const facts = factsOf(stored)
  const whole =
    how.kind === 'hit' && how.key === undefined ? hit(stored, facts, policy, now) : answer(stored, policy, now, how)
  if (plan.plain) return whole
  if (clientHasIt(stored, plan, facts.etag, now)) return facts.notModified(whole)
  if (plan.range !== undefined && rangeApplies(stored, plan.ifRange, now)) return ranged(stored, whole, plan.range)
  return plan.head
    ? {
        ...whole,
        headers: [...whole.headers, 'Content-Length', String(stored.body.length)],
        body: null,
        memo: undefined,
      }
    : whole
}

/** What a stored object has told us once. Hits of the same second and the same policy are the same answer. */
class Facts {
  readonly etag: string | undefined
  policy: HttpPolicy | undefined
  remaining = NaN
  age = NaN
  whole: Outgoing | undefined
  #notModified: Outgoing | undefined
  #notModifiedOf: Outgoing | undefined

  constructor(stored: StoredResponse) {
    this.etag = firstField(stored.headers, 'etag')
  }

  notModified(whole: Outgoing): Outgoing {
    if (this.#notModified === undefined || this.#notModifiedOf !== whole) {
      this.#notModified = toNotModified(whole.headers)
      this.#notModifiedOf = whole
    }
    return this.#notModified
  }
}

function factsOf(stored: StoredResponse): Facts {
  if (stored.memo instanceof Facts) return stored.memo
  const facts = new Facts(stored)
  stored.memo = facts
  return facts
}

function hit(stored: StoredResponse, facts: Facts, policy: HttpPolicy, now: number): Outgoing {
  const remaining = Math.floor((stored.freshUntil - now) / 1000)
  const age = ageSeconds(stored, now)
  if (facts.whole !== undefined && facts.policy === policy && facts.remaining === remaining && facts.age === age)
    return facts.whole
  facts.policy = policy
  facts.remaining = remaining
  facts.age = age
  facts.whole = answer(stored, policy, now, HIT)
  return facts.whole
}

function answer(stored: StoredResponse, policy: HttpPolicy, now: number, how: ReplayHow): Outgoing {
  const headers = withFreshness(stored, now, how.kind === 'revalidated')
  const member = policy.cacheStatus === undefined ? undefined : replayStatus(policy.cacheStatus, stored, how, now)
  headers.push(...statusFields(policy, wordOf(how), member))
  return { status: stored.status, headers, body: stored.body, memo: undefined }
}

/** HIT: the handler's answer is not part of this one. A revalidation ran it, and stored what it said. */
function wordOf(how: ReplayHow): 'HIT' | 'MISS' | 'BYPASS' {
  if (how.kind !== 'revalidated') return 'HIT'
  return how.stored === false ? 'BYPASS' : 'MISS'
}

/** RFC 9110 sections 14.2, 15.3.7 and 15.5.17. Several ranges are answered whole. */
function ranged(stored: StoredResponse, whole: Outgoing, range: string): Outgoing {
  const spec = parseRange(range)
  if (spec === undefined) return whole
  if (hasFlag(stored.flags, Flag.partial)) return narrowed(stored, whole, range)
  if (stored.status !== 200) return whole
  const { length } = stored.body
  const slice = sliceOf(spec, length)
  if (slice === 'whole') return whole
  if (slice === 'unsatisfiable') return unsatisfiable(whole.headers, length)
  return partOf(whole.headers, { ...slice, complete: length }, stored.body.subarray(slice.first, slice.last + 1))
}

/** A range inside a stored 206. */
function narrowed(stored: StoredResponse, whole: Outgoing, range: string): Outgoing {
  const spec = parseRange(range)
  const part = parseContentRange(firstField(stored.headers, 'content-range'))
  const slice = spec && part && sliceOfPart(spec, part)
  if (part === undefined || slice === undefined) return whole
  const headers = keepFields(whole.headers, (name) => name !== 'content-range')
  const body = stored.body.subarray(slice.first - part.first, slice.last + 1 - part.first)
  return partOf(headers, { ...slice, complete: part.complete }, body)
}

function partOf(headers: HeaderList, part: ContentRange, body: Buffer): Outgoing {
  return { status: 206, headers: [...headers, 'Content-Range', formatContentRange(part)], body, memo: undefined }
}

/** No field of the representation but what says how long it is; what speaks of caching and of selection stays. */
const UNSATISFIABLE_FIELDS = new Set(['date', 'vary', 'x-redis-cache', 'cache-status'])
const NO_CONTENT = Buffer.alloc(0)

function unsatisfiable(headers: HeaderList, length: number): Outgoing {
  const kept = keepFields(headers, (name) => UNSATISFIABLE_FIELDS.has(name))
  return { status: 416, headers: [...kept, 'Content-Range', `bytes */${length}`], body: NO_CONTENT, memo: undefined }
}
