import {
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  HttpException,
  Inject,
  type NestInterceptor,
  type OnModuleInit,
  SetMetadata,
  type Type,
} from '@nestjs/common'
import { DiscoveryService, HttpAdapterHost, Reflector } from '@nestjs/core'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Observable } from 'rxjs'
import { Redis } from '../../create-redis.js'
import { DeclaredLimit, type RateLimitInput, type RouteLimit } from '../../limit/route-limit.js'
import type { Answer } from '../answers.js'
import { applyLimit, isLimited, isPreflight, limitOn } from '../limiting.js'
import { applyNodeLimit, settleWhenSent } from '../node/rate-limit.js'
import { unwatched } from '../node/peer-watch.js'
import { type CacheDecorator, declaring, type HttpRequest, rawOf } from './decorators.js'
import { declaredHandlers, type Handler, nameOf } from './plan.js'

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

interface HeaderTarget {
  header(name: string, value: string): unknown
}

/** The limit of a handler, or that of its controller. */
function limitOf(reflector: Reflector, controller: Type, handler: Handler): DeclaredLimit<HttpRequest> | undefined {
  return reflector.getAllAndOverride<DeclaredLimit<HttpRequest> | undefined>(RATE_LIMIT, [handler, controller])
}

/** Applies the limits of the application and of handlers: in a guard if they need only the request's head. */
class Limiter {
  readonly #redis: Redis
  readonly #reflector: Reflector
  readonly #application: DeclaredLimit<HttpRequest> | undefined
  /** By controller, because a handler may be inherited. */
  readonly #stages = new WeakMap<Type, Map<Handler, readonly BoundLimit[]>>()

  constructor(redis: Redis, reflector: Reflector, application: DeclaredLimit<HttpRequest> | undefined) {
    this.#redis = redis
    this.#reflector = reflector
    this.#application = application
  }

  /** Undefined: nothing limits this handler at this stage. */
  apply(context: ExecutionContext, stage: 'request' | 'handler'): Promise<void> | undefined {
    if (context.getType() !== 'http') return undefined
    const limits = this.#limitsOf(context, stage)
    return limits.length === 0 ? undefined : this.#check(context, limits)
  }

  #limitsOf(context: ExecutionContext, stage: 'request' | 'handler'): readonly BoundLimit[] {
    const [controller, handler] = [context.getClass(), context.getHandler() as Handler]
    let known = this.#stages.get(controller)
    if (known === undefined) this.#stages.set(controller, (known = new Map<Handler, readonly BoundLimit[]>()))
    let limits = known.get(handler)
    if (limits === undefined) known.set(handler, (limits = this.#bind(controller, handler, stage)))
    return limits
  }

  #bind(controller: Type, handler: Handler, stage: 'request' | 'handler'): readonly BoundLimit[] {
    const targets = [handler, controller]
    if (this.#reflector.getAllAndOverride<boolean | undefined>(SKIP, targets) === true) return []
    const own = limitOf(this.#reflector, controller, handler)
    const bound: BoundLimit[] = []
    for (const [declared, route] of [
      [this.#application, undefined],
      [own, nameOf(controller, handler)],
    ] as const) {
      if (declared?.at === stage) bound.push({ declared, limit: limitOn(this.#redis, declared, route) })
    }
    return bound
  }

  async #check(context: ExecutionContext, limits: readonly BoundLimit[]): Promise<void> {
    const http = context.switchToHttp()
    const native = http.getRequest<HttpRequest>()
    const response = http.getResponse<HeaderTarget & object>()
    const raw = rawOf(response) as ServerResponse
    const request = {
      native,
      address: unwatched(() => native.ip),
      isPreflight: isPreflight(native.method, (name) => native.headers[name]),
    }
    for (const { declared, limit } of limits) {
      const outcome = await applyLimit(raw, declared, limit, request)
      if (outcome === undefined) continue
      settleWhenSent(raw)
      for (const [name, value] of outcome.fields) response.header(name, value)
      for (const [name, value] of outcome.answer?.fields ?? []) response.header(name, value)
      if (outcome.error !== undefined) throw outcome.error
      if (outcome.answer !== undefined) throw refusal(outcome.answer)
    }
  }
}

interface BoundLimit {
  readonly declared: DeclaredLimit<HttpRequest>
  readonly limit: RouteLimit<HttpRequest>
}

/** Nest sends a refusal through its exception filters. A JSON body reaches them as an object. */
export function refusal({ status, body, fields }: Answer): HttpException {
  const isJson = fields.some(([name, value]) => name.toLowerCase() === 'content-type' && value.includes('json'))
  const text = typeof body === 'string' ? body : Buffer.from(body).toString()
  return new HttpException(isJson ? (JSON.parse(text) as Record<string, unknown>) : text, status)
}

export class RateLimitGuard extends Limiter implements CanActivate {
  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    return this.apply(context, 'request')?.then(() => true) ?? true
  }
}

/** After all guards, so that options can use the signed-in user; before the cache. */
export class RateLimitInterceptor extends Limiter implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>> {
    return this.apply(context, 'handler')?.then(() => next.handle()) ?? next.handle()
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
    // In one order, because limits of one route are told apart by it, and all processes have to agree.
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
        isLimited(response) ? next() : check(request, response, next),
      )
    }
  }
}

Inject(Redis)(LimitInstaller, undefined, 0)
Inject(HttpAdapterHost)(LimitInstaller, undefined, 1)
Inject(APPLICATION_LIMIT)(LimitInstaller, undefined, 2)
Inject(Reflector)(LimitInstaller, undefined, 3)
Inject(DiscoveryService)(LimitInstaller, undefined, 4)

for (const limiter of [RateLimitGuard, RateLimitInterceptor]) {
  Inject(Redis)(limiter, undefined, 0)
  Inject(Reflector)(limiter, undefined, 1)
  Inject(APPLICATION_LIMIT)(limiter, undefined, 2)
}
