import type { ServerResponse } from 'node:http'
import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  Logger,
  type NestInterceptor,
  type Type,
} from '@nestjs/common'
import { HttpAdapterHost } from '@nestjs/core'
import { type Observable, of, tap } from 'rxjs'
import { isSafe } from '../http/index.js'
import type { Host } from '../node/host.js'
import { sendAnswer } from '../node/fields.js'
import { visit } from '../node/reader.js'
import { Refresher } from '../node/refresher.js'
import { NodeRequest } from '../node/request.js'
import { isRunning } from '../node/run-responder.js'
import { invalidateBy } from '../node/unsafe.js'
import { isWriting, write } from '../node/writer.js'
import { Redis } from '../redis.js'
import type { RouteCache } from '../route/route-cache.js'
import { routesOf } from '../routes-of.js'
import { answerWith } from './hit.js'
import { type Handler, type Plan, planOf } from './plan.js'
import {
  dispatchOf,
  type HttpRequest,
  pathOf,
  type PlatformResponse,
  rawRequest,
  rawResponse,
  skipRendering,
} from './platform.js'

type Answer = Observable<unknown>

/** What Nest is given in the place of a hit. */
const ANSWERED: Answer = of(undefined)

/** A request that has come to its handler, past all guards. */
interface Arrival {
  readonly plan: Plan
  readonly request: NodeRequest<HttpRequest>
  readonly response: PlatformResponse
  readonly res: ServerResponse
  readonly next: CallHandler
}

/** Caches the handlers of controllers. Global; the module provides it. */
export class RedwellInterceptor implements NestInterceptor {
  readonly #redis: Redis
  readonly #adapter: HttpAdapterHost
  readonly #refresher = new Refresher()
  readonly #logger = new Logger('Redwell')
  readonly #plans = new Map<Type, Map<Handler, Plan>>()
  #host: Host | undefined

  constructor(redis: Redis, adapter: HttpAdapterHost) {
    this.#redis = redis
    this.#adapter = adapter
  }

  intercept(context: ExecutionContext, next: CallHandler): Answer | Promise<Answer> {
    if (context.getType() !== 'http') return next.handle()
    const http = context.switchToHttp()
    const response = http.getResponse<PlatformResponse>()
    const res = rawResponse(response)
    if (res.headersSent || isRunning(res) || isWriting(res)) return next.handle()
    const native = http.getRequest<HttpRequest>()
    const plan = this.plan(context.getClass(), context.getHandler() as Handler)
    const request = new NodeRequest(native, rawRequest(native), plan.name)
    const arrival = { plan, request, response, res, next }
    if (!isSafe(request.method)) invalidateBy(this.host, request, res, (error) => this.#fail(res, error))
    if (plan.cache !== undefined) return this.#read(arrival, plan.cache)
    return plan.write === undefined ? next.handle() : this.#write(arrival, plan.write)
  }

  /** What a handler's decorators say. Throws OptionsError for what cannot be meant. */
  plan(controller: Type, handler: Handler): Plan {
    let plans = this.#plans.get(controller)
    if (plans === undefined) this.#plans.set(controller, (plans = new Map()))
    let plan = plans.get(handler)
    if (plan === undefined) plans.set(handler, (plan = planOf(controller, handler, this.host)))
    return plan
  }

  /** Resolves when nothing runs in the background any more. */
  settled(): Promise<void> {
    return this.#refresher.settled()
  }

  /** The adapter is there when the application is, which is later than this. */
  get host(): Host {
    this.#host ??= {
      routes: routesOf(this.#redis),
      traits: { path: pathOf(this.#adapter), refreshes: true, stripsHead: false },
      refresher: this.#refresher,
    }
    return this.#host
  }

  #read({ plan, request, response, res, next }: Arrival, cache: RouteCache<HttpRequest>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let begun = false
      visit({
        host: this.host,
        cache,
        request,
        res,
        dispatch: (own, answer) => dispatchOf(this.#adapter)(own, answer),
        ambient: () => without(response.getHeaders(), plan.ownFields),
        hit: (outgoing) => {
          begun = true
          if (plan.answersItself && response.raw === undefined) sendAnswer(res, outgoing)
          else answerWith(res, outgoing, { fields: response.getHeaders(), own: plan.ownFields })
          if (plan.answersItself && response.raw !== undefined) response.send()
          if (plan.renders) skipRendering(response)
          resolve(ANSWERED)
        },
        proceed: () => {
          begun = true
          // Hooks of the platform that run after the handler may look at whatever they like.
          resolve(next.handle().pipe(tap({ complete: () => request.endWatch() })))
        },
        failed: (error) => (begun ? this.#fail(res, error) : reject(error as Error)),
      })
    })
  }

  #write({ request, res, next }: Arrival, declared: NonNullable<Plan['write']>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let begun = false
      write({
        host: this.host,
        declared,
        request,
        res,
        proceed: () => {
          begun = true
          resolve(next.handle())
        },
        failed: (error) => (begun ? this.#fail(res, error) : reject(error as Error)),
      })
    })
  }

  /** The handler has answered, and what had to be done before its answer leaves has failed. Filters have no part in it. */
  #fail(res: ServerResponse, error: unknown): void {
    this.#logger.error(error)
    if (res.headersSent) return void res.destroy()
    res.statusCode = 500
    res.setHeader('Content-Type', 'application/json; charset=utf-8')
    res.end(JSON.stringify({ statusCode: 500, message: 'Internal server error' }))
  }
}

function without(fields: Readonly<Record<string, unknown>>, names: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.has(name)))
}

// Written out because decorators of parameters need a compiler option that this package's users may do without.
Injectable()(RedwellInterceptor)
Inject(Redis)(RedwellInterceptor, undefined, 0)
Inject(HttpAdapterHost)(RedwellInterceptor, undefined, 1)
