import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { pipeline, Readable, Transform } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { OutgoingResponse } from '../../http/index.js'
import { chain, isPromise, type MaybePromise } from '../../maybe-promise.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { Capture } from '../../route/capture.js'
import type { WriteRoute } from '../../route/write-session.js'
import { type Ending, Exchange, type Host, RunEnding, type Sent } from '../exchange.js'
import {
  changeFields,
  fieldsOf,
  type FieldTarget,
  listFields,
  setFields,
  snapshotFields,
  unchangedFields,
} from '../fields.js'
import { NodeRequest, type NodeRequestOptions } from '../node/request.js'

export interface FastifyHost extends Host {
  readonly requests: NodeRequestOptions
}

type Handler = RouteOptions['handler']

type SendDone = (error?: Error | null, payload?: unknown) => void

type Fields = Readonly<Record<string, unknown>>

/** What a reply carries to its onSend hook. */
interface Pending {
  readonly ending?: Ending | undefined
  /** The body of a hit for which Fastify would name a media type that the miss did not have. */
  readonly hit?: Buffer | undefined
  /** The fields as the handler left them, and as they were sent. */
  changed?: { readonly before: Fields; readonly after: Fields }
}

const pending = new WeakMap<FastifyReply, Pending>()

/**
 * The handler of a cached route. A wrapped handler runs after every preHandler hook, those included that plugins add to
 * the route later: whatever guards the route has run before a hit.
 */
export function cachedHandler(cachedRoute: CachedRoute<FastifyRequest>, handler: Handler, host: FastifyHost): Handler {
  return function redwellCache(native, reply) {
    const request = requestOf(native, host)
    const found = Exchange.of(reply.raw).read(cachedRoute, request)
    const act = (one: Awaited<typeof found>, late: boolean): unknown => {
      if (one !== undefined && !(one instanceof RunEnding)) return sendHit(reply, one, late)
      if (one !== undefined) {
        one.ambient = snapshotFields(reply.getHeaders())
        begin(reply, one, request)
      }
      return run(handler, this, native, reply, late)
    }
    return isPromise(found) ? found.then((one) => act(one, true)) : act(found, false)
  }
}

/** The handler of a route with `cachePut`, `cacheEvict`, or both. */
export function writingHandler(route: WriteRoute<FastifyRequest>, handler: Handler, host: FastifyHost): Handler {
  return function redwellWrite(native, reply) {
    const request = requestOf(native, host)
    const begun = Exchange.of(reply.raw).write(route, request)
    const act = (write: Ending, late: boolean): unknown => {
      begin(reply, write, request)
      return run(handler, this, native, reply, late)
    }
    return isPromise(begun) ? begun.then((write) => act(write, true)) : act(begun, false)
  }
}

function requestOf(request: FastifyRequest, { requests }: FastifyHost): NodeRequest<FastifyRequest> {
  return new NodeRequest(request, request.raw, requests)
}

/** Fastify would take the end of our promise for an empty answer of a handler that answers by `reply.send` later. */
function run(
  handler: Handler,
  app: FastifyInstance,
  request: FastifyRequest,
  reply: FastifyReply,
  late: boolean,
): unknown {
  const result: unknown = handler.call(app, request, reply)
  return late && result === undefined ? reply : result
}

function begin(reply: FastifyReply, ending: Ending, request: NodeRequest<FastifyRequest>): void {
  pending.set(reply, { ending })
  // A hijacked reply never reaches onSend; its lease must not outlive the connection.
  reply.raw.once('close', () => {
    if (reply.sent) ending.abandon()
  })
  if (!request.watching) return
  const send = reply.send.bind(reply)
  // Hooks that run behind the handler, such as that of @fastify/session, may read what they like.
  const answer = (payload: unknown): FastifyReply => {
    request.watching = false
    Object.assign(reply, { send })
    return send(payload)
  }
  Object.assign(reply, { send: answer })
}

function sendHit(reply: FastifyReply, outgoing: OutgoingResponse, late: boolean): unknown {
  reply.code(outgoing.status)
  setFields(new ReplyFields(reply), fieldsOf(outgoing))
  // Given a body, even an empty one, Fastify sends its length, which a 204 must not have (RFC 9110 section 8.6).
  const body = outgoing.status === 204 ? null : outgoing.body
  if (body !== null && reply.hasHeader('content-type')) return body
  if (body !== null) pending.set(reply, { hit: body })
  // A promise of undefined is an empty answer, undefined itself is none.
  if (!late) reply.send()
  return undefined
}

/** The onSend hook of a route that writes and declares nothing: other routes may cache its URI. */
export function unsafeResponse(host: FastifyHost) {
  return function redwellUnsafe(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: SendDone): void {
    const ending = Exchange.of(reply.raw).unsafe(host, requestOf(request, host))
    if (ending !== undefined) pending.set(reply, { ending })
    endResponse(request, reply, payload, done)
  }
}

/** The first of a route's onSend hooks, so that it sees the response before it is compressed. */
export function endResponse(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: SendDone): void {
  const state = pending.get(reply)
  if (state?.ending === undefined) return done(null, state?.hit ?? payload)
  if (state.changed !== undefined) {
    restoreFields(reply, state.changed)
    return done(null, payload)
  }
  try {
    const body = unwrapResponse(reply, payload)
    const before = reply.getHeaders()
    const ended = chain(end(state.ending, request, reply, body), (sent) => {
      state.changed = { before, after: reply.getHeaders() }
      return sent
    })
    if (isPromise(ended)) ended.then((sent) => done(null, sent), done)
    else done(null, ended)
  } catch (error) {
    state.ending.abandon()
    done(error instanceof Error ? error : new Error(String(error)))
  }
}

/** An error is sent in place of what was decided about: our fields, such as its lifetime, are not those of the error. */
function restoreFields(reply: FastifyReply, { before, after }: NonNullable<Pending['changed']>): void {
  const target = new ReplyFields(reply)
  for (const [name, value] of Object.entries(after)) {
    if (before[name] === value || reply.getHeader(name) !== value) continue
    const earlier = before[name]
    if (typeof earlier === 'string' || Array.isArray(earlier)) target.setHeader(name, earlier)
    else target.removeHeader(name)
  }
}

/** Makes of a web Response what Fastify makes of it later: status, fields and a stream. */
function unwrapResponse(reply: FastifyReply, payload: unknown): unknown {
  if (!(payload instanceof Response) || payload.bodyUsed) return payload
  reply.code(payload.status)
  for (const [name, value] of payload.headers) reply.header(name, value)
  return payload.body
}

function end(ending: Ending, request: FastifyRequest, reply: FastifyReply, payload: unknown): MaybePromise<unknown> {
  const target = new ReplyFields(reply)
  const head = { status: reply.statusCode, headers: listFields(target) }
  const ambient = unchangedFields(target, ending.ambient)
  const apply = (sent: Pick<Sent, 'status' | 'headers'>): void => {
    if (sent.status !== head.status) reply.code(sent.status)
    changeFields(target, head.headers, sent.headers, ambient)
  }
  // What a stream may carry in these is no content (RFC 9110 section 6.4.1).
  const isBodiless = request.method === 'HEAD' || head.status === 304 || head.status === 204
  const body = bytesOf(payload) ?? (isBodiless ? Buffer.alloc(0) : undefined)
  if (body !== undefined) {
    return chain(ending.whole(head, body, ambient), (sent) => {
      apply(sent)
      return sent.body === body ? payload : sent.body
    })
  }
  return chain(ending.streamed(head, ambient), ({ instead, headers, capture }) => {
    apply(instead ?? { status: head.status, headers })
    if (instead !== undefined) streamOf(payload).destroy()
    if (instead !== undefined) return instead.body
    return capture === undefined ? payload : pipeline(streamOf(payload), capturing(capture), () => capture.abort())
  })
}

/** A copy of the bytes of a payload: a handler may use its buffer again. Undefined where it is a stream. */
function bytesOf(payload: unknown): Buffer | undefined {
  if (payload === null || payload === undefined) return Buffer.alloc(0)
  return typeof payload === 'string' || payload instanceof Uint8Array ? Buffer.from(payload) : undefined
}

function streamOf(payload: unknown): Readable {
  return payload instanceof Readable ? payload : Readable.fromWeb(payload as ReadableStream)
}

/** The body on its way out. Its copy is complete before the last byte is sent, so the next request finds it stored. */
function capturing(capture: Capture): Transform {
  return new Transform({
    transform(chunk: Buffer, _, next) {
      capture.write(chunk)
      if (!this.push(chunk)) capture.stalled()
      next()
    },
    flush(next) {
      const stored = capture.complete()
      if (isPromise(stored)) stored.then(() => next(), next)
      else next()
    },
  })
}

/** A reply's fields, as those of a response of Node. */
class ReplyFields implements FieldTarget {
  readonly #reply: FastifyReply

  constructor(reply: FastifyReply) {
    this.#reply = reply
  }

  getHeader(name: string): number | string | string[] | undefined {
    return this.#reply.getHeader(name)
  }

  getHeaderNames(): string[] {
    return Object.keys(this.#reply.getHeaders())
  }

  setHeader(name: string, value: string | string[]): void {
    // Fastify would add these to what is there.
    if (name.toLowerCase() === 'set-cookie') this.#reply.removeHeader(name)
    this.#reply.header(name, value)
  }

  removeHeader(name: string): void {
    this.#reply.removeHeader(name)
  }
}
