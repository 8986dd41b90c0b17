import {
  type CallHandler,
  type CanActivate,
  type ExecutionContext,
  HttpException,
  Inject,
  type NestInterceptor,
  SetMetadata,
} from '@nestjs/common'
import { Reflector } from '@nestjs/core'
import type { ServerResponse } from 'node:http'
import type { Observable } from 'rxjs'
import { Redis } from '../../create-redis.js'
import { DeclaredLimit, type RateLimitInput, type RouteLimit } from '../../limit/route-limit.js'
import type { Answer } from '../answers.js'
import { applyLimit, isPreflight, limitOn } from '../limiting.js'
import { settleWhenSent } from '../node/rate-limit.js'
import { type CacheDecorator, type HttpRequest, rawOf } from './decorators.js'

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
  return SetMetadata(RATE_LIMIT, new DeclaredLimit<Req>('options of @RateLimit', input))
}

/** Exempts a handler, or all handlers of a controller, from every rate limit. */
export function SkipRateLimit(): CacheDecorator {
  return SetMetadata(SKIP, true)
}

interface HeaderTarget {
  header(name: string, value: string): unknown
}

type Handler = ReturnType<ExecutionContext['getHandler']>
type Controller = ReturnType<ExecutionContext['getClass']>

/** Applies the limits of the application and of handlers: in a guard if they need only the request's head. */
class Limiter {
  readonly #redis: Redis
  readonly #reflector: Reflector
  readonly #application: DeclaredLimit<HttpRequest> | undefined
  /** By controller, because a handler may be inherited. */
  readonly #stages = new WeakMap<Controller, Map<Handler, readonly BoundLimit[]>>()

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
    const [controller, handler] = [context.getClass(), context.getHandler()]
    let known = this.#stages.get(controller)
    if (known === undefined) this.#stages.set(controller, (known = new Map<Handler, readonly BoundLimit[]>()))
    let limits = known.get(handler)
    if (limits === undefined) known.set(handler, (limits = this.#bind(controller, handler, stage)))
    return limits
  }

  #bind(controller: Controller, handler: Handler, stage: 'request' | 'handler'): readonly BoundLimit[] {
    const targets = [handler, controller]
    if (this.#reflector.getAllAndOverride<boolean | undefined>(SKIP, targets) === true) return []
    const own = this.#reflector.getAllAndOverride<DeclaredLimit<HttpRequest> | undefined>(RATE_LIMIT, targets)
    const bound: BoundLimit[] = []
    for (const [declared, route] of [
      [this.#application, undefined],
      [own, `${controller.name}.${handler.name}`],
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
      address: native.ip,
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

for (const limiter of [RateLimitGuard, RateLimitInterceptor]) {
  Inject(Redis)(limiter, undefined, 0)
  Inject(Reflector)(limiter, undefined, 1)
  Inject(APPLICATION_LIMIT)(limiter, undefined, 2)
}
