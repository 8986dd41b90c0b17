import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { pipeline, Readable, Transform } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { OutgoingResponse } from '../../http/index.js'
import { asError } from '../../errors.js'
import { chain, isPromise, type MaybePromise, settle } from '../../maybe-promise.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { Capture } from '../../route/capture.js'
import type { DeclaredWrite, Host } from '../declarations.js'
import { ambientFields, type Ending, Exchange, type RunEnding, type Sent, WriteEnding } from '../exchange.js'
import {
  changeFields,
  type Field,
  fieldsOf,
  type FieldTarget,
  listFields,
  mergedValue,
  setFields,
  snapshotFields,
} from '../fields.js'
import { chainHeld } from '../node/hold.js'
import { NodeRequest, type NodeRequestOptions } from '../node/request.js'
import { watchReply } from '../reply.js'
import { RequestProperty } from '../request-property.js'

export interface FastifyHost extends Host {
  readonly requests: NodeRequestOptions<FastifyRequest>
}

type Handler = RouteOptions['handler']

type SendDone = (error?: Error | null, payload?: unknown) => void

type Fields = Readonly<Record<string, unknown>>

/** State of a reply for its onSend hook. */
interface Pending {
  readonly ending?: Ending | undefined
  /** Its onSend hook has begun. */
  isAnswered?: boolean
  /** The body of a hit to which Fastify would add a media type that the miss did not have. */
  readonly hit?: Buffer | undefined
  /** The fields as the handler set them, and as they were sent. */
  changed?: { readonly before: Fields; readonly after: Fields }
}

const pending = new RequestProperty<Pending>()

/** The handler of a cached route. */
export function cachedHandler(cachedRoute: CachedRoute<FastifyRequest>, handler: Handler, host: FastifyHost): Handler {
  return wrapped(handler, host, (exchange, request) => exchange.read(cachedRoute, request))
}

/** The handler of a route with `cachePut`, `cacheEvict`, or both. */
export function writingHandler(declared: DeclaredWrite<FastifyRequest>, handler: Handler, host: FastifyHost): Handler {
  return wrapped(handler, host, (exchange, request) => exchange.write(host, declared, request))
}

/**
 * A wrapped handler runs after every preHandler hook, including those that plugins add to the route later, so all guards
 * of the route run before a hit.
 */
function wrapped(
  handler: Handler,
  { requests }: FastifyHost,
  start: (
    exchange: Exchange,
    request: NodeRequest<FastifyRequest>,
  ) => MaybePromise<OutgoingResponse | RunEnding | WriteEnding | undefined>,
): Handler {
  return function redwellHandler(native, reply) {
    const request = new NodeRequest(native, native.raw, requests)
    const found = start(Exchange.of(reply.raw), request)
    if (found instanceof OutgoingResponse) return sendHit(reply, found, false)
    const proceed = proceeding(handler, this, request, reply)
    return isPromise(found) ? found.then((one) => proceed(one, true)) : proceed(found, false)
  }
}

/** What follows a lookup. Made apart from the handler, because a hit that is there at once needs no closure. */
function proceeding(handler: Handler, app: FastifyInstance, request: NodeRequest<FastifyRequest>, reply: FastifyReply) {
  return (found: OutgoingResponse | RunEnding | WriteEnding | undefined, late: boolean): unknown => {
    if (found instanceof OutgoingResponse) return sendHit(reply, found, late)
    if (found !== undefined) {
      found.ambient = snapshotFields(reply.getHeaders())
      begin(reply, found, request)
    }
    return run(handler, app, request.native, reply, late)
  }
}

/** A handler may call `reply.send` later: if this promise resolved before, Fastify would send an empty response. */
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
  const state: Pending = { ending }
  pending.set(reply, state)
  reply.raw.once('close', () => {
    if (state.isAnswered === true) return
    if (reply.sent) endHijacked(reply, ending, request)
    else ending.clientLeft()
  })
  ending.late = watchReply(reply, ending.ambient, () => (request.watching = false))
}

/** A hijacked reply never reaches onSend: a write takes effect with its end, and nothing is stored. */
function endHijacked({ raw }: FastifyReply, ending: Ending, { native }: NodeRequest<FastifyRequest>): void {
  if (!(ending instanceof WriteEnding) || !raw.headersSent) return ending.abandon()
  const head = { status: raw.statusCode, headers: listFields(raw) }
  settle(
    () => ending.streamed(head),
    () => {},
    (error) => native.log.error(error),
  )
}

function sendHit(reply: FastifyReply, outgoing: OutgoingResponse, late: boolean): unknown {
  reply.code(outgoing.status)
  setHitFields(reply, fieldsOf(outgoing))
  // With a body, even an empty one, Fastify sends Content-Length, which a 204 must not have (RFC 9110 section 8.6).
  const body = outgoing.status === 204 ? null : outgoing.body
  if (body !== null && reply.hasHeader('content-type')) return body
  if (body !== null) pending.set(reply, { hit: body })
  // A promise of undefined is an empty answer, undefined itself is none.
  if (!late) reply.send()
  return undefined
}

function setHitFields(reply: FastifyReply, fields: readonly Field[]): void {
  for (const field of fields) {
    if (field.isShared && reply.hasHeader(field.lowerName)) setFields(targetOf(reply), [field])
    else reply.header(field.lowerName, mergedValue(undefined, field))
  }
}

/** The onSend hook of a write route without declarations: other routes may cache its URI. */
export function unsafeResponse(host: FastifyHost) {
  return function redwellUnsafe(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: SendDone): void {
    const ending = Exchange.of(reply.raw).unsafe(host, new NodeRequest(request, request.raw, host.requests))
    if (ending !== undefined) pending.set(reply, { ending })
    endResponse(request, reply, payload, done)
  }
}

/** The first onSend hook of a route, so that it sees the response before compression. */
export function endResponse(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: SendDone): void {
  const state = pending.get(reply)
  if (state?.ending === undefined) return done(null, state?.hit ?? payload)
  if (state.changed !== undefined) {
    restoreFields(reply, state.changed)
    return done(null, payload)
  }
  const { ending } = state
  state.isAnswered = true
  settle(
    () => {
      const body = unwrapResponse(reply, payload)
      const before = reply.getHeaders()
      return chain(end(ending, request, reply, body), (sent) => {
        state.changed = { before, after: reply.getHeaders() }
        return sent
      })
    },
    (sent) => done(null, sent),
    (error) => {
      ending.abandon()
      done(asError(error))
    },
  )
}

/** An error replaces the response: the fields that the cache set, such as a lifetime, do not apply to it. */
function restoreFields(reply: FastifyReply, { before, after }: NonNullable<Pending['changed']>): void {
  for (const [name, value] of Object.entries(after)) {
    const earlier = before[name]
    if (earlier === value || reply.getHeader(name) !== value) continue
    reply.removeHeader(name)
    if (typeof earlier === 'string' || Array.isArray(earlier)) reply.header(name, earlier)
  }
}

/** Converts a web Response as Fastify does later: status, fields and a stream. */
function unwrapResponse(reply: FastifyReply, payload: unknown): unknown {
  if (!(payload instanceof Response) || payload.bodyUsed) return payload
  reply.code(payload.status)
  for (const [name, value] of payload.headers) reply.header(name, value)
  return payload.body
}

function end(ending: Ending, request: FastifyRequest, reply: FastifyReply, payload: unknown): MaybePromise<unknown> {
  const target = targetOf(reply)
  const head = { status: reply.statusCode, headers: listFields(target) }
  const ambient = ambientFields(target, ending)
  const apply = (sent: Pick<Sent, 'status' | 'headers'>): void => {
    if (sent.status !== head.status) reply.code(sent.status)
    changeFields(target, head.headers, sent.headers, ambient)
  }
  // What a stream may carry in these is no content (RFC 9110 section 6.4.1).
  const isBodiless = request.method === 'HEAD' || head.status === 304 || head.status === 204
  const body = bytesOf(payload) ?? (isBodiless ? Buffer.alloc(0) : undefined)
  if (body !== undefined) {
    return chainHeld(reply, ending.whole(head, body, ambient), (sent) => {
      apply(sent)
      return sent.body === body ? payload : sent.body
    })
  }
  return chain(ending.streamed(head, ambient), ({ instead, headers, capture }) => {
    apply(instead ?? { status: head.status, headers })
    if (instead !== undefined) streamOf(payload).destroy()
    if (instead !== undefined) return instead.body
    return capture === undefined ? payload : captured(streamOf(payload), capture)
  })
}

/** Copies the bytes of a payload, because the handler may reuse its buffer. Undefined for a stream. */
function bytesOf(payload: unknown): Buffer | undefined {
  if (payload === null || payload === undefined) return Buffer.alloc(0)
  return typeof payload === 'string' || payload instanceof Uint8Array ? Buffer.from(payload) : undefined
}

function streamOf(payload: unknown): Readable {
  return payload instanceof Readable ? payload : Readable.fromWeb(payload as ReadableStream)
}

function captured(body: Readable, capture: Capture): Transform {
  return pipeline(body, capturing(capture), (error) => {
    capture.abort()
    // A write whose client has left goes on until its source has closed.
    if (error) body.once('close', () => void capture.complete())
  })
}

/** The body while it is sent. Its copy is complete before the last byte is sent, so the next request finds it stored. */
function capturing(capture: Capture): Transform {
  return new Transform({
    transform(chunk: Buffer, _, next) {
      const pass = (): void => {
        if (!this.push(chunk)) capture.stalled()
        next()
      }
      const stored = capture.write(chunk)
      if (isPromise(stored)) stored.then(pass, pass)
      else pass()
    },
    flush(next) {
      const stored = capture.complete()
      if (isPromise(stored)) stored.then(() => next(), next)
      else next()
    },
  })
}

/** A reply's fields, as those of a response of Node. */
function targetOf(reply: FastifyReply): FieldTarget {
  return {
    getHeader: (name) => reply.getHeader(name),
    getHeaderNames: () => Object.keys(reply.getHeaders()),
    setHeader(name, value) {
      // Fastify would append to these.
      if (name.toLowerCase() === 'set-cookie') reply.removeHeader(name)
      reply.header(name, value)
    },
    removeHeader: (name) => reply.removeHeader(name),
  }
}
