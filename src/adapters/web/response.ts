import { setImmediate as nextTurn } from 'node:timers/promises'
import type { OutgoingResponse } from '../../http/index.js'
import { isPromise } from '../../maybe-promise.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { Capture } from '../../route/capture.js'
import type { DeclaredWrite, Host } from '../declarations.js'
import { type Ending, Exchange, RunEnding } from '../exchange.js'
import {
  type Field,
  fieldsByName,
  fieldsOf,
  type FieldTarget,
  groupFields,
  setFields,
  snapshotFields,
  unchangedFields,
} from '../fields.js'
import type { WebRequest } from './request.js'

/** A request in a framework based on web `Request` and `Response`. */
export interface Visit<Native> {
  readonly host: Host
  readonly request: WebRequest<Native>
  /** Runs the following handlers. Undefined: their response cannot be cached and does not count as a success. */
  next(shown: Request): Promise<Response | undefined>
  /** Fields that are set for any response. */
  ambient(): Headers
  /** Calls `left` when the client leaves; returns what ends that. */
  whenLeft(left: () => void): () => void
}

/**
 * Answers a request from the cache, or runs its handler and ends that run with its response. `key`: the object that
 * represents the response in this framework. Undefined: the response is not changed.
 */
export async function serveCached<Native>(
  key: object,
  visit: Visit<Native>,
  cachedRoute: CachedRoute<Native>,
): Promise<Response | undefined> {
  const { request } = visit
  const found = await Exchange.of(key).read(cachedRoute, request)
  if (found === undefined) return void (await visit.next(request.shown))
  if (!(found instanceof RunEnding)) return hitResponse(found, visit.ambient())
  const before = visit.ambient()
  found.ambient = snapshotFields(Object.fromEntries(before))
  const answered = visit.whenLeft(() => found.clientLeft())
  try {
    const response = await visit.next(request.shown)
    answered()
    if (response !== undefined && !found.gaveWay) return await endResponse(found, response)
    found.abandon()
    return undefined
  } catch (error) {
    answered()
    const instead = found.fail()
    if (instead === undefined) throw error
    return hitResponse(instead, before)
  }
}

/** Runs the handler of a `cachePut`, a `cacheEvict`, or both; its response is sent after the invalidations. */
export async function serveWrite<Native>(
  key: object,
  visit: Visit<Native>,
  declared: DeclaredWrite<Native>,
): Promise<Response | undefined> {
  const { host, request } = visit
  const write = await Exchange.of(key).write(host, declared, request)
  if (write === undefined) return void (await visit.next(request.shown))
  write.ambient = snapshotFields(Object.fromEntries(visit.ambient()))
  try {
    const response = await visit.next(request.shown)
    return response && (await endResponse(write, response))
  } finally {
    // No effect on a write that has ended.
    write.abandon()
  }
}

/** Makes a successful request with an unsafe method invalidate its URI (RFC 9111 section 4.4). */
export async function serveUnsafe<Native>(key: object, visit: Visit<Native>): Promise<Response | undefined> {
  const { host, request } = visit
  const ending = Exchange.of(key).unsafe(host, request)
  const response = await visit.next(request.shown)
  return ending && response && (await endResponse(ending, response))
}

async function endResponse(ending: Ending, response: Response): Promise<Response> {
  const { status } = response
  // Headers keep the lines of Set-Cookie apart, and join all others.
  const head = { status, headers: [...response.headers].flat() }
  const ambient = unchangedFields(targetOf(response.headers), ending.ambient)
  const needsEnd = response.body !== null && ending.needsEnd?.(status) === true
  if (!ending.needsBody && !needsEnd) {
    const { headers } = await ending.whole(head, undefined, ambient)
    return headers === head.headers ? response : responseOf(status, groupFields(headers), response.body)
  }
  const body = await readBody(response)
  if (Buffer.isBuffer(body)) {
    const sent = await ending.whole(head, body, ambient)
    return responseOf(sent.status, groupFields(sent.headers), sent.body)
  }
  const { instead, headers, capture } = await ending.streamed(head, ambient)
  if (instead === undefined) return responseOf(status, groupFields(headers), passOn(body, capture))
  void body.reader.cancel().catch(() => {})
  return responseOf(instead.status, groupFields(instead.headers), instead.body)
}

/** `Headers` as the fields of a response that is being written. */
function targetOf(headers: Headers): FieldTarget {
  return {
    getHeader: (name) => headers.get(name) ?? undefined,
    getHeaderNames: () => [...headers.keys()],
    setHeader(name, value) {
      headers.delete(name)
      for (const line of [value].flat()) headers.append(name, line)
    },
    removeHeader: (name) => headers.delete(name),
  }
}

/** A response from the cache, with the fields that were set before. */
function hitResponse(outgoing: OutgoingResponse, ambient: Headers): Response {
  const { status, body } = outgoing
  const sent = hasNoContent(status) ? null : body
  if (ambient.keys().next().done === true) {
    const headers = fieldsByName(outgoing)
    // Servers send a plain object without inspecting it.
    return headers === undefined
      ? responseOf(status, fieldsOf(outgoing), body)
      : new Response(sent, { status, headers })
  }
  const headers = new Headers(ambient)
  setFields(targetOf(headers), fieldsOf(outgoing))
  return new Response(sent, { status, headers })
}

/** A response with these fields. */
function responseOf(
  status: number,
  fields: readonly Field[],
  body: Uint8Array | ReadableStream<Uint8Array> | null,
): Response {
  const headers = fields.every(({ value }) => typeof value === 'string')
    ? Object.fromEntries(fields.map(({ name, value }) => [name, String(value)]))
    : fields.flatMap(({ name, value }) => [value].flat().map((line): [string, string] => [name, line]))
  return new Response(hasNoContent(status) ? null : body, { status, headers })
}

/** Statuses for which `new Response` rejects a body. */
function hasNoContent(status: number): boolean {
  return status === 304 || status === 204 || status === 205
}

/** Reads until the end of a whole body: one chunk, and the end. */
const READS_MAX = 2

/** A body that has not ended yet: the part that was read, and a reader for the rest. */
interface Rest {
  readonly chunks: Uint8Array[]
  readonly pending: ReturnType<ReadableStreamDefaultReader<Uint8Array>['read']> | undefined
  readonly reader: ReadableStreamDefaultReader<Uint8Array>
}

/**
 * The body of a response, if it is complete. A Response does not reveal whether its body is a string or a stream, and
 * the cache must not wait for a stream: a body that cannot be read to its end within this turn of the event loop is
 * one.
 */
async function readBody({ body, headers }: Response): Promise<Buffer | Rest> {
  if (body === null) return Buffer.alloc(0)
  const reader = body.getReader()
  const chunks: Uint8Array[] = []
  if (headers.has('transfer-encoding')) return { chunks, pending: undefined, reader }
  const turn = nextTurn()
  for (let reads = 0; reads < READS_MAX; reads += 1) {
    const pending = reader.read()
    // The reader of the response receives the error of a broken body.
    const result = await Promise.race([pending, turn]).catch(() => undefined)
    if (result === undefined) return { chunks, pending, reader }
    if (result.done) return Buffer.concat(chunks)
    chunks.push(result.value)
  }
  return { chunks, pending: undefined, reader }
}

/** The rest of a body while it is sent, copied at the pace of its reader. The copy is complete before the end is sent. */
function passOn({ chunks, pending, reader }: Rest, capture: Capture | undefined): ReadableStream<Uint8Array> {
  let ahead = pending
  const next = async (): Promise<Uint8Array | undefined> => {
    const chunk = chunks.shift()
    if (chunk !== undefined) return chunk
    const reading = ahead ?? reader.read()
    ahead = undefined
    return (await reading).value
  }
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const chunk = await next()
          const stored = chunk === undefined ? capture?.complete() : capture?.write(chunk)
          if (isPromise(stored)) await stored
          if (chunk === undefined) controller.close()
          else controller.enqueue(chunk)
        } catch (error) {
          capture?.abort()
          throw error
        }
      },
      cancel(reason) {
        capture?.abort()
        // Where its source tells when it has ended, a write may have gone on until then.
        return reader.cancel(reason).finally(() => capture?.complete())
      },
    },
    { highWaterMark: 0 },
  )
}
