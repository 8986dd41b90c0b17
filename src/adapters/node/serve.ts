import type { ServerResponse } from 'node:http'
import type { OutgoingResponse } from '../../http/index.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { DeclaredWrite } from '../declarations.js'
import { type Ending, Exchange, type Host, RunEnding, settle } from '../exchange.js'
import { BODY_FIELDS, fieldsOf, type FieldSnapshot, removeFields, setFields, snapshotFields } from '../fields.js'
import { intercept } from './interception.js'
import type { NodeRequest, PlatformRequest } from './request.js'

/** A request in a framework that answers through a `ServerResponse`. */
export interface Visit<Req extends PlatformRequest> {
  readonly host: Host
  readonly request: NodeRequest<Req>
  readonly response: ServerResponse
  /** The handler runs. */
  readonly proceed: () => void
  readonly failed: (error: unknown) => void
}

/** Answers a request from the cache, or lets its handler run and ends that run with what it writes. */
export function serveCached<Req extends PlatformRequest>(
  { request, response, proceed, failed }: Visit<Req>,
  cachedRoute: CachedRoute<Req>,
  hit: (outgoing: OutgoingResponse) => void,
  ambient: () => FieldSnapshot = () => snapshotFields(response.getHeaders()),
): void {
  settle(
    () => Exchange.of(response).read(cachedRoute, request),
    (found) => {
      if (found === undefined) return proceed()
      if (!(found instanceof RunEnding)) return hit(found)
      found.ambient = ambient()
      intercept(response, found, failed)
      proceed()
    },
    failed,
  )
}

/** Begins a `cachePut`, a `cacheEvict`, or both; the answer is sent when what it invalidates is invalid. */
export function serveWrite<Req extends PlatformRequest>(
  { host, request, response, proceed, failed }: Visit<Req>,
  declared: DeclaredWrite<Req>,
): void {
  settle(
    () => Exchange.of(response).declaredWrite(host, declared, request),
    (write) => {
      if (write !== undefined) intercept(response, write, failed)
      proceed()
    },
    failed,
  )
}

/** Lets a successful request by an unsafe method invalidate its URI (RFC 9111 section 4.4). */
export function serveUnsafe<Req extends PlatformRequest>({ host, request, response, failed }: Visit<Req>): void {
  const ending: Ending | undefined = response.headersSent ? undefined : Exchange.of(response).unsafe(host, request)
  if (ending !== undefined) intercept(response, ending, failed)
}

/** Sends an answer from the cache next to the fields that are set already. */
export function sendHit(response: ServerResponse, outgoing: OutgoingResponse): void {
  if (outgoing.status === 304) removeFields(response, BODY_FIELDS)
  response.statusCode = outgoing.status
  setFields(response, fieldsOf(outgoing))
  // Node would add it, but only where no logger can read it.
  if (outgoing.body !== null) response.setHeader('Content-Length', outgoing.body.length)
  response.end(outgoing.body ?? undefined)
}
