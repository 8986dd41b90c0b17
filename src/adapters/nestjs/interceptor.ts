import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  type OnApplicationBootstrap,
  type OnModuleInit,
  type Type,
} from '@nestjs/common'
import { MODULE_PATH } from '@nestjs/common/constants.js'
import { DiscoveryService, HttpAdapterHost, type NestContainer } from '@nestjs/core'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { NEVER, type Observable, of } from 'rxjs'
import { Redis } from '../../create-redis.js'
import { asError, UsageError } from '../../errors.js'
import { chain, type MaybePromise } from '../../maybe-promise.js'
import { isSafe, type OutgoingResponse } from '../../http/index.js'
import type { PrincipalOf } from '../../route/options.js'
import { type Host, routesOf } from '../declarations.js'
import { type Ending, Exchange, type RunEnding, type WriteEnding } from '../exchange.js'
import {
  BODY_FIELDS,
  Field,
  fieldsOf,
  type FieldSnapshot,
  type FieldTarget,
  groupFields,
  mergedValue,
  NO_FIELDS,
  setFields,
  snapshotFields,
} from '../fields.js'
import { onFirstSend } from '../node/first-send.js'
import { type Dispatch, NodeRequest } from '../node/request.js'
import { watchReply } from '../reply.js'
import { principalOfSession } from '../sessions.js'
import { EXPRESS_PATH, type FastifyConfig, fastifyPath, rewrittenOf, routedOf } from '../node/routed.js'
import { intercept, sendHit, serveCached, serveUnsafe, serveWrite, type Visit } from '../node/response.js'
import { type HttpRequest, rawOf } from './decorators.js'
import { Limiter } from './rate-limit.js'
import { failLate } from './session.js'
import { declaredHandlers, PerHandler, type Plan, planOf, type Routing } from './plan.js'

type Answer = Observable<unknown>

/** Express extends Node's response; Fastify's reply contains it. */
interface PlatformResponse {
  readonly raw?: ServerResponse
  getHeaders(): Record<string, unknown>
  send(body?: Buffer): unknown
}

/** What Fastify's reply has in addition. */
interface FastifyResponse extends PlatformResponse {
  code(status: number): unknown
  header(name: string, value: string | string[]): unknown
  getHeader(name: string): string | number | string[] | undefined
  removeHeader(name: string): unknown
}

/** The members of both platforms' applications that are used here. */
interface Application extends Dispatch {
  enabled?(setting: string): boolean
  readonly initialConfig?: FastifyConfig
  readonly routing?: Dispatch
}

/** Injection token of an object with the module's `principal`. */
export const PRINCIPAL = 'redwell:principal'

interface PrincipalOption {
  readonly principal?: PrincipalOf<HttpRequest> | undefined
}

/** Caches the handlers of controllers. A global interceptor of the module. */
export class RedwellInterceptor implements NestInterceptor, OnModuleInit, OnApplicationBootstrap {
  readonly #redis: Redis
  readonly #adapter: HttpAdapterHost
  readonly #plans = new PerHandler((controller, handler) =>
    planOf(controller, handler, this.#applicationHost, this.#routingOf(controller)),
  )
  readonly #discovery: DiscoveryService
  readonly #principal: PrincipalOf<HttpRequest> | undefined
  readonly #limiter: Limiter
  #host: Host | undefined
  #container: NestContainer | undefined

  constructor(
    redis: Redis,
    adapter: HttpAdapterHost,
    discovery: DiscoveryService,
    { principal }: PrincipalOption,
    limiter: Limiter,
  ) {
    this.#redis = redis
    this.#adapter = adapter
    this.#discovery = discovery
    this.#principal = principal ?? (redis.sessions.isConfigured ? principalOfSession : undefined)
    this.#limiter = limiter
  }

  /** Reads all decorators, so that mistakes fail the start. Standalone contexts and microservices have no HTTP. */
  onModuleInit(): void {
    const adapter: unknown = this.#adapter.httpAdapter
    // An application context has none, a microservice null.
    if (adapter === undefined || adapter === null) return
    this.#expectOne()
    for (const [controller, handler] of declaredHandlers(this.#discovery)) this.#plans.of(controller, handler)
    routesOf(this.#redis).expectPrincipal(this.#principal)
  }

  /** Namespaces of other modules are known as well. */
  onApplicationBootstrap(): void {
    if (this.#host !== undefined) this.#host.routes.checkEvicted()
  }

  /** A second module would have its own connection, and its routes those of the first. */
  #expectOne(): void {
    const own = this.#discovery.getProviders().filter(({ token }) => token === RedwellInterceptor)
    if (own.length < 2) return
    throw new UsageError(
      'RedwellModule.forRoot or forRootAsync is imported more than once: import it in the root module only, and inject Redis and CacheBackend everywhere. For a second Redis give it a `name`.',
    )
  }

  /** Limits that need what guards found come first: a rejected request does not reach the cache. */
  intercept(context: ExecutionContext, next: CallHandler): MaybePromise<Answer> {
    if (context.getType() !== 'http') return next.handle()
    return chain(this.#limiter.apply(context, 'handler'), () => this.#serve(context, next))
  }

  #serve(context: ExecutionContext, next: CallHandler): MaybePromise<Answer> {
    const http = context.switchToHttp()
    const native = http.getRequest<HttpRequest>()
    const plan = this.#plans.at(context)
    if (plan.cachedRoute === undefined && plan.write === undefined && isSafe(native.method)) return next.handle()
    const platformResponse = http.getResponse<PlatformResponse>()
    const response = rawOf(platformResponse) as ServerResponse
    if (response.headersSent || Exchange.of(response).isDeclared) return next.handle()
    const application = this.#application.routing ?? this.#application
    const isExpress = platformResponse.raw === undefined
    const request = new NodeRequest(native, rawOf(native) as IncomingMessage, {
      application,
      route: plan.name,
      principal: this.#principal,
      routed: (asked, sent) => [...plan.routed(asked, sent), ...(isExpress ? routedOf(asked) : rewrittenOf(asked))],
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
        proceed: () => answer(next.handle()),
        failed: (error) => (begun ? failLate(response, error) : reject(asError(error))),
      }
      if (!isSafe(request.method)) serveUnsafe(visit)
      const begin = (ending: RunEnding | WriteEnding): void => {
        ending.ambient = snapshotFields(platformResponse.getHeaders(), plan.ownFields)
        // Its hooks run before this sees the response; those of Express after it.
        if (isExpress) return
        ending.late = watchReply(platformResponse as FastifyResponse, ending.ambient, () => {})
        // They may read anything; serializers make what is stored.
        onFirstSend(platformResponse, () => (request.watching = false))
      }
      if (plan.cachedRoute !== undefined) {
        const hit = (outgoing: OutgoingResponse): void => {
          if (this.#isAlone && canSend(request, outgoing))
            return answer(sendItself(response, platformResponse, outgoing))
          replaceByHit(visit, platformResponse, plan, outgoing)
          answer(ANSWERED)
        }
        serveCached(visit, plan.cachedRoute, hit, begin)
      } else if (plan.write !== undefined) serveWrite(visit, plan.write, begin)
      else answer(next.handle())
    })
  }

  /** The adapter exists only once the application does. */
  get #applicationHost(): Host {
    return (this.#host ??= { routes: routesOf(this.#redis), traits: traitsOf(this.#application) })
  }

  #routingOf(controller: Type): Routing | undefined {
    const config = this.#config
    const container = this.#container
    if (config === undefined || container === undefined) return undefined
    const host = this.#discovery.getControllers().find(({ metatype }) => metatype === controller)?.host
    const ofModule = (key: string): string | undefined =>
      host && (Reflect.getMetadata(key, host.metatype) as string | undefined)
    const modulePath = ofModule(MODULE_PATH + container.getModules().applicationId) ?? ofModule(MODULE_PATH)
    return { config, modulePath }
  }

  /** Whether no interceptor of the application is around this one. Those of controllers and methods are inside it. */
  get #isAlone(): boolean {
    const config = this.#config
    return (
      config !== undefined &&
      config.getGlobalRequestInterceptors().length === 0 &&
      config.getGlobalInterceptors().every((one) => one === this)
    )
  }

  /** Nest does not expose it; the container of any module has it. */
  get #config(): NestContainer['applicationConfig'] {
    this.#container ??= (
      this.#discovery.getControllers()[0]?.host as { container?: NestContainer } | undefined
    )?.container
    return this.#container?.applicationConfig
  }

  get #application(): Application {
    return this.#adapter.httpAdapter.getInstance<Application>()
  }
}

// Called explicitly, because parameter decorators need a compiler option.
Injectable()(RedwellInterceptor)

Inject(Redis)(RedwellInterceptor, undefined, 0)

Inject(HttpAdapterHost)(RedwellInterceptor, undefined, 1)

Inject(DiscoveryService)(RedwellInterceptor, undefined, 2)

Inject(PRINCIPAL)(RedwellInterceptor, undefined, 3)

Inject(Limiter)(RedwellInterceptor, undefined, 4)

/** `routing`: the router of Fastify. */
function traitsOf({ initialConfig, routing }: Application): Host['traits'] {
  const path = initialConfig === undefined ? EXPRESS_PATH : fastifyPath(initialConfig)
  return { path, stripsHead: false, knowsRoutes: true, bySpecificity: routing !== undefined }
}

/** What Nest receives instead of the hit. */
const ANSWERED: Answer = of(undefined)

/** The usual hits, which need nothing of what Nest and Fastify do about other statuses and bodies. */
function canSend({ method }: { readonly method: string }, { status, body }: OutgoingResponse): boolean {
  return method === 'GET' && (status === 304 || (status === 200 && body !== null))
}

/**
 * Where no interceptor could look at the response, the hit is sent from here, through the platform's own `send` and its
 * hooks. Nest waits for an answer that does not come, and keeps nothing meanwhile.
 */
function sendItself(response: ServerResponse, platformResponse: PlatformResponse, outgoing: OutgoingResponse): Answer {
  const isFastify = platformResponse.raw !== undefined
  const target = isFastify ? targetOf(platformResponse as FastifyResponse) : response
  for (const name of REPRESENTATION) if (target.getHeader(name) !== undefined) target.removeHeader(name)
  if (!isFastify) sendHit(response, outgoing)
  else {
    ;(platformResponse as FastifyResponse).code(outgoing.status)
    setFields(target, fieldsOf(outgoing))
    platformResponse.send(outgoing.body ?? undefined)
  }
  return NEVER
}

function targetOf(reply: FastifyResponse): FieldTarget {
  return {
    getHeader: (name) => reply.getHeader(name),
    getHeaderNames: () => Object.keys(reply.getHeaders()),
    setHeader: (name, value) => reply.header(name, value),
    removeHeader: (name) => reply.removeHeader(name),
  }
}

/** Fields of the empty response that Nest creates instead of the hit. */
const REPRESENTATION = new Set([...BODY_FIELDS, 'etag', 'last-modified', 'location'])

/** Fields that come from the entry, or that it adds to. */
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
 * When an interceptor returns a response, other interceptors may wrap it, the platform serializes it, and hooks add to it.
 * The result of all that is replaced by the hit.
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
  // A template must not be rendered for a hit.
  const render = platformResponse.raw === undefined ? 'render' : 'view'
  if (plan.renders) Object.assign(platformResponse, { [render]: () => platformResponse.send() })
}

/** Replaces the response by the hit, keeping the fields that others have set for this response. */
function hitEnding(hit: OutgoingResponse, status: number, before: FieldSnapshot, { ownFields }: Plan): Ending {
  return {
    needsBody: false,
    ambient: NO_FIELDS,
    whole(head, body) {
      // An interceptor around the cache may still reject the request.
      if (head.status >= 400 && head.status !== status) return { ...head, body: body ?? null }
      const fields = new Map(groupFields(head.headers).map((field) => [field.lowerName, field]))
      for (const name of [...REPRESENTATION, ...ownFields]) fields.delete(name)
      for (const field of fieldsOf(hit)) {
        const set = fields.get(field.lowerName)
        // A hook may have set it for this response; the value in the entry is that of another response.
        const isLate = set !== undefined && String(set.value) !== before.get(field.lowerName)
        if (!isLate || ENTRY.has(field.lowerName)) {
          const value = mergedValue(set?.value, field)
          fields.set(field.lowerName, new Field(field.name, field.lowerName, value, field.index))
        }
      }
      const headers = [...fields.values()].flatMap(({ name, value }) => [value].flat().flatMap((line) => [name, line]))
      return { status: hit.status, headers, body: hit.body }
    },
    // Another interceptor has replaced the hit by a stream.
    streamed: ({ headers }) => ({ headers, capture: undefined }),
    clientLeft() {},
    abandon() {},
  }
}
