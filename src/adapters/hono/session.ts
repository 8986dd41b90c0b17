import type { Context, MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { IncomingMessage } from 'node:http'
import type { Redis } from '../../create-redis.js'
import { SessionError, UsageError } from '../../errors.js'
import { SessionGuard, type SessionRequirement } from '../../session/guard.js'
import type { Session } from '../../session/session.js'
import type { SessionOptions } from '../../session/types.js'
import { peerOf } from '../node/sessions.js'
import { applySession, DeclaredSessions, guardSession, keepSession } from '../sessions.js'

/** Options of `sessions`. */
export type HonoSessionOptions = SessionOptions<Context>

declare module 'hono' {
  interface ContextVariableMap {
    /** The session of this request; there is one for anonymous requests, too. Needs `sessions()`. */
    session: Session
  }
}

/**
 * Gives every request behind it a session: `c.var.session`, whose `data` is saved with the response. Needs `redwell()`
 * before it. Throws OptionsError with every problem of the options.
 *
 * @example
 * app.use(redwell({ url: 'redis://localhost:6379' }))
 * app.use(sessions({ principal: (data) => data.userId }))
 */
export function sessions(options?: HonoSessionOptions): MiddlewareHandler {
  const declared = new DeclaredSessions(options)
  return async function redwellSessions(c, next) {
    const redis = c.get('redis') as Redis | undefined
    if (redis === undefined)
      throw new UsageError('c.var.redis is not there: write `app.use(redwell({ … }))` before sessions.')
    if ((c.get('session') as Session | undefined) !== undefined) return next()
    try {
      const session = await declared.on(redis).open({
        native: c,
        cookieHeader: c.req.header('cookie'),
        peer: peerOfContext(c),
      })
      c.set('session', keepSession(c, session))
      await next()
      await session.commit(c.res.status < 400)
      setFields(c, session)
    } catch (error) {
      throw asHttp(error)
    }
  }
}

/**
 * Answers 401 where nobody is signed in, or was too long ago. Throws OptionsError with every problem of the options.
 *
 * @example
 * app.post('/password', requireSession({ issuedWithin: '5m' }), handler)
 */
export function requireSession(requirement?: SessionRequirement<Context>): MiddlewareHandler {
  const guard = new SessionGuard<Context>('options of requireSession', requirement)
  return async function redwellRequireSession(c, next) {
    const session = c.get('session') as Session | undefined
    if (session === undefined) throw new UsageError('c.var.session is not there: write `app.use(sessions())` before.')
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

/** Hono's own handling of errors knows the status of its own class only. */
function asHttp(error: unknown): unknown {
  if (!(error instanceof SessionError)) return error
  return new HTTPException(error.statusCode, { message: error.message, cause: error })
}

/** How the request came, with @hono/node-server; elsewhere nothing is known, and the cookie is Secure. */
function peerOfContext({ env }: Context): (() => ReturnType<typeof peerOf>) | undefined {
  const message = (env as { incoming?: IncomingMessage } | undefined)?.incoming
  return message === undefined ? undefined : () => peerOf(message)
}
