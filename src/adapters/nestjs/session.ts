import { type CanActivate, type ExecutionContext, Inject, Logger, type MiddlewareConsumer } from '@nestjs/common'
import { HttpAdapterHost, Reflector } from '@nestjs/core'
import type { FastifyInstance } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Redis } from '../../create-redis.js'
import { asError, SessionError, UsageError } from '../../errors.js'
import { chain, type MaybePromise, settle } from '../../maybe-promise.js'
import { SessionGuard, type SessionRequirement } from '../../session/guard.js'
import type { SessionOptions } from '../../session/types.js'
import { endWithResponse, openFastifySession, serveSession } from '../node/sessions.js'
import { guardSession, sessionOf } from '../sessions.js'
import { type CacheDecorator, declaring, type HttpRequest } from './decorators.js'
import { PerHandler } from './plan.js'
import { type HeaderTarget, refuse } from './rate-limit.js'

/** Options of the module's `sessions`. */
export type NestSessionOptions<Req = HttpRequest> = SessionOptions<Req>

const REQUIRED = 'redwell:require-session'

/**
 * Responds with 401 if no user is signed in, or the sign-in is too old, before the handler and interceptors. On a handler
 * or a controller. Throws OptionsError with every problem of the options.
 *
 * @example
 * @RequireSession({ issuedWithin: '5m' })
 * @Post('password')
 */
export function RequireSession<Req = HttpRequest>(requirement?: SessionRequirement<Req>): CacheDecorator {
  const declare = (where: string) => new SessionGuard<Req>(where, requirement)
  return declaring('@RequireSession', REQUIRED, '@RequireSession()', requirement, declare)
}

/** Requirement of `@RequireSession`. */
export class RequireSessionGuard implements CanActivate {
  readonly #required: PerHandler<{ readonly guard: SessionGuard<HttpRequest> | undefined }>

  constructor(reflector: Reflector) {
    this.#required = new PerHandler((controller, handler) => ({
      guard: reflector.getAllAndOverride<SessionGuard<HttpRequest> | undefined>(REQUIRED, [handler, controller]),
    }))
  }

  canActivate(context: ExecutionContext): MaybePromise<boolean> {
    if (context.getType() !== 'http') return true
    const { guard } = this.#required.at(context)
    if (guard === undefined) return true
    const http = context.switchToHttp()
    const native = http.getRequest<HttpRequest>()
    const session = sessionOf(native)
    if (session === undefined)
      throw new UsageError('@RequireSession needs sessions: call `RedwellModule.forRoot({ sessions: { … } })`.')
    const response = http.getResponse<HeaderTarget>()
    return chain(guardSession(guard, session, native), (answer) => {
      if (answer !== undefined) refuse(response, answer)
      if (guard.isRecent) response.header('Cache-Control', 'no-store')
      return true
    })
  }
}

Inject(Reflector)(RequireSessionGuard, undefined, 0)

/** Provides a session to every request, on both platforms. */
export class SessionInstaller {
  readonly #redis: Redis
  readonly #adapter: HttpAdapterHost

  constructor(redis: Redis, adapter: HttpAdapterHost) {
    this.#redis = redis
    this.#adapter = adapter
  }

  /** Called when the application is initialized, before its routes. */
  install(consumer: MiddlewareConsumer): void {
    const { sessions } = this.#redis
    if (!sessions.isConfigured) return
    const { httpAdapter } = this.#adapter
    if (httpAdapter.getType() === 'fastify') return this.#onFastify(httpAdapter.getInstance<FastifyInstance>())
    consumer
      .apply((message: IncomingMessage & HttpRequest, response: ServerResponse, next: (error?: unknown) => void) => {
        serveSession({
          ...{ sessions, native: message, message, response },
          loaded: () => void Object.defineProperty(message, 'session', EXPOSED),
          proceed: next,
        })
      })
      .forRoutes('{*path}')
  }

  #onFastify(app: FastifyInstance): void {
    const { sessions } = this.#redis
    app.decorateRequest('session', {
      getter(this: object) {
        return sessionOf(this) as never
      },
    })
    app.addHook('onRequest', (request, reply, done) => {
      settle(
        () => openFastifySession(sessions, request, request.raw, reply),
        (session) => {
          // Not in a hook: the cache runs after hooks, and must not see the fields of this client's session.
          endWithResponse(session, reply.raw, (error) => failLate(reply.raw, error))
          done()
        },
        (error) => done(asError(error)),
      )
    })
  }
}

/** The handler has responded, but something failed before that was sent: too late for exception filters. */
export function failLate(response: ServerResponse, error: unknown): void {
  const isKnown = error instanceof SessionError
  if (!isKnown) new Logger('Redwell').error(error)
  if (response.headersSent) return void response.destroy()
  const statusCode = isKnown ? error.statusCode : 500
  response.statusCode = statusCode
  response.setHeader('Content-Type', 'application/json; charset=utf-8')
  response.end(JSON.stringify({ statusCode, message: isKnown ? error.message : 'Internal server error' }))
}

Inject(Redis)(SessionInstaller, undefined, 0)

Inject(HttpAdapterHost)(SessionInstaller, undefined, 1)

/** `@Session()` of Nest reads this property. One for all requests, which so have the same shape. */
const EXPOSED: PropertyDescriptor & ThisType<object> = {
  configurable: true,
  enumerable: true,
  get() {
    return sessionOf(this)
  },
}
