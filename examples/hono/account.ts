import { zValidator } from '@hono/zod-validator'
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { sign, verify as verifyToken } from 'hono/jwt'
import { rateLimit } from 'redwell/hono'
import * as z from 'zod'
import { isStaff, verify } from '../shop/users.js'

declare module 'hono' {
  interface ContextVariableMap {
    /** The signed-in user. */
    account: string | undefined
  }
}

/** For the demonstration. A real one comes from the environment and nowhere else. */
const { JWT_SECRET = 'a secret of at least 32 characters' } = process.env

const LIFETIME_S = 8 * 60 * 60

/** The principal of the cache: `redwell({ principal: signedIn })`. */
export const signedIn = (c: Context): string | undefined => c.var.account

/** Reads the token of a request, where it has one. It runs for hits, too. */
export const authenticate: MiddlewareHandler = async (c, next) => {
  const token = /^Bearer (.+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
  if (token !== undefined) {
    const payload = await verifyToken(token, JWT_SECRET, 'HS256').catch(() => undefined)
    if (payload === undefined) throw new HTTPException(401, { message: 'the token is not valid' })
    c.set('account', String(payload['sub']))
  }
  return next()
}

export const requireUser: MiddlewareHandler = async (c, next) => {
  if (c.var.account === undefined) throw new HTTPException(401, { message: 'sign in first' })
  return next()
}

export const requireStaff: MiddlewareHandler = async (c, next) => {
  if (!isStaff(c.var.account)) throw new HTTPException(403, { message: 'only staff may change products' })
  return next()
}

const signIn = z.object({ name: z.string().max(64), password: z.string().max(64) })

export function accountRoutes() {
  const limit = rateLimit({ rate: '10/minute' })
  return new Hono()
    .post('/sign-in', limit, zValidator('json', signIn), async (c) => {
      const { name, password } = c.req.valid('json')
      const user = verify(name, password)
      if (user === undefined) throw new HTTPException(401, { message: 'wrong name or password' })
      const exp = Math.trunc(Date.now() / 1000) + LIFETIME_S
      return c.json({ token: await sign({ sub: user.name, exp }, JWT_SECRET, 'HS256') })
    })
    .post('/sign-out', (c) => c.body(null, 204)) // the client forgets its token
}
