import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { UsageError } from '../../errors.js'
import { chain, isPromise, type MaybePromise, settle } from '../../maybe-promise.js'
import type { Peer } from '../../session/cookie.js'
import type { SessionGuard } from '../../session/guard.js'
import type { Session } from '../../session/session.js'
import type { Sessions } from '../../session/sessions.js'
import type { SessionData } from '../../session/types.js'
import {
  applySession,
  guardSession,
  keepSession,
  type SessionFieldTarget,
  sessionOf,
  sessionTaken,
} from '../sessions.js'
import { isRefresh } from '../background.js'
import { Exchange } from '../exchange.js'
import { chainHeld, hasLeft, type HeldReply } from './hold.js'
import { sendAnswer } from './answer.js'
import { unwatched } from './peer-watch.js'
import { type HeadEnding, intercept } from './response.js'

const FORWARDED = /^(forwarded|via|x-forwarded-|x-real-ip)/

/** How a request arrived, by its socket; injected requests may have none. */
export function peerOf(message: Pick<IncomingMessage, 'headers'> & { readonly socket?: Socket | undefined }): Peer {
  const { socket, headers } = message
  return {
    encrypted: socket !== undefined && 'encrypted' in socket && socket.encrypted === true,
    remoteAddress: unwatched(() => socket?.remoteAddress),
    localAddress: socket?.localAddress,
    forwarded: Object.keys(headers).some((name) => FORWARDED.test(name)),
  }
}

/** A request in a framework that answers through a `ServerResponse`. */
export interface SessionVisit {
  readonly sessions: Sessions
  /** The object that option functions receive and that the session is stored on. */
  readonly native: object
  readonly message: IncomingMessage
  readonly response: ServerResponse
  readonly holder?: ((session: Session) => SessionData) | undefined
  /** Puts the session on the request. */
  readonly loaded?: (() => void) | undefined
  readonly proceed: (error?: unknown) => void
}

/** Loads the session of a request; it is saved before the response's head is sent. */
export function serveSession({ sessions, native, message, response, holder, loaded, proceed }: SessionVisit): void {
  if (sessionOf(native) !== undefined) return proceed()
  // Handlers would take another middleware's session for ours.
  if (loaded !== undefined && 'session' in message) return proceed(sessionTaken('req.session'))
  const isSent = (): boolean => hasLeft(response)
  settle(
    () => {
      const { cookie: cookieHeader } = message.headers
      const peer = (): Peer => peerOf(message)
      return sessions.open({
        native,
        cookieHeader,
        peer,
        holder,
        isSent,
        isRefresh: isRefresh(message),
        isStreaming: () => isStreaming(response),
      })
    },
    (session) => {
      endWithResponse(keepSession(native, session), response, proceed)
      loaded?.()
      proceed()
    },
    proceed,
  )
}

function isStreaming(response: ServerResponse): boolean {
  return hasLeft(response) && !response.writableEnded
}

/** Saves a session before the head of a response is sent, after any cache behind it. */
export function endWithResponse(session: Session, response: ServerResponse, failed: (error: unknown) => void): void {
  intercept(response, new SessionEnding(session, true), (error) => {
    Exchange.refuse(response, response.statusCode)
    // Nothing more is saved, but what was saved before may have a cookie, and the error response carries it.
    if (!response.headersSent) intercept(response, new SessionEnding(session, false), failed)
    failed(error)
  })
}

class SessionEnding implements HeadEnding {
  readonly #session: Session
  readonly #saves: boolean

  constructor(session: Session, saves: boolean) {
    this.#session = session
    this.#saves = saves
  }

  settle(status: number): MaybePromise<void> {
    return this.#saves ? this.#session.commit(status < 400) : undefined
  }

  edit(response: ServerResponse): void {
    applySession(this.#session, targetOf(response))
  }
}

function targetOf(response: ServerResponse): SessionFieldTarget {
  return {
    get(name) {
      const value = response.getHeader(name)
      return value === undefined ? undefined : String(value)
    },
    set: (name, value) => void response.setHeader(name, value),
    add: (name, value) => void response.appendHeader(name, value),
  }
}

/** The members of Fastify replies that are used here. */
interface FastifyReplyLike extends HeldReply {
  readonly statusCode: number
  /** Also where a WebSocket or the application has taken over. */
  readonly sent: boolean
}

/** Loads a session in an onRequest hook. */
export function openFastifySession(
  sessions: Sessions,
  native: object,
  message: IncomingMessage,
  reply: FastifyReplyLike,
): MaybePromise<Session> {
  const { cookie: cookieHeader } = message.headers
  const isSent = (): boolean => hasLeft(reply.raw, reply.sent)
  const peer = (): Peer => peerOf(message)
  const streams = (): boolean => isStreaming(reply.raw)
  // No spread, which takes several times as long as all else here.
  const request = { native, cookieHeader, peer, isSent, isStreaming: streams, isRefresh: isRefresh(message) }
  const opened = sessions.open(request)
  return chain(opened, (session) => keepSession(native, session))
}

/**
 * The onSend hook: commits once, and sets the fields of this response and of an error response that replaces it.
 */
export function endFastifySession(native: object, reply: FastifyReplyLike, payload: unknown): MaybePromise<void> {
  const session = sessionOf(native)
  if (session === undefined) return undefined
  const apply = (): void =>
    applySession(session, {
      get(name) {
        const value = reply.getHeader(name)
        return value === undefined ? undefined : String(value)
      },
      set: (name, value) => reply.header(name, value),
      add: (name, value) => reply.header(name, value),
    })
  if (failed.has(session)) return apply()
  try {
    const committing = session.commit(reply.statusCode < 400)
    const ended = chainHeld(reply, payload, committing, apply)
    return isPromise(ended) ? ended.catch((error: unknown) => fail(session, error)) : undefined
  } catch (error) {
    return fail(session, error)
  }
}

function fail(session: Session, error: unknown): never {
  failed.add(session)
  throw error
}

/** Sessions that could not be saved: the error response that replaces theirs runs through the hook as well. */
const failed = new WeakSet<Session>()

/** Rejects a request on `node:http`, or calls the next handler. */
export function guardNodeSession<Req extends object>(
  guard: SessionGuard<Req>,
  native: Req,
  response: ServerResponse,
  proceed: (error?: unknown) => void,
): void {
  const session = sessionOf(native)
  if (session === undefined)
    return proceed(new UsageError('There is no session: call `app.use(sessions())` before requireSession.'))
  settle(
    () => guardSession(guard, session, native),
    (answer) => {
      if (guard.isRecent && answer === undefined) response.setHeader('Cache-Control', 'no-store')
      if (answer === undefined) proceed()
      else sendAnswer(response, answer)
    },
    proceed,
  )
}
