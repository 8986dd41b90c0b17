import type { Request, Response } from 'express'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { UsageError } from '../../errors.js'
import { SessionGuard, type SessionRequirement } from '../../session/guard.js'
import type { Session } from '../../session/session.js'
import type { SessionData, SessionOptions } from '../../session/types.js'
import { guardNodeSession, serveSession } from '../node/sessions.js'
import { DeclaredSessions, sessionOf } from '../sessions.js'

type Middleware = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

type Callback = (error?: unknown) => void

/** Options of `sessions`. */
export type ExpressSessionOptions = SessionOptions<Request>

/** What a session has besides its properties. Names of properties must be others. */
export interface ExpressSessionMethods {
  /** Saves now, whatever the response will be. */
  save(): Promise<void>
  /** The same, with a callback. */
  save(callback: Callback): void
  /** Puts an empty session under a new id on the request; the old object stays as it is. */
  regenerate(): Promise<void>
  /** The same, with a callback. */
  regenerate(callback: Callback): void
  /** Signs out: the session is gone, and its cookie with the response. */
  destroy(): Promise<void>
  /** The same, with a callback. */
  destroy(callback: Callback): void
  /** As `destroy()`. */
  end(): Promise<void>
  /** Gives the session another id with the response: after a password was confirmed again. */
  rotate(): void
  /** Restarts the idle clock. */
  touch(): void
  /** Names the session in lists of devices; it opens nothing. */
  readonly handle: string | undefined
  /** Whose session it is; undefined while nobody is signed in. */
  readonly subject: string | undefined
}

/** The properties of a session, and its methods, which are not enumerable. */
export type ExpressSession = SessionData & ExpressSessionMethods

declare global {
  // How @types/express lets packages name what is on a request.
  namespace Express {
    interface Request {
      /** The session of this request; there is one for anonymous requests, too. Needs `sessions()`. */
      session: ExpressSession
    }
  }
}

/** The session behind an object of properties. */
const OF = Symbol('redwell.session-of')

interface Holder {
  readonly [OF]: { readonly session: Session; readonly request: Request }
}

/**
 * Gives every request behind it a session: `req.session`, whose properties are saved with the response. Needs
 * `redwell()` before it. Throws OptionsError with every problem of the options.
 *
 * @example
 * app.use(redwell({ url: 'redis://localhost:6379' }))
 * app.use(sessions({ principal: (session) => session.passport?.user }))
 */
export function sessions(options?: ExpressSessionOptions): Middleware {
  const declared = new DeclaredSessions(options)
  return function redwellSessions(req, res, next) {
    const [request, response] = [req as Request, res as Response]
    if (response.locals.redis === undefined) {
      return next(new UsageError('res.locals.redis is not there: write `app.use(redwell({ … }))` before sessions.'))
    }
    serveSession({
      sessions: declared.on(response.locals.redis),
      native: request,
      message: req,
      response: res,
      holder: (session) => holderOf(session, request),
      proceed: (error) => {
        if (error === undefined) expose(request)
        next(error)
      },
    })
  }
}

/**
 * Answers 401 where nobody is signed in, or was too long ago. Throws OptionsError with every problem of the options.
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
 * The session behind `req.session`, such as for `revokeAll(userId, { except: sessionOfRequest(req) })`. Throws
 * UsageError where there is none.
 */
export function sessionOfRequest(req: IncomingMessage): Session {
  const session = sessionOf(req)
  if (session === undefined) throw new UsageError('There is no session: write `app.use(sessions())` before.')
  return session
}

function expose(request: Request): void {
  if (Object.hasOwn(request, 'session')) return
  Object.defineProperty(request, 'session', {
    configurable: true,
    enumerable: true,
    get: () => sessionOfRequest(request).data,
    set() {
      throw new UsageError('req.session cannot be replaced: change its properties, or call end() or regenerate().')
    },
  })
}

function holderOf(session: Session, request: Request): SessionData {
  return Object.defineProperty(Object.create(METHODS) as object, OF, { value: { session, request } })
}

function of(holder: unknown): Session {
  return (holder as Holder)[OF].session
}

/** For those who pass a callback it is called later, with the error first. */
function answered(work: Promise<void>, callback: Callback | undefined): Promise<void> | undefined {
  if (callback === undefined) return work
  work.then(
    () => setImmediate(callback),
    (error: unknown) => setImmediate(callback, error),
  )
  return undefined
}

/** No `any` of `Object.prototype` either: properties of a session are those that were set. */
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

/** A name of ours, which no property can take. */
function accessor(name: string, get: (holder: unknown) => unknown): PropertyDescriptor {
  return {
    get(this: unknown) {
      return get(this)
    },
    set() {
      throw new UsageError(`'${name}' belongs to the session itself: choose another name for the property.`)
    },
  }
}
