import type { Context, MiddlewareHandler } from 'hono'
import { UsageError } from '../../errors.js'
import { SessionGuard, type SessionRequirement } from '../../session/guard.js'
import type { Session } from '../../session/session.js'
import type { SessionOptions } from '../../session/types.js'
import { isRefresh } from '../background.js'
import { Exchange } from '../exchange.js'
import { peerOf } from '../node/sessions.js'
import { applySession, DeclaredSessions, guardSession, keepSession, sessionOf, sessionTaken } from '../sessions.js'
import { messageOf, redisOf } from './context.js'

/** Options of `sessions`. */
export type HonoSessionOptions = SessionOptions<Context>

declare module 'hono' {
  interface ContextVariableMap {
    /** Session of this request; anonymous requests have one as well. Needs `sessions()`. */
    session: Session
  }
}

/**
 * Middleware that provides `c.var.session` to the handlers after it; its `data` is saved with the response. Needs
 * `redwell()` before it. Throws OptionsError with every problem of the options.
 *
 * @example
 * app.use(redwell({ url: 'redis://localhost:6379' }))
 * app.use(sessions({ principal: (data) => data.userId }))
 */
export function sessions(options?: HonoSessionOptions): MiddlewareHandler {
  const declared = new DeclaredSessions(options)
  return async function redwellSessions(c, next) {
    const own = declared.on(redisOf(c, 'sessions'), c)
    if (sessionOf(c) !== undefined) return next()
    if ((c.get('session') as Session | undefined) !== undefined) throw sessionTaken('c.var.session')
    const message = messageOf(c)
    let isSent = false
    let session: Session | undefined
    try {
      session = await own.open({
        native: c,
        cookieHeader: c.req.header('cookie'),
        // How the request arrived. Elsewhere than on Node it is unknown, and the cookie is Secure.
        peer: message && (() => peerOf(message)),
        isSent: () => isSent,
        isRefresh: isRefresh(c.req.raw),
      })
      c.set('session', keepSession(c, session))
      await next()
      const { status } = c.res
      try {
        await session.commit(status < 400)
      } catch (error) {
        Exchange.refuse(c, status)
        throw error
      }
      setFields(c, session)
      isSent = true
    } catch (error) {
      // Hono takes the fields over to the error response.
      if (session !== undefined) setFields(c, session)
      throw error
    }
  }
}

/**
 * Middleware that responds with 401 if no user is signed in, or the sign-in is too old. Throws OptionsError with every
 * problem of the options.
 *
 * @example
 * app.post('/password', requireSession({ issuedWithin: '5m' }), handler)
 */
export function requireSession(requirement?: SessionRequirement<Context>): MiddlewareHandler {
  const guard = new SessionGuard<Context>('options of requireSession', requirement)
  return async function redwellRequireSession(c, next) {
    const session = sessionOf(c)
    if (session === undefined) throw new UsageError('c.var.session is missing: call `app.use(sessions())` before.')
    const answer = await guardSession(guard, session, c)
    if (answer !== undefined) {
      const headers = answer.fields.map(([name, value]): [string, string] => [name, value])
      return new Response(answer.body, { status: answer.status, headers })
    }
    await next()
    if (guard.isRecent) c.res.headers.set('Cache-Control', 'no-store')
  }
}

function setFields(c: Context, session: Session): void {
  applySession(session, {
    get: (name) => c.res.headers.get(name) ?? undefined,
    set: (name, value) => c.header(name, value),
    add: (name, value) => c.header(name, value, { append: true }),
  })
}
