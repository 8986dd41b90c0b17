import type { FastifyReply, FastifyRequest } from 'fastify'
import { pipeline, Readable, Transform } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { HeaderList, OutgoingResponse, ResponseHead } from '../../http/index.js'
import type { CachedRoute, RouteLookup } from '../../route/cached-route.js'
import type { Capture } from '../../route/capture.js'
import type { HandlerRun, Streamed } from '../../route/handler-run.js'
import type { RequestContext } from '../../route/request.js'
import type { WriteRoute, WriteSession } from '../../route/write-session.js'
import { ASKED_OF_ALL, saysNothing } from '../node/request.js'
import { applyRequestFields, watchDerived, watchFields } from '../node/watch.js'
import type { Refresher } from './refresher.js'

interface RunState {
  readonly run: HandlerRun
  /** Fields that were set before the handler ran, with their values. */
  readonly ambient: Readonly<Record<string, unknown>>
}

/** What a request carries between its hooks; nothing where it was answered from the cache. */
export type RequestState = RunState | { readonly write: WriteSession } | { readonly hit: Buffer }

/** The property of a request that holds its state. */
export const STATE = Symbol('redwell.state')

declare module 'fastify' {
  interface FastifyRequest {
    [STATE]: RequestState | undefined
  }
}

type Done = (error?: Error) => void

type SendDone = (error?: Error | null, payload?: unknown) => void

/** The reader of a cached route: the last of its preHandler hooks, so that whatever guards the route has run. */
export function cacheReader(cache: CachedRoute<FastifyRequest>, refresher: Refresher) {
  return function redwellCache(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const own = refresher.take(request)
    if (own !== undefined) return begin(request, reply, own, done)
    const asked = new CacheableRequest(request)
    const decide = (lookup: RouteLookup): void => {
      try {
        if (lookup.outcome !== 'hit') return begin(request, reply, lookup.run, done)
        send(request, reply, lookup.response)
        if (lookup.refresh !== undefined) void lookup.refresh.then((run) => run && refresher.run(request, run))
      } catch (error) {
        done(error as Error)
      }
    }
    try {
      const lookup = cache.lookup(asked)
      if (lookup instanceof Promise) lookup.then(decide, done)
      else decide(lookup)
    } catch (error) {
      done(error as Error)
    }
  }
}

function begin(request: FastifyRequest, reply: FastifyReply, run: HandlerRun, done: Done): void {
  applyRequestFields(request.raw, run.requestFields)
  watch(request, run)
  request[STATE] = { run, ambient: reply.getHeaders() }
  // A hijacked reply never reaches onSend; its lease must not outlive the connection.
  reply.raw.once('close', () => {
    if (reply.sent) run.abandon()
  })
  done()
}

/** `@fastify/session` saves what it has in a hook that runs after every handler. */
const READ_BEHIND = ['session']

/** A handler that looks at who asks answers for somebody. */
function watch(request: FastifyRequest, run: HandlerRun): void {
  if (run.watched.length === 0) return
  const read = (name: string): void => run.noteRead(name)
  watchFields(request.headers, run.watched, read)
  watchDerived(request, run.watched, read, READ_BEHIND)
}

/** Hits of the same second give the same object, so what Fastify needs of it is made once. */
function send(request: FastifyRequest, reply: FastifyReply, outgoing: OutgoingResponse): void {
  outgoing.memo ??= toFields(outgoing.headers)
  const fields = outgoing.memo as Fields
  reply.code(outgoing.status).headers(fields)
  if (outgoing.body === null || fields['content-type'] !== undefined) return void reply.send(outgoing.body ?? undefined)
  // Fastify names a media type for bytes that have none; the miss had none, either. So they come after that.
  request[STATE] = { hit: outgoing.body }
  reply.send(undefined)
}

/** The announcer of a write route: the last of its preHandler hooks. */
export function writeReader(write: WriteRoute<FastifyRequest>) {
  return function redwellWrite(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const start = (run: WriteSession): void => {
      request[STATE] = { write: run }
      reply.raw.once('close', () => {
        if (reply.sent) run.abandon()
      })
      done()
    }
    const begun = write.begin(new CacheableRequest(request))
    if (begun instanceof Promise) begun.then(start).catch(done)
    else start(begun)
  }
}

/** The writer of a route that writes and says nothing about caching: its URI may be cached by another route. */
export function unsafeWriter(write: WriteRoute<unknown>) {
  return function redwellUnsafe(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: SendDone): void {
    const begun = write.begin(new CacheableRequest(request))
    const finishing = begun instanceof Promise ? undefined : finishWrite(begun, reply, payload)
    if (finishing instanceof Promise) finishing.then((sent) => done(null, sent), done)
    else done(null, payload)
  }
}

/** The writer: the first of a route's onSend hooks, so that it sees the response before it is compressed. */
export function responseWriter(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: SendDone): void {
  const state = request[STATE]
  if (state === undefined) return done(null, payload)
  request[STATE] = undefined
  if ('hit' in state) return done(null, state.hit)
  try {
    const finishing =
      'write' in state ? finishWrite(state.write, reply, payload) : finishRun(state, request, reply, payload)
    if (finishing instanceof Promise) finishing.then((sent) => done(null, sent), done)
    else done(null, finishing)
  } catch (error) {
    if ('run' in state) state.run.abandon()
    done(error as Error)
  }
}

function finishRun(
  { run, ambient }: RunState,
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
): unknown {
  const head = { status: reply.statusCode, headers: readHeaders(reply) }
  const body = wholeBody(payload, bodiless(request, reply))
  const given = ambientNames(reply, ambient)
  if (body !== undefined) {
    const outgoing = run.finish(head, body, given)
    if (outgoing instanceof Promise) return outgoing.then((sent) => apply(reply, head, sent, body, payload, given))
    return apply(reply, head, outgoing, body, payload, given)
  }
  const streamed = run.stream(head, given)
  const release = ({ instead, headers, capture }: Streamed): unknown => {
    if (instead !== undefined) {
      asReadable(payload).destroy()
      return apply(reply, head, instead, NOTHING, payload, given)
    }
    setHeaders(reply, head.headers, headers, given)
    return capture === undefined ? payload : pipeline(asReadable(payload), tee(capture), () => capture.abort())
  }
  return streamed instanceof Promise ? streamed.then(release) : release(streamed)
}

/** Whether what a stream may carry is no content (RFC 9110 section 6.4.1). */
function bodiless(request: FastifyRequest, reply: FastifyReply): boolean {
  return request.method === 'HEAD' || reply.statusCode === 304 || reply.statusCode === 204
}

/** The body on its way out, copied beside. Complete before the last byte leaves: who asks next finds it stored. */
function tee(capture: Capture): Transform {
  return new Transform({
    transform(chunk: Buffer, _, next) {
      capture.write(chunk)
      next(null, chunk)
    },
    flush(next) {
      const done = capture.complete()
      if (done instanceof Promise) done.then(() => next(), next)
      else next()
    },
  })
}

/** Fields from before the handler that it has left as they were. */
function ambientNames(reply: FastifyReply, ambient: RunState['ambient']): ReadonlySet<string> {
  return new Set(Object.keys(ambient).filter((name) => reply.getHeader(name) === ambient[name]))
}

/** Sends what was decided; the handler's own payload where its body is what is sent. */
function apply(
  reply: FastifyReply,
  head: ResponseHead,
  outgoing: OutgoingResponse,
  body: Buffer,
  payload: unknown,
  given: ReadonlySet<string>,
): unknown {
  if (outgoing.status !== head.status) reply.code(outgoing.status)
  setHeaders(reply, head.headers, outgoing.headers, given)
  return outgoing.body === body ? payload : outgoing.body
}

const NO_NAMES: ReadonlySet<string> = new Set()

/** Only what is new where all that was there stays; most answers just gain a few fields. */
function setHeaders(
  reply: FastifyReply,
  before: HeaderList,
  after: HeaderList,
  kept: ReadonlySet<string> = NO_NAMES,
): void {
  if (before.every((text, index) => text === after[index])) writeHeaders(reply, after.slice(before.length))
  else replaceHeaders(reply, after, kept)
}

function finishWrite(write: WriteSession, reply: FastifyReply, payload: unknown): unknown {
  const finishing = write.finish({
    status: reply.statusCode,
    headers: () => readHeaders(reply),
    body: () => wholeBody(payload),
  })
  const release = (headers: HeaderList | undefined): unknown => {
    if (headers !== undefined) setHeaders(reply, readHeaders(reply), headers)
    return payload
  }
  return finishing instanceof Promise ? finishing.then(release) : release(finishing)
}

/** The bytes of a payload; undefined where it is a stream that carries some. */
function wholeBody(payload: unknown, empty = false): Buffer | undefined {
  if (typeof payload === 'string') return Buffer.from(payload)
  if (payload === null || payload === undefined) return Buffer.alloc(0)
  if (Buffer.isBuffer(payload)) return payload
  if (payload instanceof Uint8Array) return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  return empty ? NOTHING : undefined
}

const NOTHING = Buffer.alloc(0)

function asReadable(payload: unknown): Readable {
  return typeof (payload as Readable).pipe === 'function'
    ? (payload as Readable)
    : Readable.fromWeb(payload as ReadableStream)
}

/** The fields of a reply as a flat list, repeated lines apart. */
export function readHeaders(reply: FastifyReply): string[] {
  const list: string[] = []
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (Array.isArray(value)) for (const line of value) list.push(name, line)
    else if (value !== undefined) list.push(name, String(value))
  }
  return list
}

/** Fields by lower-case name; several lines of one name are a list. */
export type Fields = Record<string, string | string[]>

export function toFields(headers: HeaderList): Fields {
  const fields: Fields = {}
  for (let index = 0; index < headers.length; index += 2) {
    const name = (headers[index] as string).toLowerCase()
    const value = headers[index + 1] as string
    const before = fields[name]
    fields[name] = before === undefined ? value : [before, value].flat()
  }
  return fields
}

/** Sets the fields of a list on a reply; lines of one name stay several lines. */
export function writeHeaders(reply: FastifyReply, headers: HeaderList): void {
  reply.headers(toFields(headers))
}

/** Makes the reply's fields those of a list, beside the ones that are `kept` (lower case) and not in it. */
export function replaceHeaders(reply: FastifyReply, headers: HeaderList, kept: ReadonlySet<string>): void {
  for (const name of Object.keys(reply.getHeaders())) if (!kept.has(name)) reply.removeHeader(name)
  writeHeaders(reply, headers)
}

/** A Fastify request as the cache sees it. */
export class CacheableRequest implements RequestContext<FastifyRequest> {
  readonly native: FastifyRequest
  readonly method: string
  readonly #saysNothing: boolean

  constructor(native: FastifyRequest) {
    this.native = native
    this.method = native.method
    this.#saysNothing = saysNothing(native.raw.rawHeaders)
  }

  /** Before any rewrite by the application: what the client sent. */
  get target(): string {
    return this.native.originalUrl
  }

  get origin(): string {
    return `${this.native.protocol}://${this.native.host}`
  }

  header(name: string): string | undefined {
    if (this.#saysNothing && ASKED_OF_ALL.has(name)) return undefined
    const value = this.native.headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
}
