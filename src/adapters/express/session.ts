import type { Request } from 'express'
import type { IncomingMessage } from 'node:http'
import { UsageError } from '../../errors.js'
import { SessionGuard, type SessionRequirement } from '../../session/guard.js'
import type { Session } from '../../session/session.js'
import type { SessionData, SessionOptions } from '../../session/types.js'
import { guardNodeSession, serveSession } from '../node/sessions.js'
import { DeclaredSessions, sessionOf } from '../sessions.js'
import { type Middleware, redisOf } from './locals.js'

type Callback = (error?: unknown) => void

/** Options of `sessions`. */
export type ExpressSessionOptions = SessionOptions<Request>

/** Members of a session in addition to its properties, which cannot have the same names. */
export interface ExpressSessionMethods {
  /** Saves now, regardless of the response. */
  save(): Promise<void>
  /** The same with a callback. */
  save(callback: Callback): void
  /** Replaces the request's session by an empty one with a new id; the old object is not changed. */
  regenerate(): Promise<void>
  /** The same with a callback. */
  regenerate(callback: Callback): void
  /** Ends the session, and clears its cookie with the response. */
  destroy(): Promise<void>
  /** The same with a callback. */
  destroy(callback: Callback): void
  /** Same as `destroy()`. */
  end(): Promise<void>
  /** Gives the session a new id with the response: when a user signs in or has confirmed the password. */
  rotate(): void
  /** Restarts the idle timeout with the response, or with `save()`. */
  touch(): void
  /** Identifies the session in device lists; it cannot be used to sign in. */
  readonly handle: string | undefined
  /** The signed-in user; undefined if no user is signed in. */
  readonly subject: string | undefined
}

/** The properties of a session, and its methods, which are not enumerable. */
export type ExpressSession = SessionData & ExpressSessionMethods

/** What `sessions()` adds to requests. */
export interface RequestWithSession {
  /** Session of this request; anonymous requests have one as well. Needs `sessions()`. */
  session: SessionBeside<Express.Request>
}

/**
 * The type of `req.session`, unless express-session declares one, which then has precedence: ours must fit it, or the
 * compiler refuses both.
 */
// oxlint-disable-next-line typescript/no-explicit-any -- only `any` fits what another package declares
export type SessionBeside<Req> = Req extends { sessionID: string } ? any : ExpressSession

declare global {
  // The way @types/express lets packages add to requests.
  namespace Express {
    // Inherited, so that the declaration of express-session has precedence over it.
    interface Request extends RequestWithSession {}
  }
}

/** The session behind an object of properties. */
const OF = Symbol('redwell.session-of')

interface Holder {
  readonly [OF]: { readonly session: Session; readonly request: Request }
}

/**
 * Middleware that provides `req.session` to the handlers after it; its properties are saved with the response. Needs
 * `redwell()` before it. Throws OptionsError with every problem of the options.
 *
 * @example
 * app.use(redwell({ url: 'redis://localhost:6379' }))
 * app.use(sessions({ principal: (session) => session.passport?.user }))
 */
export function sessions(options?: ExpressSessionOptions): Middleware {
  const declared = new DeclaredSessions(options)
  return function redwellSessions(req, res, next) {
    const request = req as Request
    serveSession({
      sessions: declared.on(redisOf(res, 'sessions'), request),
      native: request,
      message: req,
      response: res,
      holder: (session) => holderOf(session, request),
      loaded: () => void Object.defineProperty(request, 'session', EXPOSED),
      proceed: next,
    })
  }
}

/**
 * Middleware that responds with 401 if no user is signed in, or the sign-in is too old. Throws OptionsError with every
 * problem of the options.
 *
 * @example
 * app.post('/password', requireSession({ issuedWithin: '5m' }), handler)
 */
export function requireSession(requirement?: SessionRequirement<Request>): Middleware {
  const guard = new SessionGuard<Request>('options of requireSession', requirement)
  return function redwellRequireSession(req, res, next) {
    guardNodeSession(guard, req as Request, res, next)
  }
}

/**
 * Returns the session of `req.session`, for example for `revokeAll(userId, { except: sessionOfRequest(req) })`. Throws
 * UsageError if there is none.
 */
export function sessionOfRequest(req: IncomingMessage): Session {
  const session = sessionOf(req)
  if (session === undefined) throw new UsageError('There is no session: call `app.use(sessions())` before.')
  return session
}

/** One for all requests: with functions of its own, each would have a shape of its own, which is slow to make and to use. */
const EXPOSED: PropertyDescriptor & ThisType<Request> = {
  configurable: true,
  enumerable: true,
  get() {
    return sessionOfRequest(this).data
  },
  set() {
    throw new UsageError('req.session cannot be replaced: change its properties, or call end() or regenerate().')
  },
}

function holderOf(session: Session, request: Request): SessionData {
  return Object.defineProperty(Object.create(METHODS) as object, OF, { value: { session, request } })
}

function of(holder: unknown): Session {
  return (holder as Holder)[OF].session
}

/** Calls a callback, if there is one, asynchronously with the error first. */
function answered(work: Promise<void>, callback: Callback | undefined): Promise<void> | undefined {
  if (callback === undefined) return work
  work.then(
    () => setImmediate(callback),
    (error: unknown) => setImmediate(callback, error),
  )
  return undefined
}

/** Without a prototype: a session has only the properties that were set. */
const METHODS: object = Object.create(null, {
  ...methods({
    save(this: unknown, callback?: Callback) {
      return answered(of(this).save(), callback)
    },
    regenerate(this: unknown, callback?: Callback) {
      const { session, request } = (this as Holder)[OF]
      session.regenerate(holderOf(session, request))
      return answered(Promise.resolve(), callback)
    },
    destroy(this: unknown, callback?: Callback) {
      return answered(of(this).end(), callback)
    },
    end(this: unknown) {
      return of(this).end()
    },
    rotate(this: unknown) {
      of(this).rotate()
    },
    touch(this: unknown) {
      of(this).touch()
    },
  }),
  handle: accessor('handle', (holder) => of(holder).handle),
  subject: accessor('subject', (holder) => of(holder).subject),
})

function methods(named: Readonly<Record<string, (...args: never[]) => unknown>>): PropertyDescriptorMap {
  return Object.fromEntries(Object.entries(named).map(([name, method]) => [name, accessor(name, () => method)]))
}

/** A name that is reserved for a method. */
function accessor(name: string, get: (holder: unknown) => unknown): PropertyDescriptor {
  return {
    get(this: unknown) {
      return get(this)
    },
    set() {
      throw new UsageError(`'${name}' is a method of the session: choose another name for the property.`)
    },
  }
}
