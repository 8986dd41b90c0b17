import type { IncomingMessage, ServerResponse } from 'node:http'
import type { DeclaredLimit, RouteLimit } from '../../limit/route-limit.js'
import { settle } from '../../maybe-promise.js'
import { sendAnswer } from './answer.js'
import { applyLimit, hasToSettle, isExempt, type LimitOutcome, settleLimits } from '../limiting.js'

/** Decides about a request of a framework on `node:http`, and answers it or calls `next`. */
export function applyNodeLimit<Req extends Pick<IncomingMessage, 'method' | 'headers'>>(
  res: ServerResponse,
  declared: DeclaredLimit<Req>,
  limit: RouteLimit<Req>,
  native: Req,
  address: string | undefined,
  next: (error?: unknown) => void,
): void {
  const proceed = (outcome: LimitOutcome | undefined): void => {
    if (outcome === undefined) return next()
    for (const [name, value] of outcome.fields) res.setHeader(name, value)
    if (outcome.error !== undefined) return next(outcome.error)
    if (outcome.answer !== undefined) return sendAnswer(res, outcome.answer)
    settleWhenSent(res)
    next()
  }
  const check = () => {
    const request = { native, address, isExempt: isExempt(res.req, native.method, (name) => native.headers[name]) }
    return applyLimit(res, declared, limit, request)
  }
  settle(check, proceed, next)
}

/** Refunds what does not count once the response is known. */
export function settleWhenSent(res: ServerResponse): void {
  if (hasToSettle(res) && !res.rawListeners('finish').includes(settleOnFinish)) res.on('finish', settleOnFinish)
}

function settleOnFinish(this: ServerResponse): void {
  settleLimits(this, this.statusCode)
}
