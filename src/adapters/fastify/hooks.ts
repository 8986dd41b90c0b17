import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { isUtf8 } from 'node:buffer'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { asError } from '../../errors.js'
import { OutgoingResponse } from '../../http/index.js'
import { chain, isPromise, type MaybePromise, settle } from '../../maybe-promise.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { DeclaredWrite, Host } from '../declarations.js'
import { ambientFields, type Ending, Exchange, RunEnding, type Sent, WriteEnding } from '../exchange.js'
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
import { chainHeld, discard } from '../node/hold.js'
import { NodeRequest, type NodeRequestOptions } from '../node/request.js'
import { watchHandler } from '../reply.js'
import { RequestProperty } from '../request-property.js'
import { Copy } from './copy.js'

export interface FastifyHost extends Host {
  readonly requests: NodeRequestOptions<FastifyRequest>
}

type SendDone = (error?: Error | null, payload?: unknown) => void

type Fields = Readonly<Record<string, unknown>>

/** State of a reply for its first onSend hook. */
interface Pending {
  readonly ending?: Ending
  readonly request?: NodeRequest<FastifyRequest>
  /** The body of a hit. */
  readonly hit?: Buffer
  /** That hook has begun. */
  isAnswered?: boolean
  /** The fields as the handler set them, and as they were sent. */
  changed?: { readonly before: Fields; readonly after: Fields }
  /** The body on its way. */
  copy?: Copy
}

const pending = new RequestProperty<Pending>()

type Handler = RouteOptions['handler']

/** The handler of a cached route. */
export function cachedHandler(
  cachedRoute: CachedRoute<FastifyRequest>,
  route: RouteOptions,
  host: FastifyHost,
): Handler {
  return wrapped(route, host, (exchange, request) => exchange.read(cachedRoute, request))
}

/** The handler of a route with `cachePut`, `cacheEvict`, or both. */
export function writingHandler(
  declared: DeclaredWrite<FastifyRequest>,
  route: RouteOptions,
  host: FastifyHost,
): Handler {
  return wrapped(route, host, (exchange, request) => exchange.write(host, declared, request))
}

/**
 * A wrapped handler runs after every preHandler hook, including those that plugins add to the route later, so all guards
 * of the route run before a hit.
 */
function wrapped(
  route: RouteOptions,
  { requests }: FastifyHost,
  start: (
    exchange: Exchange,
    request: NodeRequest<FastifyRequest>,
  ) => MaybePromise<OutgoingResponse | RunEnding | WriteEnding | undefined>,
): Handler {
  const { handler } = route
  let isSeen: boolean | undefined
  return function redwellHandler(native, reply) {
    isSeen ??= hasOtherHooks(native.server, route)
    const request = new NodeRequest(native, native.raw, requests)
    const found = start(Exchange.of(reply.raw), request)
    if (found instanceof OutgoingResponse) return sendHit(reply, found, isSeen, false)
    const proceed = proceeding(handler, this, request, reply, isSeen)
    return isPromise(found) ? found.then((one) => proceed(one, true)) : proceed(found, false)
  }
}

/** What follows a lookup. Made apart from the handler, because a hit that is there at once needs no closure. */
function proceeding(
  handler: Handler,
  app: FastifyInstance,
  request: NodeRequest<FastifyRequest>,
  reply: FastifyReply,
  isSeen: boolean,
) {
  return (found: OutgoingResponse | RunEnding | WriteEnding | undefined, late: boolean): unknown => {
    if (found instanceof OutgoingResponse) return sendHit(reply, found, isSeen, late)
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

/** Our own onSend hooks, which look at no payload. */
export const ownHooks = new WeakSet<object>()

/**
 * Whether others look at what is sent: text is made for them alone, which costs a fifth of a hit where it is not ASCII.
 * Fastify has its hooks under a symbol; where that is not there, there may be some.
 */
function hasOtherHooks(app: FastifyInstance, { onSend }: RouteOptions): boolean {
  const symbol = Object.getOwnPropertySymbols(app).find(({ description }) => description === 'fastify.hooks')
  const { onSend: hooks } = (symbol === undefined ? {} : Reflect.get(app, symbol)) as { onSend?: readonly object[] }
  return hooks === undefined || [...hooks, ...[onSend ?? []].flat()].some((hook) => !ownHooks.has(hook))
}

/** `isSeen`: by hooks of others. */
function sendHit(reply: FastifyReply, outgoing: OutgoingResponse, isSeen: boolean, late: boolean): unknown {
  reply.code(outgoing.status)
  setHitFields(reply, fieldsOf(outgoing))
  // With a body, even an empty one, Fastify sends Content-Length, which a 204 must not have (RFC 9110 section 8.6).
  const body = outgoing.status === 204 ? null : outgoing.body
  // Without a media type, Fastify would add one to a body.
  const isTyped = reply.hasHeader('content-type')
  if (body !== null && (isSeen || !isTyped)) pending.set(reply, { hit: body })
  if (body !== null && isTyped) return body
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

/** The handler runs, and its reply ends this. */
function begin(reply: FastifyReply, ending: Ending, request: NodeRequest<FastifyRequest>): void {
  const state: Pending = { ending, request }
  pending.set(reply, state)
  reply.raw.once('close', () => {
    if (state.isAnswered === true) return
    if (reply.sent) endHijacked(reply, ending, request)
    else ending.clientLeft()
  })
  ending.late = watchHandler(reply, () => {
    // Nothing of it is stored, so nobody waits for it. A write takes effect with its end.
    if (!(ending instanceof WriteEnding)) ending.abandon()
  })
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

/** Ends replies in the first onSend hook of an application that was just made. */
export function endFirst(app: FastifyInstance): void {
  app.addHook('onSend', endResponse)
}

/**
 * The first onSend hook of an application: it sees what the handler has made, and all other hooks what is sent to this
 * client, hits as well. What they make of it is of this response alone.
 */
function endResponse(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: SendDone): void {
  const state = pending.get(reply)
  if (state === undefined) return done(null, payload)
  if (state.ending === undefined) return done(null, state.hit === undefined ? payload : asSent(reply, state.hit))
  if (state.changed !== undefined) {
    restoreFields(reply, state.changed)
    state.copy?.destroy()
    return done(null, payload)
  }
  const { ending } = state
  state.isAnswered = true
  settle(
    () => {
      const body = unwrapResponse(reply, payload)
      const before = reply.getHeaders()
      return chain(end(state, ending, request, reply, body), (sent) => {
        state.changed = { before, after: reply.getHeaders() }
        return sent
      })
    },
    (sent) => done(null, sent),
    (error) => {
      ending.abandon()
      discard(payload)
      done(asError(error))
    },
  )
}

ownHooks.add(endResponse)

/**
 * The last onSend hook of a route for an unsafe method: other routes may cache its URI, and a hook of the application may
 * have committed what was evicted before, or failed.
 */
export function confirmWrite(host: FastifyHost) {
  const hook = function redwellConfirm(
    request: FastifyRequest,
    reply: FastifyReply,
    payload: unknown,
    done: SendDone,
  ): void {
    const ending = Exchange.of(reply.raw).unsafe(host, new NodeRequest(request, request.raw, host.requests))
    if (ending === undefined) return done(null, payload)
    settle(
      () => end({}, ending, request, reply, unwrapResponse(reply, payload)),
      (sent) => done(null, sent),
      (error) => {
        discard(payload)
        done(asError(error))
      },
    )
  }
  ownHooks.add(hook)
  return hook
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

function end(
  state: Pending,
  ending: Ending,
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
): MaybePromise<unknown> {
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
    return chainHeld(reply, payload, ending.whole(head, body, ambient), (sent) => {
      apply(sent)
      if (sent.body === body) return payload
      discard(payload)
      return sent.body && asSent(reply, sent.body)
    })
  }
  return chainHeld(reply, payload, ending.streamed(head, ambient), ({ instead, headers, capture }) => {
    apply(instead ?? { status: head.status, headers })
    if (instead !== undefined) {
      discard(payload)
      return instead.body && asSent(reply, instead.body)
    }
    if (capture === undefined) return payload
    // Other hooks come first, and what they read is not in the body.
    const watch = (watching: boolean): void => {
      if (ending instanceof RunEnding && state.request !== undefined) state.request.watching = watching
    }
    watch(false)
    state.copy = new Copy(streamOf(payload), capture, () => watch(true))
    return state.copy
  })
}

const TEXT =
  /^(?:text\/|application\/(?:json|xml|javascript|x-www-form-urlencoded)\b|[\w.-]+\/[\w.-]+\+(?:json|xml)\b)/i

/** A body from the store as hooks know it from its handler: text as a string. Without a type, it was that of a serializer. */
function asSent(reply: FastifyReply, body: Buffer): string | Buffer {
  if (reply.hasHeader('content-encoding') || !TEXT.test(String(reply.getHeader('content-type') ?? 'text/'))) return body
  // Whatever charset is declared: the bytes must stay what they are.
  return isUtf8(body) ? body.toString() : body
}

/** Copies the bytes of a payload, because the handler may reuse its buffer. Undefined for a stream. */
function bytesOf(payload: unknown): Buffer | undefined {
  if (payload === null || payload === undefined) return Buffer.alloc(0)
  return typeof payload === 'string' || payload instanceof Uint8Array ? Buffer.from(payload) : undefined
}

function streamOf(payload: unknown): Readable {
  return payload instanceof Readable ? payload : Readable.fromWeb(payload as ReadableStream)
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
