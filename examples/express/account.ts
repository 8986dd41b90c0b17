import { type RequestHandler, Router } from 'express'
import passport from 'passport'
import { Strategy } from 'passport-local'
import type { SessionData } from 'redwell'
import { rateLimit, sessions } from 'redwell/express'
import { isStaff, verify } from '../shop/users.js'

declare global {
  namespace Express {
    interface User {
      id: string
    }
  }
}

declare module 'redwell' {
  interface SessionData {
    passport?: { user?: unknown } | undefined
  }
}

const authenticator = new passport.Passport()
authenticator.use(
  new Strategy({ usernameField: 'name' }, (name, password, done) => {
    const user = verify(name, password)
    done(null, user === undefined ? false : { id: user.name })
  }),
)
authenticator.serializeUser((user, done) => done(null, user.id))
authenticator.deserializeUser((id: string, done) => done(null, { id }))

/** Passport on the sessions of redwell. The user that Passport keeps in the session is also the principal of the cache. */
export function authenticate(): RequestHandler[] {
  const principal = (session: SessionData) => session.passport?.user as string | undefined
  return [sessions({ idleTtl: '30m', absoluteTtl: '8h', principal }), authenticator.session()]
}

export const requireUser: RequestHandler = (req, res, next) => {
  if (req.user === undefined) res.status(401).json({ message: 'sign in first' })
  else next()
}

export const requireStaff: RequestHandler = (req, res, next) => {
  if (!isStaff(req.user?.id)) res.status(403).json({ message: 'only staff may change products' })
  else next()
}

export function accountRoutes(): Router {
  return Router()
    .post('/sign-in', rateLimit({ rate: '10/minute' }), authenticator.authenticate('local'), (_req, res) => {
      res.status(204).end()
    })
    .post('/sign-out', (req, res, next) => {
      req.logout((error) => (error === undefined || error === null ? res.status(204).end() : next(error)))
    })
}
