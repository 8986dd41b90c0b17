import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { isPromise, type MaybePromise } from '../../maybe-promise.js'
import { RequestProperty } from '../request-property.js'

const holds = new RequestProperty<Hold>()

/** Whether a head can no longer change because it has left, and not because its response is held. */
export function hasLeft(response: ServerResponse, isSent: boolean = response.headersSent): boolean {
  return holds.get(response) === undefined && (isSent || response.headersSent)
}

/** The members of Fastify replies that are used here. */
export interface HeldReply {
  readonly raw: ServerResponse
  getHeader(name: string): number | string | string[] | undefined
  getHeaders(): Readonly<Record<string, unknown>>
  header(name: string, value: string): unknown
  removeHeader(name: string): unknown
}

/**
 * What follows a wait of a reply's onSend hook. Meanwhile Fastify takes the reply for sent, unless it is a stream: then
 * nobody listens to that yet, and its error fails the response.
 */
export function chainHeld<T, U>(
  reply: HeldReply,
  payload: unknown,
  waiting: MaybePromise<T>,
  next: (value: T) => U,
): MaybePromise<U> {
  if (!isPromise(waiting)) return next(waiting)
  if (isStream(payload)) return unlessFails(payload, waiting).then(next)
  if (payload instanceof ReadableStream || payload instanceof Response) return waiting.then(next)
  const before = reply.getHeaders()
  const hold = new Hold(reply.raw, true)
  const release = (): void => {
    hold.release()
    putBack(reply, before)
  }
  return waiting.then(
    (value) => {
      release()
      return next(value)
    },
    (error: unknown) => {
      release()
      throw error
    },
  )
}

function isStream(payload: unknown): payload is Readable {
  return typeof (payload as Partial<Readable> | undefined | null)?.pipe === 'function'
}

/** The listener stays: other hooks may wait as well, and Fastify finds out afterwards that the stream has failed. */
function unlessFails<T>(stream: Readable, waiting: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    stream.on('error', reject)
    waiting.then(resolve, reject)
  })
}

/** Ends what a handler has answered with, where something else is sent instead. */
export function discard(payload: unknown): void {
  const body: unknown = payload instanceof Response ? payload.body : payload
  if (isStream(body)) body.on('error', () => {}).destroy()
  else if (body instanceof ReadableStream) void body.cancel().catch(() => {})
}

/** Fields that a second answer has set go. */
function putBack(reply: HeldReply, before: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys({ ...before, ...reply.getHeaders() })) {
    const value = before[name]
    if (reply.getHeader(name) === value) continue
    reply.removeHeader(name)
    if (value !== undefined) reply.header(name, value as string)
  }
}

/**
 * An answered response that waits for its session or its invalidations. Later code sees what `node:http` shows once a
 * response has been written. A second answer is refused, and changes nothing of the first.
 */
export class Hold {
  /** Whether the answer is complete, as after `end()`. */
  ended: boolean
  readonly #response: ServerResponse
  readonly #status: number
  readonly #message: string
  readonly #releaseSocket: () => void

  constructor(response: ServerResponse, ended: boolean) {
    this.ended = ended
    this.#response = response
    this.#status = response.statusCode
    this.#message = response.statusMessage
    holds.set(response, this)
    if (watched.get(response) === undefined) watchWrites(response)
    this.#releaseSocket = keepSocket(response, () => this.ended)
  }

  /** The response is itself again, with the status of its answer. */
  release(): void {
    const response = this.#response
    holds.set(response, undefined)
    if (response.statusCode !== this.#status) response.statusCode = this.#status
    if (response.req.httpVersionMajor < 2 && response.statusMessage !== this.#message)
      response.statusMessage = this.#message
    this.#releaseSocket()
  }
}

const watched = new RequestProperty<true>()

/** Names of what changes the head, with the words of Node's errors. */
const CHANGES = [
  ['setHeader', 'set'],
  ['setHeaders', 'set'],
  ['appendHeader', 'append'],
  ['removeHeader', 'remove'],
] as const

/**
 * Lets a response show whether it is held. The properties stay, and are those of before once it is not: to take them away
 * would make all that follows slow.
 */
function watchWrites(response: ServerResponse): void {
  watched.set(response, true)
  Object.defineProperties(response, SHOWN)
  const methods = response as unknown as Record<string, unknown>
  for (const [name, verb] of CHANGES) {
    const before = methods[name]
    if (typeof before !== 'function') continue
    methods[name] = function changed(this: ServerResponse, ...args: unknown[]): unknown {
      if (holds.get(this) !== undefined) refuse(this, verb)
      return before.apply(this, args) as unknown
    }
  }
}

/** One table for all, because it is used for many requests. */
const SHOWN: PropertyDescriptorMap = {
  headersSent: {
    configurable: true,
    get(this: ServerResponse) {
      return holds.get(this) !== undefined || inherited(this, 'headersSent')
    },
  },
  writableEnded: {
    configurable: true,
    get(this: ServerResponse) {
      return holds.get(this)?.ended ?? inherited(this, 'writableEnded')
    },
  },
}

function inherited(response: ServerResponse, name: string): unknown {
  return Reflect.get(Object.getPrototypeOf(response) as object, name, response)
}

/** Throws what Node throws where a head has left. */
export function refuse(response: ServerResponse, verb: string): never {
  const error = new Error(`Cannot ${verb} headers after they are sent to the client`)
  const code = response.req.httpVersionMajor < 2 ? 'ERR_HTTP_HEADERS_SENT' : 'ERR_HTTP2_HEADERS_SENT'
  throw Object.assign(error, { code })
}

/**
 * Express destroys the socket where it finds an error after the answer. Node has the answer on its way by then, so here
 * that waits until it is: the whole of one that has ended, and otherwise what was written. A socket that fails is not
 * kept. Returns what ends this.
 */
function keepSocket(response: ServerResponse, isEnded: () => boolean): () => void {
  const { socket } = response
  // Injected requests may have none.
  if (!socket || response.req.httpVersionMajor >= 2) return () => {}
  const { destroy } = socket as { readonly destroy: (this: Socket, error?: Error) => Socket }
  let isKept = true
  let isWanted = false
  const later = (error?: Error): Socket => {
    if (!isKept || error !== undefined || response.destroyed) return destroy.call(socket, error)
    isWanted = true
    return socket
  }
  socket.destroy = later
  return () => {
    isKept = false
    if (socket.destroy === later) socket.destroy = destroy
    if (!isWanted) return
    if (isEnded()) response.once('finish', () => socket.destroy())
    else setImmediate(() => socket.destroy())
  }
}
