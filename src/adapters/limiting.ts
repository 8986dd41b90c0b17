import type { Redis } from '../create-redis.js'
import { RateLimitError } from '../errors.js'
import { type Field, refusalOf } from '../limit/fields.js'
import type { RateObject } from '../limit/rate.js'
import {
  type Admission,
  admissionFields,
  type DeclaredLimit,
  type LimitedRequest,
  type RouteLimit,
} from '../limit/route-limit.js'
import { chain, type MaybePromise } from '../maybe-promise.js'
import { type Answer, answerOf, isNotBody } from './answers.js'
import { isRefresh } from './background.js'
import { RequestProperty } from './request-property.js'

/** What an adapter does with a request after its limits were checked. */
export interface LimitOutcome {
  /** Header fields of the response, whether or not the request is allowed. */
  readonly fields: readonly Field[]
  /** Thrown after the fields are set (`onLimited: 'throw'`), for the framework's error handling. */
  readonly error?: RateLimitError | undefined
  /** Undefined: the request is allowed, or `error` is thrown. */
  readonly answer: Answer | undefined
  /** How many limits have decided about the request, with this one. */
  readonly decisions: number
}

/** What limits have decided about a request so far. */
const admissions = new RequestProperty<readonly Admission[]>()

/** The refusal of an admission that nothing else decided about: in a flood one admission is that of many requests. */
const outcomes = new RequestProperty<LimitOutcome>()

/** The limit of a declaration on a route; `undefined` as route is the whole application. */
export function limitOn<Req>(redis: Redis, declared: DeclaredLimit<Req>, route: string | undefined): RouteLimit<Req> {
  return declared.on(redis, route ?? '', () =>
    route === undefined ? redis.limits.application(declared) : redis.limits.route(declared, route),
  )
}

/** The limit of the application that the settings name (`REDIS_RATE_LIMIT_DEFAULT_LIMIT`). */
export function defaultLimit({ rateLimit: { rate } }: Redis['settings']): RateObject | undefined {
  return rate && { limit: rate.limit, window: rate.windowMs / 1000 }
}

/**
 * Decides about a request. `owner`: the object that represents it, whose earlier decisions are part of the fields.
 */
export function applyLimit<Req>(
  owner: object,
  declared: DeclaredLimit<Req>,
  limit: RouteLimit<Req>,
  request: LimitedRequest<Req>,
): MaybePromise<LimitOutcome | undefined> {
  return limit.check<LimitOutcome>(request, (admission) => {
    const before = admissions.get(owner)
    const repeated = before === undefined ? outcomes.get(admission) : undefined
    // Nothing is kept of a request that ends here: on Express each property of it costs as much as the decision.
    if (repeated !== undefined) return repeated
    const all = before === undefined ? [admission] : [...before, admission]
    admissions.set(owner, all)
    const fields = admissionFields(all, Date.now())
    const decisions = all.length
    if (admission.refusal === undefined) return { fields, answer: undefined, decisions }
    const earlier = before?.map(({ verdict }) => verdict)
    const {
      status,
      fields: own,
      body,
    } = earlier === undefined ? admission.refusal : refusalOf(admission.verdict, earlier)
    const { onLimited } = declared.options
    if (onLimited === 'throw') {
      const headers = Object.fromEntries([...fields, ...own.filter(isNotBody)])
      return {
        fields: Object.entries(headers),
        answer: undefined,
        decisions,
        error: new RateLimitError(admission.verdict, status, headers),
      }
    }
    const answer = { status, fields: own, body }
    if (onLimited === undefined) {
      const outcome = { fields, answer, decisions }
      if (before === undefined) outcomes.set(admission, outcome)
      return outcome
    }
    return chain(onLimited(admission.verdict, request.native), async (made) => ({
      fields,
      answer: await answerOf(made, status, own),
      decisions,
    }))
  })
}

/** How many limits have decided about the request. */
export function decisionsAbout(owner: object): number {
  return admissions.get(owner)?.length ?? 0
}

/** Whether the response decides about units. */
export function hasToSettle(owner: object): boolean {
  return admissions.get(owner)?.some(({ settle }) => settle !== undefined) ?? false
}

/** Called when the response is known: refunds what does not count. */
export function settleLimits(owner: object, status: number): void {
  const all = admissions.get(owner)
  if (all === undefined) return
  admissions.set(owner, undefined)
  for (const { settle } of all) settle?.({ status })
}

/**
 * What no limit counts: a CORS preflight, which asks for permission and not for the resource, and a refresh of ours, which
 * no client has sent. `message`: the platform's request.
 */
export function isExempt(message: object, method: string | undefined, header: (name: string) => unknown): boolean {
  return isRefresh(message) || (method === 'OPTIONS' && header('access-control-request-method') !== undefined)
}
