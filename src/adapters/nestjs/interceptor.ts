import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  Logger,
  type NestInterceptor,
  type OnModuleInit,
  type Type,
  type VersioningOptions,
} from '@nestjs/common'
import { DiscoveryService, HttpAdapterHost, type NestContainer } from '@nestjs/core'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Observable, of, tap } from 'rxjs'
import { Redis } from '../../create-redis.js'
import { isSafe, type OutgoingResponse } from '../../http/index.js'
import type { PrincipalOf } from '../../route/options.js'
import type { HostTraits } from '../../route/registry.js'
import { type Host, routesOf, valueAt } from '../declarations.js'
import { type Ending, Exchange } from '../exchange.js'
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
import { subjectOf } from '../sessions.js'
import { routedOf } from '../node/routed.js'
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

/** The injection token of the module's `principal`, in an object. */
export const PRINCIPAL = 'redwell:principal'

interface PrincipalOption {
  readonly principal?: PrincipalOf<HttpRequest> | undefined
}

/** Caches the handlers of controllers. Global; the module provides it. */
export class RedwellInterceptor implements NestInterceptor, OnModuleInit {
  readonly #redis: Redis
  readonly #adapter: HttpAdapterHost
  readonly #logger = new Logger('Redwell')
  readonly #plans = new Map<Type, Map<Handler, Plan>>()
  readonly #discovery: DiscoveryService
  readonly #principal: PrincipalOf<HttpRequest> | undefined
  #host: Host | undefined

  constructor(redis: Redis, adapter: HttpAdapterHost, discovery: DiscoveryService, { principal }: PrincipalOption) {
    this.#redis = redis
    this.#adapter = adapter
    this.#discovery = discovery
    this.#principal = principal ?? (redis.sessions.isConfigured ? subjectOf : undefined)
  }

  /** Reads all decorators, so that mistakes are errors of the start. Contexts and microservices answer no HTTP. */
  onModuleInit(): void {
    if ((this.#adapter.httpAdapter as unknown) === undefined) return
    for (const [controller, handler] of declaredHandlers(this.#discovery)) this.#planOf(controller, handler)
    routesOf(this.#redis).expectPrincipal(this.#principal)
  }

  intercept(context: ExecutionContext, next: CallHandler): Answer | Promise<Answer> {
    if (context.getType() !== 'http') return next.handle()
    const http = context.switchToHttp()
    const platformResponse = http.getResponse<PlatformResponse>()
    const response = rawOf(platformResponse) as ServerResponse
    if (response.headersSent || Exchange.of(response).isDeclared) return next.handle()
    const native = http.getRequest<HttpRequest>()
    const plan = this.#planOf(context.getClass(), context.getHandler() as Handler)
    if (plan.cachedRoute === undefined && plan.write === undefined && isSafe(native.method)) return next.handle()
    const application = this.#application.routing ?? this.#application
    const isExpress = platformResponse.raw === undefined
    const request = new NodeRequest(native, rawOf(native) as IncomingMessage, {
      application,
      route: plan.name,
      principal: this.#principal,
      routed: (asked, host) => [...plan.routed(asked, host), ...(isExpress ? routedOf(asked) : [])],
      routedBy: plan.routedBy,
    })
    return new Promise((resolve, reject) => {
      let begun = false
      const answer = (answered: Answer): void => {
        begun = true
        resolve(answered)
      }
      const visit: Visit<HttpRequest> = {
        host: this.#applicationHost,
        request,
        response,
        // Hooks of the platform that run after the handler may read what they like.
        proceed: () => answer(next.handle().pipe(tap({ complete: () => (request.watching = false) }))),
        failed: (error) => (begun ? this.#fail(response, error) : reject(asError(error))),
      }
      if (!isSafe(request.method)) serveUnsafe(visit)
      if (plan.cachedRoute !== undefined) {
        const hit = (outgoing: OutgoingResponse): void => {
          replaceByHit(visit, platformResponse, plan, outgoing)
          answer(ANSWERED)
        }
        serveCached(visit, plan.cachedRoute, hit, () => snapshotFields(platformResponse.getHeaders(), plan.ownFields))
      } else if (plan.write !== undefined) serveWrite(visit, plan.write)
      else answer(next.handle())
    })
  }

  #planOf(controller: Type, handler: Handler): Plan {
    const plans = valueAt(this.#plans, controller, () => new Map<Handler, Plan>())
    return valueAt(plans, handler, () => planOf(controller, handler, this.#applicationHost, this.#versioning))
  }

  /** The adapter is there when the application is, which is later than this. */
  get #applicationHost(): Host {
    this.#host ??= {
      routes: routesOf(this.#redis),
      traits: { path: pathOf(this.#application), stripsHead: false },
    }
    return this.#host
  }

  /** Nest keeps it to itself: the container of any module knows it. */
  get #versioning(): VersioningOptions | undefined {
    const [controller] = this.#discovery.getControllers()
    const module = controller?.host as { readonly container?: NestContainer } | undefined
    return module?.container?.applicationConfig?.getVersioning()
  }

  get #application(): Application {
    return this.#adapter.httpAdapter.getInstance<Application>()
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

Inject(PRINCIPAL)(RedwellInterceptor, undefined, 3)

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

/**
 * Nest goes its own way when an interceptor has an answer: other interceptors may wrap it, the platform serializes it,
 * hooks add to it. What comes out at its end is replaced by the hit.
 */
function replaceByHit(
  { response, failed }: Visit<HttpRequest>,
  platformResponse: PlatformResponse,
  plan: Plan,
  outgoing: OutgoingResponse,
): void {
  const before = snapshotFields(platformResponse.getHeaders())
  intercept(response, hitEnding(outgoing, response.statusCode, before, plan), failed)
  if (plan.answersItself) platformResponse.send()
  // A template must not be rendered for an answer that is there already.
  const render = platformResponse.raw === undefined ? 'render' : 'view'
  if (plan.renders) Object.assign(platformResponse, { [render]: () => platformResponse.send() })
}

/** Puts a hit in the place of what is answered, with the fields that others have set for this answer. */
function hitEnding(hit: OutgoingResponse, status: number, before: FieldSnapshot, { ownFields }: Plan): Ending {
  return {
    needsBody: false,
    ambient: NO_FIELDS,
    whole(head, body) {
      // An interceptor around the cache may still refuse.
      if (head.status >= 400 && head.status !== status) return { ...head, body: body ?? null }
      const fields = new Map(groupFields(head.headers).map((field) => [field.lowerName, field]))
      for (const name of [...REPRESENTATION, ...ownFields]) fields.delete(name)
      for (const field of fieldsOf(hit)) {
        const set = fields.get(field.lowerName)
        // A hook may have set it for this answer; the entry has the one of the answer that it was made of.
        const isLate = set !== undefined && String(set.value) !== before.get(field.lowerName)
        if (!isLate || ENTRY.has(field.lowerName)) {
          fields.set(field.lowerName, { ...field, value: mergedValue(set?.value, field) })
        }
      }
      const headers = [...fields.values()].flatMap(({ name, value }) => [value].flat().flatMap((line) => [name, line]))
      return { status: hit.status, headers, body: hit.body }
    },
    // A stream of another interceptor, in place of the hit.
    streamed: ({ headers }) => ({ headers, capture: undefined }),
    abandon() {},
  }
}

/** How the platform tells paths apart. Case counts: parameters keep theirs, whatever the router does with the rest. */
function pathOf(application: Application): HostTraits['path'] {
  const { initialConfig } = application
  if (initialConfig === undefined) return { ignoreTrailingSlash: true }
  const { ignoreTrailingSlash, ignoreDuplicateSlashes } = { ...initialConfig, ...initialConfig.routerOptions }
  return { ignoreTrailingSlash, ignoreDuplicateSlashes }
}
