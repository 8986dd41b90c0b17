import {
  type CanActivate,
  type ExecutionContext,
  HttpException,
  Inject,
  type OnModuleInit,
  SetMetadata,
  type Type,
} from '@nestjs/common'
import { DiscoveryService, HttpAdapterHost, Reflector } from '@nestjs/core'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Redis } from '../../create-redis.js'
import { DeclaredLimit, type RateLimitInput, type RouteLimit } from '../../limit/route-limit.js'
import { chain, type MaybePromise } from '../../maybe-promise.js'
import { type Answer, setAnswerFields } from '../answers.js'
import { applyLimit, decisionsAbout, isExempt, type LimitOutcome, limitOn } from '../limiting.js'
import { applyNodeLimit, settleWhenSent } from '../node/rate-limit.js'
import { unwatched } from '../node/peer-watch.js'
import { type CacheDecorator, declaring, type HttpRequest, rawOf } from './decorators.js'
import { declaredHandlers, type Handler, nameOf, PerHandler } from './plan.js'

const RATE_LIMIT = 'redwell:rate-limit'

const SKIP = 'redwell:skip-rate-limit'

/** Injection token of the limit of the whole application; undefined if there is none. */
export const APPLICATION_LIMIT = 'redwell:application-limit'

/** Rates or options of `@RateLimit` and of the module's `rateLimit`. */
export type NestRateLimit<Req = HttpRequest> = RateLimitInput<Req>

/**
 * Limits the requests of a handler, or of each handler of a controller. Throws OptionsError with every problem of the
 * options.
 *
 * @example
 * @RateLimit({ rate: ['5/minute', '30/hour'], per: (request) => request.body.email })
 */
export function RateLimit<Req = HttpRequest>(input: NestRateLimit<Req>): CacheDecorator {
  const declare = (where: string) => new DeclaredLimit<Req>(where, input)
  return declaring('@RateLimit', RATE_LIMIT, "@RateLimit('100/minute')", input, declare)
}

/** Exempts a handler, or all handlers of a controller, from every rate limit. */
export function SkipRateLimit(): CacheDecorator {
  return SetMetadata(SKIP, true)
}

/** A response of either platform. */
export interface HeaderTarget {
  header(name: string, value: string): unknown
  /** Of Express; `header` of Fastify adds a cookie to those that are set. */
  append?(name: string, value: string): unknown
}

/** The limit of a handler, or that of its controller. */
function limitOf(reflector: Reflector, controller: Type, handler: Handler): DeclaredLimit<HttpRequest> | undefined {
  return reflector.getAllAndOverride<DeclaredLimit<HttpRequest> | undefined>(RATE_LIMIT, [handler, controller])
}

/** The part of a request at which a limit is decided: as its head is there, or right before the handler. */
type Stage = DeclaredLimit<HttpRequest>['at']

/** Applies the limits of the application and of handlers. */
export class Limiter {
  readonly #redis: Redis
  readonly #reflector: Reflector
  readonly #application: DeclaredLimit<HttpRequest> | undefined
  readonly #stages = new PerHandler((controller, handler) => this.#bind(controller, handler))

  constructor(redis: Redis, reflector: Reflector, application: DeclaredLimit<HttpRequest> | undefined) {
    this.#redis = redis
    this.#reflector = reflector
    this.#application = application
  }

  /** Throws what refuses the request. Undefined: nothing had to be asked. */
  apply(context: ExecutionContext, stage: Stage): MaybePromise<void> {
    if (context.getType() !== 'http') return
    const limits = this.#stages.at(context)[stage]
    if (limits.length > 0) return this.#check(context, limits)
  }

  #bind(controller: Type, handler: Handler): Record<Stage, readonly BoundLimit[]> {
    const bound: Record<Stage, BoundLimit[]> = { request: [], handler: [] }
    if (this.#reflector.getAllAndOverride<boolean | undefined>(SKIP, [handler, controller]) === true) return bound
    for (const [declared, route] of [
      [this.#application, undefined],
      [limitOf(this.#reflector, controller, handler), nameOf(controller, handler)],
    ] as const) {
      if (declared !== undefined) bound[declared.at].push({ declared, limit: limitOn(this.#redis, declared, route) })
    }
    return bound
  }

  #check(context: ExecutionContext, limits: readonly BoundLimit[]): MaybePromise<void> {
    const http = context.switchToHttp()
    const native = http.getRequest<HttpRequest>()
    const response = http.getResponse<HeaderTarget & object>()
    const raw = rawOf(response) as ServerResponse
    const request = {
      native,
      address: unwatched(() => native.ip),
      isExempt: isExempt(raw.req, native.method, (name) => native.headers[name]),
    }
    const checkFrom = (index: number): MaybePromise<void> => {
      const bound = limits[index]
      if (bound === undefined) return
      return chain(applyLimit(raw, bound.declared, bound.limit, request), (outcome) => {
        if (outcome !== undefined) admit(raw, response, outcome)
        return checkFrom(index + 1)
      })
    }
    return checkFrom(0)
  }
}

/** Sets the fields. Throws the refusal, where it is one. */
function admit(raw: ServerResponse, response: HeaderTarget, { fields, error, answer }: LimitOutcome): void {
  settleWhenSent(raw)
  for (const [name, value] of fields) response.header(name, value)
  if (error !== undefined) throw error
  if (answer !== undefined) refuse(response, answer)
}

interface BoundLimit {
  readonly declared: DeclaredLimit<HttpRequest>
  readonly limit: RouteLimit<HttpRequest>
}

/** Nest sends a refusal through its exception filters. A JSON body reaches them as an object. */
export function refuse(response: HeaderTarget, { status, body, fields }: Answer): never {
  setAnswerFields(
    fields,
    (name, value) => response.header(name, value),
    (name, value) => (response.append === undefined ? response.header(name, value) : response.append(name, value)),
  )
  const isJson = fields.some(([name, value]) => name.toLowerCase() === 'content-type' && value.includes('json'))
  const text = typeof body === 'string' ? body : Buffer.from(body).toString()
  throw new HttpException(isJson ? (JSON.parse(text) as Record<string, unknown>) : text, status)
}

/** Applies the limits that need only the request's head; the others wait for all guards: see `RedwellInterceptor`. */
export class RateLimitGuard implements CanActivate {
  readonly #limiter: Limiter

  constructor(limiter: Limiter) {
    this.#limiter = limiter
  }

  canActivate(context: ExecutionContext): MaybePromise<boolean> {
    return chain(this.#limiter.apply(context, 'request'), () => true)
  }
}

type Next = (error?: unknown) => void

/** Declares the limits of all handlers, and applies that of the application where no handler is: guards do not run there. */
export class LimitInstaller implements OnModuleInit {
  readonly #redis: Redis
  readonly #host: HttpAdapterHost
  readonly #application: DeclaredLimit<HttpRequest> | undefined
  readonly #reflector: Reflector
  readonly #discovery: DiscoveryService

  constructor(
    redis: Redis,
    host: HttpAdapterHost,
    application: DeclaredLimit<HttpRequest> | undefined,
    reflector: Reflector,
    discovery: DiscoveryService,
  ) {
    this.#redis = redis
    this.#host = host
    this.#application = application
    this.#reflector = reflector
    this.#discovery = discovery
  }

  /** Called by Nest after it has declared the routes, and before its response to unknown ones. */
  onModuleInit(): void {
    const adapter: HttpAdapterHost['httpAdapter'] | null | undefined = this.#host.httpAdapter
    // An application context has none, a microservice null.
    if (adapter === undefined || adapter === null) return
    // In a fixed order, because it distinguishes limits of one route, and all processes must agree.
    for (const [controller, handler] of declaredHandlers(this.#discovery)) {
      const own = limitOf(this.#reflector, controller, handler)
      if (own !== undefined) limitOn(this.#redis, own, nameOf(controller, handler))
    }
    if (this.#application !== undefined) this.#limitUnknown(adapter, this.#application)
  }

  #limitUnknown(adapter: HttpAdapterHost['httpAdapter'], declared: DeclaredLimit<HttpRequest>): void {
    const limit = limitOn(this.#redis, declared, undefined)
    const check = (request: HttpRequest, response: ServerResponse, next: Next): void =>
      applyNodeLimit(
        response,
        declared,
        limit,
        request,
        unwatched(() => request.ip),
        next,
      )
    if (adapter.getType() === 'fastify') {
      const stage = declared.at === 'request' ? 'onRequest' : 'preHandler'
      adapter
        .getInstance<FastifyInstance>()
        .addHook(stage, (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => {
          if (request.is404) check(request, reply.raw, done as Next)
          else done()
        })
    } else {
      adapter.use((request: IncomingMessage & HttpRequest, response: ServerResponse, next: Next) =>
        // A handler that calls `next` was counted by its guard.
        decisionsAbout(response) > 0 ? next() : check(request, response, next),
      )
    }
  }
}

Inject(Redis)(LimitInstaller, undefined, 0)
Inject(HttpAdapterHost)(LimitInstaller, undefined, 1)
Inject(APPLICATION_LIMIT)(LimitInstaller, undefined, 2)
Inject(Reflector)(LimitInstaller, undefined, 3)
Inject(DiscoveryService)(LimitInstaller, undefined, 4)

Inject(Redis)(Limiter, undefined, 0)
Inject(Reflector)(Limiter, undefined, 1)
Inject(APPLICATION_LIMIT)(Limiter, undefined, 2)

Inject(Limiter)(RateLimitGuard, undefined, 0)
