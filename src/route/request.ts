import type { EntryRef } from '../cache/entry-ref.js'
import type { BypassReason as HttpBypassReason, OutgoingResponse, RequestHead, ReuseReason } from '../http/index.js'
import type { Entry } from '../store/entry.js'
import type { HandlerRun } from './handler-run.js'

/** A request as an adapter presents it. */
export interface RequestContext<Req> extends RequestHead {
  /** Path and query as the client sent them. */
  readonly target: string
  /** Scheme and authority as the client sees them, such as `https://example.org`. */
  readonly origin: string
  /** Method and template of its route in telemetry, where one declaration serves several. */
  readonly route?: string | undefined
  /** The framework's own request, for the functions of the options. */
  readonly native: Req
}

/** Why a request does not use the cache. */
export type BypassReason =
  | HttpBypassReason
  /** The request target is no path, but an absolute URI or `*`, which frameworks and handlers take in different ways. */
  | 'request-target'
  /** The route's `per` gave no principal for this request. */
  | 'no-principal'
  /** The route is switched off. */
  | 'disabled'

/** Why the handler runs. */
export type MissReason =
  | ReuseReason
  | 'absent'
  /** The store could not answer in time. */
  | 'outage'
  /** What stands at the key is not a response. */
  | 'unusable'
  /** The response of this key could not be stored a moment ago. */
  | 'hit-for-pass'
  /** Another request's run took longer than this one waits, or gave nothing it may use. */
  | 'wait'

/** Why the handler does not run. */
export type HitReason =
  | ReuseReason
  /** Another request's run that was under way gave the answer. */
  | 'collapsed'
  /** There is no answer, and the client forbids the run that would make one: 504 (RFC 9111 section 5.2.1.7). */
  | 'only-if-cached'

/** What becomes of a request. */
export type RouteLookup =
  /** Send this; the handler does not run. `refresh`, where there is one, is a run for the background. */
  | (Seen & {
      readonly outcome: 'hit'
      readonly reason: HitReason
      readonly response: OutgoingResponse
      readonly refresh?: Promise<HandlerRun | undefined>
    })
  /** Run the handler and end the run with its response. */
  | (Seen & { readonly outcome: 'miss'; readonly reason: MissReason; readonly run: HandlerRun })
  | { readonly outcome: 'bypass'; readonly reason: BypassReason; readonly run: HandlerRun }

/** What the decision rests on, for those who look on. */
interface Seen {
  readonly place?: EntryRef | undefined
  readonly entry?: Entry | undefined
}
