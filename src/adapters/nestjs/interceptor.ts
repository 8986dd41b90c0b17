import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  Logger,
  type NestInterceptor,
  RequestMethod,
  type Type,
} from '@nestjs/common'
import {
  HEADERS_METADATA,
  METHOD_METADATA,
  PATH_METADATA,
  RENDER_METADATA,
  RESPONSE_PASSTHROUGH_METADATA,
  ROUTE_ARGS_METADATA,
  SSE_METADATA,
} from '@nestjs/common/constants.js'
import { RouteParamtypes } from '@nestjs/common/enums/route-paramtypes.enum.js'
import { HttpAdapterHost } from '@nestjs/core'
import type { ServerResponse } from 'node:http'
import { type Observable, of, tap } from 'rxjs'
import { Redis } from '../../create-redis.js'
import { OptionsError } from '../../errors.js'
import { isSafe, type OutgoingResponse } from '../../http/index.js'
import type { CachedRoute } from '../../route/cached-route.js'
import { type DeclaredWrite, routesOf } from '../declarations.js'
import { fieldsOf, removeFields, sendAnswer } from '../node/fields.js'
import { type Host, isWriting, visit, write } from '../node/handlers.js'
import { type Methods, methodsOf, setHead } from '../node/interception.js'
import { Refresher } from '../node/refresher.js'
import { NodeRequest } from '../node/request.js'
import { invalidateBy, isRunning } from '../node/responders.js'
import { CACHE_EVICT, CACHE_PUT, CACHED, type Declarations } from './decorators.js'
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

  #read({ plan, request, response, res, next }: Arrival, cache: CachedRoute<HttpRequest>): Promise<Answer> {
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

/** Fields of the empty answer that Nest gives in a hit's place. */
const OF_THE_REPRESENTATION = [
  'content-encoding',
  'content-language',
  'content-length',
  'content-range',
  'content-type',
  'etag',
  'last-modified',
  'location',
  'transfer-encoding',
]

/** What the entry alone knows, whoever else sets it. */
const OF_THE_ENTRY = new Set([
  ...OF_THE_REPRESENTATION,
  'age',
  'cache-control',
  'cache-groups',
  'cache-status',
  'date',
  'expires',
  'vary',
  'x-redis-cache',
])

/** What is set when the hit is found. */
export interface AlreadySet {
  /** By everybody who came before the route, and by Nest for it. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Names (lower case) of those that the route's decorators have set. */
  readonly own: ReadonlySet<string>
}

/**
 * Puts a hit in the place of whatever is answered. Nest goes its own way when an interceptor has an answer: other
 * interceptors may wrap it, the platform serializes it, hooks add to it. What comes out at its end is the hit, with the
 * fields of all of them. Written for speed: this is done for each hit.
 */
export function answerWith(res: ServerResponse, outgoing: OutgoingResponse, set: AlreadySet): void {
  const { statusCode } = res
  const node = methodsOf(res)
  const answer: Methods = {
    writeHead(...head) {
      setHead(res, head)
      return res
    },
    end(...given) {
      Object.assign(res, node)
      // An interceptor around the cache may still refuse.
      if (res.statusCode >= 400 && res.statusCode !== statusCode) return node.end.apply(res, given)
      become(res, outgoing, set)
      return node.end.call(res, outgoing.body)
    },
    // Somebody else's stream, in place of the hit.
    write(...given) {
      Object.assign(res, node)
      return node.write.apply(res, given)
    },
    flushHeaders() {
      Object.assign(res, node)
      node.flushHeaders.call(res)
    },
  }
  Object.assign(res, answer)
}

function become(res: ServerResponse, outgoing: OutgoingResponse, { fields, own }: AlreadySet): void {
  res.statusCode = outgoing.status
  res.statusMessage = ''
  removeFields(res, OF_THE_REPRESENTATION)
  for (const name of own) res.removeHeader(name)
  for (const [name, value, lower] of fieldsOf(outgoing)) {
    if (OF_THE_ENTRY.has(lower) || !isLate(res, lower, fields)) res.setHeader(name, value)
  }
  if (outgoing.body !== null) res.setHeader('Content-Length', outgoing.body.length)
}

/** A hook of the platform has set it for this answer; the entry may have the one of the answer it was made of. */
function isLate(res: ServerResponse, name: string, before: AlreadySet['fields']): boolean {
  const value = res.getHeader(name)
  return value !== undefined && value !== before[name]
}

/** A method of a controller. */
export type Handler = (...args: never[]) => unknown

/** What a handler's decorators say. */
export interface Plan {
  /** Method and template of the route. */
  readonly name: string
  readonly cache: CachedRoute<HttpRequest> | undefined
  readonly write: DeclaredWrite<HttpRequest> | undefined
  /** Names (lower case) of the fields that `@Header` sets: they are the representation's. */
  readonly ownFields: ReadonlySet<string>
  /** The handler has `@Res()` or `@Next()`, so that Nest sends nothing. */
  readonly answersItself: boolean
  readonly renders: boolean
}

/** Reads the decorators of a handler. Throws OptionsError for what cannot be meant. */
export function planOf(controller: Type, handler: Handler, host: Host): Plan {
  const name = nameOf(controller, handler)
  const cached = cachedOf(controller, handler, name)
  const put = own(handler, CACHE_PUT)
  const evict = own(handler, CACHE_EVICT)
  const method = methodOf(handler)
  if ((put ?? evict) !== undefined && (method === RequestMethod.GET || method === RequestMethod.HEAD)) {
    throw misplaced(put === undefined ? '@CacheEvict' : '@CachePut', name, WRITES)
  }
  const cache = cached?.on(host.routes, name, () => host.traits)
  if (cache !== undefined && !reads(method) && !cache.anyMethod) throw misplaced('@Cached', name, READS)
  return {
    name,
    cache,
    write: put === undefined || evict === undefined ? (put ?? evict) : put.join(evict),
    ownFields: new Set(headersOf(handler)),
    answersItself: answersItself(controller, handler),
    renders: Reflect.getMetadata(RENDER_METADATA, handler) !== undefined,
  }
}

const READS =
  "only GET responses are cached: use @CachePut or @CacheEvict on a route that writes, or `preset: 'rfc9111'` on one that answers all methods"

const WRITES = 'belongs on a route that writes (POST, PUT, PATCH, DELETE)'

const STREAMS = 'a stream of events is never over, so there is nothing to store'

/** Whether a decorator of ours is on it. */
export function isDeclared(target: object): boolean {
  return [CACHED, CACHE_PUT, CACHE_EVICT].some((key) => Reflect.getMetadata(key, target) !== undefined)
}

/** Whether requests come to it. */
export function isRoute(handler: Handler): boolean {
  return methodOf(handler) !== undefined
}

/** Its own `@Cached`, or, for its GETs, that of the controller. */
function cachedOf(controller: Type, handler: Handler, name: string): Declarations[typeof CACHED] | undefined {
  const streams = Reflect.getMetadata(SSE_METADATA, handler) === true
  const declared = own(handler, CACHED)
  if (declared !== undefined && streams) throw misplaced('@Cached', name, STREAMS)
  if (declared !== undefined) return declared
  return reads(methodOf(handler)) && !streams ? own(controller, CACHED) : undefined
}

function reads(method: RequestMethod | undefined): boolean {
  return method === RequestMethod.GET || method === RequestMethod.HEAD || method === RequestMethod.ALL
}

function own<K extends keyof Declarations>(target: object, key: K): Declarations[K] | undefined {
  return Reflect.getMetadata(key, target) as Declarations[K] | undefined
}

function methodOf(handler: Handler): RequestMethod | undefined {
  return Reflect.getMetadata(METHOD_METADATA, handler) as RequestMethod | undefined
}

function misplaced(word: string, name: string, problem: string): OptionsError {
  return new OptionsError(`${word} of ${name}`, [problem === WRITES ? `${word} ${problem}` : problem])
}

/** Method and template, for logs. */
function nameOf(controller: Type, handler: Handler): string {
  const method = methodOf(handler)
  const parts = [controller, handler].map((target) =>
    String([Reflect.getMetadata(PATH_METADATA, target) ?? ''].flat()[0]),
  )
  const path = parts.flatMap((part) => part.split('/')).filter((part) => part !== '')
  return `${method === undefined ? 'ALL' : RequestMethod[method]} /${path.join('/')}`
}

function headersOf(handler: Handler): string[] {
  const fields = (Reflect.getMetadata(HEADERS_METADATA, handler) ?? []) as readonly { readonly name: string }[]
  return fields.map(({ name }) => name.toLowerCase())
}

function answersItself(controller: Type, handler: Handler): boolean {
  const name = methodName(controller.prototype as object, handler)
  if (Reflect.getMetadata(RESPONSE_PASSTHROUGH_METADATA, controller, name) === true) return false
  const args = (Reflect.getMetadata(ROUTE_ARGS_METADATA, controller, name) ?? {}) as object
  const kinds = Object.keys(args).map((key) => Number(key.split(':')[0]))
  return kinds.includes(RouteParamtypes.RESPONSE) || kinds.includes(RouteParamtypes.NEXT)
}

/** Under which name the controller has it: a decorator may have put another function in its place. */
function methodName(prototype: object, handler: Handler): string {
  for (let at: object | null = prototype; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const found = Object.entries(Object.getOwnPropertyDescriptors(at)).find(([, { value }]) => value === handler)
    if (found !== undefined) return found[0]
  }
  return handler.name
}
