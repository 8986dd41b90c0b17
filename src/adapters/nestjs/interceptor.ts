import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  Logger,
  type NestInterceptor,
  type OnModuleInit,
  type Type,
} from '@nestjs/common'
import { DiscoveryService, HttpAdapterHost } from '@nestjs/core'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Observable, of, tap } from 'rxjs'
import { Redis } from '../../create-redis.js'
import { isSafe, type OutgoingResponse, type ResponseHead } from '../../http/index.js'
import type { CachedRoute } from '../../route/cached-route.js'
import type { Streamed } from '../../route/handler-run.js'
import type { HostTraits } from '../../route/registry.js'
import { type Host, routesOf } from '../declarations.js'
import { type Ending, Exchange, type Sent } from '../exchange.js'
import {
  BODY_FIELDS,
  fieldsOf,
  type FieldSnapshot,
  groupFields,
  mergedValue,
  NO_FIELDS,
  snapshotFields,
} from '../fields.js'
import { type Dispatch, NodeRequest } from '../node/request.js'
import { intercept, serveCached, serveUnsafe, serveWrite, type Visit } from '../node/response.js'
import { type HttpRequest, rawOf } from './decorators.js'
import { declaredHandlers, type Handler, type Plan, planOf } from './plan.js'

type Answer = Observable<unknown>

/** A response of Express is Node's own; one of Fastify has it. */
interface PlatformResponse {
  readonly raw?: ServerResponse
  getHeaders(): Record<string, unknown>
  send(): unknown
}

/** What is asked of the applications of both platforms. */
interface Application extends Dispatch {
  enabled?(setting: string): boolean
  readonly initialConfig?: HostTraits['path'] & { readonly routerOptions?: HostTraits['path'] }
  readonly routing?: Dispatch
}

/** Caches the handlers of controllers. Global; the module provides it. */
export class RedwellInterceptor implements NestInterceptor, OnModuleInit {
  readonly #redis: Redis
  readonly #adapter: HttpAdapterHost
  readonly #logger = new Logger('Redwell')
  readonly #plans = new Map<Type, Map<Handler, Plan>>()
  readonly #discovery: DiscoveryService
  #host: Host | undefined

  constructor(redis: Redis, adapter: HttpAdapterHost, discovery: DiscoveryService) {
    this.#redis = redis
    this.#adapter = adapter
    this.#discovery = discovery
  }

  /** Reads all decorators, so that mistakes are errors of the start. Contexts and microservices answer no HTTP. */
  onModuleInit(): void {
    if ((this.#adapter.httpAdapter as unknown) === undefined) return
    for (const [controller, handler] of declaredHandlers(this.#discovery)) this.plan(controller, handler)
  }

  intercept(context: ExecutionContext, next: CallHandler): Answer | Promise<Answer> {
    if (context.getType() !== 'http') return next.handle()
    const http = context.switchToHttp()
    const platformResponse = http.getResponse<PlatformResponse>()
    const response = rawOf(platformResponse) as ServerResponse
    if (response.headersSent || Exchange.of(response).isDeclared) return next.handle()
    const native = http.getRequest<HttpRequest>()
    const plan = this.plan(context.getClass(), context.getHandler() as Handler)
    if (plan.cachedRoute === undefined && plan.write === undefined && isSafe(native.method)) return next.handle()
    const application = this.#application.routing ?? this.#application
    const request = new NodeRequest(native, rawOf(native) as IncomingMessage, { application, route: plan.name })
    return new Promise((resolve, reject) => {
      let begun = false
      const answer = (answered: Answer): void => {
        begun = true
        resolve(answered)
      }
      const visit: Visit<HttpRequest> = {
        host: this.host,
        request,
        response,
        // Hooks of the platform that run after the handler may read what they like.
        proceed: () => answer(next.handle().pipe(tap({ complete: () => (request.watching = false) }))),
        failed: (error) => (begun ? this.#fail(response, error) : reject(asError(error))),
      }
      if (!isSafe(request.method)) serveUnsafe(visit)
      if (plan.cachedRoute !== undefined) {
        this.#serveCached(visit, plan, plan.cachedRoute, platformResponse, () => answer(ANSWERED))
      } else if (plan.write !== undefined) serveWrite(visit, plan.write)
      else answer(next.handle())
    })
  }

  plan(controller: Type, handler: Handler): Plan {
    const plans = this.#plans.get(controller) ?? new Map<Handler, Plan>()
    this.#plans.set(controller, plans)
    const plan = plans.get(handler) ?? planOf(controller, handler, this.host)
    plans.set(handler, plan)
    return plan
  }

  /** The adapter is there when the application is, which is later than this. */
  get host(): Host {
    this.#host ??= {
      routes: routesOf(this.#redis),
      traits: { path: pathOf(this.#application), stripsHead: false },
    }
    return this.#host
  }

  get #application(): Application {
    return this.#adapter.httpAdapter.getInstance<Application>()
  }

  /**
   * Nest goes its own way when an interceptor has an answer: other interceptors may wrap it, the platform serializes it,
   * hooks add to it. What comes out at its end is replaced by the hit.
   */
  #serveCached(
    visit: Visit<HttpRequest>,
    plan: Plan,
    cachedRoute: CachedRoute<HttpRequest>,
    platformResponse: PlatformResponse,
    answered: () => void,
  ): void {
    const hit = (outgoing: OutgoingResponse): void => {
      const { response, failed } = visit
      const before = snapshotFields(platformResponse.getHeaders())
      intercept(response, new HitEnding(outgoing, response.statusCode, before, plan.ownFields), failed)
      if (plan.answersItself) platformResponse.send()
      if (plan.renders) skipRendering(platformResponse)
      answered()
    }
    serveCached(visit, cachedRoute, hit, () => snapshotFields(platformResponse.getHeaders(), plan.ownFields))
  }

  /** The handler has answered, and what had to be done before its answer is sent has failed: too late for filters. */
  #fail(response: ServerResponse, error: unknown): void {
    this.#logger.error(error)
    if (response.headersSent) return void response.destroy()
    response.statusCode = 500
    response.setHeader('Content-Type', 'application/json; charset=utf-8')
    response.end(JSON.stringify({ statusCode: 500, message: 'Internal server error' }))
  }
}

// Written out because decorators of parameters need a compiler option that this package's users may do without.
Injectable()(RedwellInterceptor)

Inject(Redis)(RedwellInterceptor, undefined, 0)

Inject(HttpAdapterHost)(RedwellInterceptor, undefined, 1)

Inject(DiscoveryService)(RedwellInterceptor, undefined, 2)

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error })
}

/** What Nest is given in the place of a hit. */
const ANSWERED: Answer = of(undefined)

/** Fields of the empty answer that Nest makes in the place of a hit. */
const REPRESENTATION = new Set([...BODY_FIELDS, 'etag', 'last-modified', 'location'])

/** Fields that only the entry knows, or that it shares with what is set. */
const ENTRY = new Set([
  'age',
  'cache-control',
  'cache-groups',
  'cache-status',
  'date',
  'expires',
  'vary',
  'x-redis-cache',
])

/** Puts a hit in the place of what is answered, with the fields that others have set for this answer. */
class HitEnding implements Ending {
  readonly needsBody = false
  readonly ambient = NO_FIELDS
  readonly #hit: OutgoingResponse
  readonly #status: number
  readonly #before: FieldSnapshot
  readonly #ownFields: ReadonlySet<string>

  constructor(hit: OutgoingResponse, status: number, before: FieldSnapshot, ownFields: ReadonlySet<string>) {
    this.#hit = hit
    this.#status = status
    this.#before = before
    this.#ownFields = ownFields
  }

  whole(head: ResponseHead, body: Buffer): Sent {
    // An interceptor around the cache may still refuse.
    if (head.status >= 400 && head.status !== this.#status) return { ...head, body }
    const fields = new Map(groupFields(head.headers).map((field) => [field.lowerName, field]))
    for (const name of [...REPRESENTATION, ...this.#ownFields]) fields.delete(name)
    for (const field of fieldsOf(this.#hit)) {
      const set = fields.get(field.lowerName)
      // A hook may have set it for this answer; the entry has the one of the answer that it was made of.
      const isLate = set !== undefined && String(set.value) !== this.#before.get(field.lowerName)
      if (!isLate || ENTRY.has(field.lowerName)) {
        fields.set(field.lowerName, { ...field, value: mergedValue(set?.value, field) })
      }
    }
    const headers = Array.from(fields.values(), ({ name, value }) => [value].flat().flatMap((line) => [name, line]))
    return { status: this.#hit.status, headers: headers.flat(), body: this.#hit.body }
  }

  /** A stream of another interceptor, in place of the hit. */
  streamed({ headers }: ResponseHead): Streamed {
    return { headers, capture: undefined }
  }

  abandon(): void {}
}

/** Keeps a template from being rendered for an answer that is there already. */
function skipRendering(response: PlatformResponse): void {
  Object.assign(response, { [response.raw === undefined ? 'render' : 'view']: () => response.send() })
}

/** How the platform tells paths apart. Case counts: parameters keep theirs, whatever the router does with the rest. */
function pathOf(application: Application): HostTraits['path'] {
  const { initialConfig } = application
  if (initialConfig === undefined) return { ignoreTrailingSlash: application.enabled?.('strict routing') === false }
  const { ignoreTrailingSlash, ignoreDuplicateSlashes } = { ...initialConfig, ...initialConfig.routerOptions }
  return { ignoreTrailingSlash, ignoreDuplicateSlashes }
}
