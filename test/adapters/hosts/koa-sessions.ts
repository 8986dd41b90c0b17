import type { Context, Middleware } from 'koa'
import { guardNodeSession, serveSession } from '../../../src/adapters/node/sessions.js'
import { DeclaredSessions } from '../../../src/adapters/sessions.js'
import type { Redis, SessionOptions } from '../../../src/index.js'
import { SessionGuard, type SessionRequirement } from '../../../src/session/guard.js'

// Sessions for a sixth framework: all that Koa needs on top of what adapters share.

/** A session for every request behind it. */
export function sessions(redis: Redis, options: SessionOptions<Context>): Middleware {
  const declared = new DeclaredSessions(options)
  return (ctx, next) =>
    new Promise<unknown>((resolve, reject) => {
      let proceeded = false
      serveSession({
        ...{ sessions: declared.on(redis, ctx), native: ctx, message: ctx.req, response: ctx.res },
        proceed(error) {
          // Koa has answered already, and the session could not be saved.
          if (proceeded) return ctx.onerror(error as Error)
          if (error !== undefined) return reject(reasonOf(error))
          proceeded = true
          resolve(next())
        },
      })
    })
}

/** Answers where nobody is signed in. */
export function requireSession(requirement: SessionRequirement<Context>): Middleware {
  const guard = new SessionGuard<Context>('options of requireSession', requirement)
  return (ctx, next) =>
    new Promise<unknown>((resolve, reject) => {
      ctx.respond = false
      ctx.res.once('close', resolve)
      guardNodeSession(guard, ctx, ctx.res, (error) => {
        delete (ctx as Partial<Context>).respond
        if (error === undefined) resolve(next())
        else reject(reasonOf(error))
      })
    })
}

function reasonOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
