import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  Delete,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  type INestApplication,
  type NestInterceptor,
  Patch,
  Post,
  Put,
  Req,
  Res,
  StreamableFile,
  type Type,
  UseGuards,
  HttpException,
} from '@nestjs/common'
import { HttpAdapterHost, NestFactory } from '@nestjs/core'
import type { NestExpressApplication } from '@nestjs/platform-express'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import compression from 'compression'
import type { FastifyReply } from 'fastify'
import { mergeMap } from 'rxjs'
import { Redis, type Session } from '../../../src/index.js'
import {
  type AddGroups,
  CacheEvict,
  CacheGroups,
  CachePut,
  Cached,
  type HttpRequest,
  RateLimit,
  RedwellModule,
  RequireSession,
} from '../../../src/adapters/nestjs/index.js'
import { certificate } from '../../support/certificate.js'
import { HTTP2_IDLE_MS, type Protocol } from '../client.js'
import {
  type Answer,
  type AppSpec,
  type Call,
  type Host,
  type Route,
  toAnswer,
  toBytes,
  toFields,
  limitWithCalls,
  requirementWithCalls,
  sessionsWithCalls,
  statusOf,
  withCalls,
} from '../host.js'

type Platform = 'express' | 'fastify'

/** The response of either platform, as far as handlers here use it. */
interface NestResponse {
  status(code: number): unknown
  send(body: unknown): unknown
  readonly raw?: ServerResponse
}

const VERBS = { GET: Get, PUT: Put, POST: Post, PATCH: Patch, DELETE: Delete }

/** Express has no HTTP/2. */
export const nestHost = (platform: Platform, protocol: Protocol = 'http/1.1', version = ''): Host => ({
  name: `Nest${version} on ${platform === 'express' ? 'Express' : 'Fastify'}${protocol === 'http/1.1' ? '' : ` over ${protocol}`}`,
  traits: {
    refreshes: true,
    repeatsLines: true,
    knowsMethods: true,
    headBeforeBody: false,
    tellsBreaks: protocol === 'http/1.1',
    problemType: version === ' 11' && platform === 'express' ? 'application/json' : 'application/problem+json',
    limits: true,
    trustsProxies: true,
    limitsBehindCache: false,
    sessions: true,
    answersTwice: true,
    tellsSources: false,
  },
  async start(spec) {
    const app = await create(platform, protocol, spec)
    try {
      configure(app, platform, spec)
      await app.listen(0, '127.0.0.1')
    } catch (error) {
      await app.close()
      throw error
    }
    const { port } = new URL(await app.getUrl())
    return { port: Number(port), protocol, redis: app.get(Redis), close: () => app.close() }
  },
})

class Root {
  readonly name = 'Root'
}

async function create(
  platform: Platform,
  protocol: Protocol,
  { redis, connect = true, routes, principal, sessions, rateLimit, trustsProxy = false }: AppSpec,
): Promise<INestApplication> {
  const { sessions: _, ...options } = redis instanceof Redis ? { redis, sessions: undefined } : redis
  const module = {
    module: Root,
    imports: [
      RedwellModule.forRoot({
        ...options,
        ...(principal && { principal: (request: HttpRequest) => principal(callOf(request)) }),
        sessions: sessions && sessionsWithCalls(sessions, callOf),
        rateLimit: rateLimit && limitWithCalls(rateLimit, callOf),
        connect,
      }),
    ],
    controllers: [controllerOf(routes)],
  }
  const settings = { logger: false, abortOnError: false, forceCloseConnections: true } as const
  if (platform === 'express') {
    const app = await NestFactory.create<NestExpressApplication>(module, settings)
    if (trustsProxy) app.set('trust proxy', true)
    return app
  }
  const server = { ...SERVERS[protocol](), trustProxy: trustsProxy }
  const adapter = new FastifyAdapter(server as ConstructorParameters<typeof FastifyAdapter>[0])
  return NestFactory.create<NestFastifyApplication>(module, adapter, settings)
}

const SERVERS = {
  'http/1.1': () => ({ forceCloseConnections: true }),
  h2c: () => ({ http2: true, http2SessionTimeout: HTTP2_IDLE_MS }),
  h2: () => ({ http2: true, https: certificate(), http2SessionTimeout: HTTP2_IDLE_MS }),
}

function configure(app: INestApplication, platform: Platform, spec: AppSpec): void {
  const { ambient, commit, compression: compressed, onError } = spec
  if (ambient !== undefined) {
    app.use((req: IncomingMessage, res: ServerResponse, next: () => void) => {
      for (const [name, value] of ambient(callOf(req as unknown as HttpRequest))) res.appendHeader(name, value)
      next()
    })
  }
  if (commit !== undefined) app.useGlobalInterceptors(new Committing(commit))
  if (compressed === 'outside') app.use(compression({ threshold: 0 }))
  if (compressed === 'inside' && platform === 'express') app.useGlobalInterceptors(new Compressing())
  if (compressed === 'inside' && platform === 'fastify') {
    const instance = (app as NestFastifyApplication).getHttpAdapter().getInstance()
    instance.addHook('onSend', async (request, reply, payload) =>
      encode(request.headers['accept-encoding'], reply, payload),
    )
  }
  app.useGlobalFilters(new Answering(app.get(HttpAdapterHost), onError))
}

/** The transaction of an application: Nest knows what is answered instead as an exception. */
class Committing implements NestInterceptor {
  readonly #commit: NonNullable<AppSpec['commit']>

  constructor(commit: NonNullable<AppSpec['commit']>) {
    this.#commit = commit
  }

  intercept(context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(
      mergeMap(async (value: unknown) => {
        const instead = await this.#commit(callOf(context.switchToHttp().getRequest()))
        if (instead !== undefined) throw new Refusal(instead)
        return value
      }),
    )
  }
}

/** Compression of a route's own, so behind the cache. */
class Compressing implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    const http = context.switchToHttp()
    compression({ threshold: 0 })(http.getRequest(), http.getResponse(), () => {})
    return next.handle()
  }
}

function encode(accepted: string | string[] | undefined, reply: FastifyReply, payload: unknown): unknown {
  if (accepted !== 'gzip' || typeof payload !== 'string') return payload
  reply.headers({ 'content-encoding': 'gzip', vary: 'accept-encoding' }).removeHeader('content-length')
  return gzipSync(payload)
}

class Refusal extends Error {
  readonly answer: Answer

  constructor(answer: Answer) {
    super('refused')
    this.answer = answer
  }
}

class Answering implements ExceptionFilter {
  readonly #host: HttpAdapterHost
  readonly #onError: AppSpec['onError']

  constructor(host: HttpAdapterHost, onError: AppSpec['onError']) {
    this.#host = host
    this.#onError = onError
  }

  catch(error: Error, host: ArgumentsHost): void {
    if (error instanceof HttpException) {
      return this.#host.httpAdapter.reply(host.switchToHttp().getResponse(), error.getResponse(), error.getStatus())
    }
    const { text, status = statusOf(error) } =
      error instanceof Refusal ? error.answer : (this.#onError?.(error) ?? { text: error.message })
    this.#host.httpAdapter.reply(host.switchToHttp().getResponse(), text, status)
  }
}

Catch()(Answering)

function controllerOf(routes: readonly Route[]): Type {
  @Controller()
  class Routes {}
  for (const [index, route] of routes.entries()) declare(Routes, `route${index}`, route)
  return Routes
}

/** What a class with decorators in its text comes down to. */
function declare(controller: Type, name: string, route: Route): void {
  const prototype = controller.prototype as object
  const value = async (request: HttpRequest, response: NestResponse, addGroups: AddGroups) =>
    send(response, toAnswer(await route.handler(callOf(request, addGroups))))
  Object.defineProperty(prototype, name, { value, configurable: true, writable: true, enumerable: false })
  for (const decorate of decorators(route)) {
    decorate(prototype, name, Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor)
  }
  Req()(prototype, name, 0)
  Res({ passthrough: true })(prototype, name, 1)
  CacheGroups()(prototype, name, 2)
}

function decorators({
  method,
  path,
  cache,
  cachePut,
  cacheEvict,
  rateLimit,
  session,
  guard,
}: Route): MethodDecorator[] {
  return [
    VERBS[method](path),
    ...(cache === undefined ? [] : [Cached(withCalls(cache, callOf))]),
    ...(cachePut === undefined ? [] : [CachePut(withCalls(cachePut, callOf))]),
    ...(cacheEvict === undefined ? [] : [CacheEvict(withCalls(cacheEvict, callOf))]),
    ...(session === undefined ? [] : [RequireSession(requirementWithCalls(session, callOf))]),
    ...(rateLimit === undefined ? [] : [RateLimit(limitWithCalls(rateLimit, callOf))]),
    ...(guard === undefined ? [] : [UseGuards(guardOf(guard))]),
  ]
}

function guardOf(guard: NonNullable<Route['guard']>): CanActivate {
  return {
    canActivate(context) {
      const refusal = guard(callOf(context.switchToHttp().getRequest()))
      if (refusal !== undefined) throw new Refusal(refusal)
      return true
    },
  }
}

function callOf(request: HttpRequest, addGroups?: AddGroups): Call {
  return {
    method: request.method,
    params: request.params as Record<string, string>,
    header(name) {
      const value = request.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    names: () => Object.keys(request.headers),
    address: (of) => (of === 'framework' ? request.ip : messageOf(request).socket.remoteAddress),
    origin: () => `${request.protocol}://${request.host}`,
    get session() {
      return (request as HttpRequest & { session: Session }).session
    },
    json: async () => request.body,
    cacheGroups: (...names) => addGroups?.(...names),
  }
}

function send(response: NestResponse, { status = 200, headers, text, json, bytes, stream, again }: Answer): unknown {
  response.status(status)
  const fields = toFields(headers)
  if (text !== undefined && !Object.keys(fields).includes('content-type')) fields['content-type'] = 'text/plain'
  for (const [name, value] of Object.entries(fields)) {
    if (response.raw === undefined) (response as ServerResponse & NestResponse).setHeader(name, value)
    else (response as FastifyReply).header(name, value)
  }
  if (again !== undefined) {
    response.send(text ?? json)
    if (again instanceof Error) throw again
    return send(response, again)
  }
  if (stream !== undefined) return new StreamableFile(Readable.from(toBytes(stream)))
  if (bytes !== undefined) return new StreamableFile(bytes)
  return text ?? json
}

/** Express extends the message of node:http, Fastify has it. */
function messageOf(request: HttpRequest & { readonly raw?: IncomingMessage }): IncomingMessage {
  return request.raw ?? (request as unknown as IncomingMessage)
}
