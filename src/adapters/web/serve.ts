import type { CachedRoute } from '../../route/cached-route.js'
import type { DeclaredWrite } from '../declarations.js'
import { type Ending, Exchange, type Host, RunEnding } from '../exchange.js'
import { snapshotFields, unchangedFields } from '../fields.js'
import type { WebRequest } from './request.js'
import { hitResponse, listedResponse, listHeaders, passOn, readBody, targetOf } from './response.js'

/** A request in a framework of web `Request` and `Response`. */
export interface Visit<Native> {
  readonly host: Host
  readonly request: WebRequest<Native>
  /** Runs the handlers behind. Undefined: what they answered cannot be cached, and counts as no success. */
  readonly next: (shown: Request) => Promise<Response | undefined>
}

/**
 * Answers a request from the cache, or runs its handler and ends that run with its response. `key`: what stands for the
 * response in this framework while the request lasts. `ambient`: fields that are set for whatever response comes.
 * Undefined: the response stays as it is.
 */
export async function serveCached<Native>(
  key: object,
  { request, next }: Visit<Native>,
  cachedRoute: CachedRoute<Native>,
  ambient: () => Headers,
): Promise<Response | undefined> {
  const found = await Exchange.of(key).read(cachedRoute, request)
  if (found === undefined) return void (await next(request.shown))
  if (!(found instanceof RunEnding)) return hitResponse(found, ambient())
  const before = ambient()
  found.ambient = snapshotFields(Object.fromEntries(before))
  try {
    const response = await next(request.shown)
    if (response !== undefined && !found.gaveWay) return await endResponse(found, response)
    found.abandon()
    return undefined
  } catch (error) {
    const instead = found.fail()
    if (instead === undefined) throw error
    return hitResponse(instead, before)
  }
}

/** Runs the handler of a `cachePut`, a `cacheEvict`, or both; its response is sent when what it invalidates is invalid. */
export async function serveWrite<Native>(
  key: object,
  { host, request, next }: Visit<Native>,
  declared: DeclaredWrite<Native>,
): Promise<Response | undefined> {
  const write = await Exchange.of(key).declaredWrite(host, declared, request)
  if (write === undefined) return void (await next(request.shown))
  try {
    const response = await next(request.shown)
    return response && (await endResponse(write, response))
  } finally {
    // No effect on a write that has ended.
    write.abandon()
  }
}

/** Lets a successful request by an unsafe method invalidate its URI (RFC 9111 section 4.4). */
export async function serveUnsafe<Native>(key: object, { host, request, next }: Visit<Native>): Promise<void> {
  const ending = Exchange.of(key).unsafe(host, request)
  const response = await next(request.shown)
  if (ending !== undefined && response !== undefined) await endResponse(ending, response)
}

async function endResponse(ending: Ending, response: Response): Promise<Response> {
  const { status } = response
  const head = { status, headers: listHeaders(response.headers) }
  const ambient = unchangedFields(targetOf(response.headers), ending.ambient)
  if (!ending.needsBody) {
    const { headers } = await ending.whole(head, undefined, ambient)
    return headers === head.headers ? response : listedResponse(status, headers, response.body)
  }
  const body = await readBody(response)
  if (Buffer.isBuffer(body)) {
    const sent = await ending.whole(head, body, ambient)
    return listedResponse(sent.status, sent.headers, sent.body)
  }
  const { instead, headers, capture } = await ending.streamed(head, ambient)
  if (instead === undefined) return listedResponse(status, headers, passOn(body, capture))
  void body.reader.cancel().catch(() => {})
  return listedResponse(instead.status, instead.headers, instead.body)
}
