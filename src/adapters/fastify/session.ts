import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { Redis } from '../../create-redis.js'
import { asError, UsageError } from '../../errors.js'
import { type MaybePromise, settle } from '../../maybe-promise.js'
import { SessionGuard, type SessionRequirement } from '../../session/guard.js'
import type { Session } from '../../session/session.js'
import type { SessionOptions } from '../../session/types.js'
import { discard } from '../node/hold.js'
import { ownHooks } from './hooks.js'
import { endFastifySession, openFastifySession } from '../node/sessions.js'
import { guardSession, sessionOf } from '../sessions.js'

/** Options of the plugin's `sessions`. */
export type FastifySessionOptions = SessionOptions<FastifyRequest>

/** Requirement of a route: `'required'`, or options. `false`: the route has no session. */
export type FastifySessionRequirement = 'required' | SessionRequirement<FastifyRequest> | false

/** What the option `sessions` adds to requests. */
export interface RequestWithSession {
  /** Session of this request; anonymous requests have one as well. Needs the plugin's option `sessions`. */
  readonly session: Session
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `'required'` responds with 401 if no user is signed in; `false` disables sessions on the route. */
    session?: FastifySessionRequirement
  }
  // Inherited, so that the declaration of another session plugin has precedence over it.
  interface FastifyRequest extends RequestWithSession {}
}

type Done = (error?: Error) => void

/** Provides a session to every request. */
export function addSessions(app: FastifyInstance, redis: Redis): void {
  app.decorateRequest('session', {
    getter(this: FastifyRequest): Session {
      return sessionOf(this) ?? missing(this)
    },
  })
  app.addHook('onRequest', function redwellSession(request, reply, done): void {
    if (request.routeOptions.config.session === false) return done()
    finish(() => openFastifySession(redis.sessions, request, request.raw, reply), done)
  })
  app.addHook('onSend', endUnlessLast)
}

/** Marks routes that end their session themselves. */
const ENDS = Symbol('redwell.ends')

/**
 * Ends the session behind all hooks of the application: what they change is saved, and nothing is where one of them fails.
 * Routes that were declared before redwell, and unknown ones, end it with the application's hooks.
 */
export function endLast(route: RouteOptions): void {
  route.config = Object.assign({}, route.config, { [ENDS]: true })
  // A new array, because Fastify declares the HEAD route from the same options.
  route.onSend = [...[route.onSend ?? []].flat(), endSession]
}

function endUnlessLast(...[request, reply, payload, done]: Parameters<typeof endSession>): void {
  if (ENDS in request.routeOptions.config) done(null, payload)
  else endSession(request, reply, payload, done)
}

function endSession(
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
  done: (error?: Error | null, payload?: unknown) => void,
): void {
  const next: Done = (error) => {
    if (error === undefined) return done(null, payload)
    discard(payload)
    done(error)
  }
  if (sessionOf(request) === undefined) next()
  else finish(() => endFastifySession(request, reply, payload), next)
}

ownHooks.add(endSession).add(endUnlessLast)

/** Guards a route by its `config.session`. `name`: its method and template. */
export function guardRoute(route: RouteOptions, redis: Redis, name: string): void {
  const requirement = route.config?.session
  if (requirement === undefined || requirement === false) return
  const where = `config.session of ${name}`
  if (!redis.sessions.isConfigured) {
    throw new UsageError(`${where} needs sessions: call \`app.register(redwell, { sessions: { … } })\`.`)
  }
  const guard = new SessionGuard<FastifyRequest>(where, requirement === 'required' ? {} : requirement)
  const hook = function redwellRequireSession(request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const act = async (): Promise<void> => {
      const answer = await guardSession(guard, request.session, request)
      if (answer === undefined) {
        if (guard.isRecent) reply.header('Cache-Control', 'no-store')
        return done()
      }
      for (const [field, value] of answer.fields) reply.header(field, value)
      reply.code(answer.status).send(answer.body)
    }
    act().catch(done)
  }
  // Before the body is read. A new array, because Fastify declares the HEAD route from the same options.
  route.onRequest = [hook, ...[route.onRequest ?? []].flat()]
}

function finish(work: () => MaybePromise<unknown>, done: Done): void {
  settle(
    work,
    () => done(),
    (error) => done(asError(error)),
  )
}

function missing(request: FastifyRequest): never {
  throw new UsageError(
    request.routeOptions.config.session === false
      ? 'This route has `session: false`.'
      : 'The session is not loaded yet: register hooks that read it after the redwell plugin.',
  )
}
