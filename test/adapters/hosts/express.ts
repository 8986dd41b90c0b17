import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import compression from 'compression'
import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Response,
} from 'express'
import {
  cache,
  cacheEvict,
  cacheGroups,
  cachePut,
  rateLimit,
  redwell,
  requireSession,
  sessionOfRequest,
  sessions,
} from '../../../src/adapters/express/index.js'
import { Redis } from '../../../src/index.js'
import {
  type Answer,
  type AppSpec,
  type Call,
  type Host,
  limitWithCalls,
  requirementWithCalls,
  sessionsWithCalls,
  statusOf,
  type Route,
  toAnswer,
  toBytes,
  toFields,
  withCalls,
} from '../host.js'

export const expressHost = expressOf('Express', express)

/** Express of any version: what is used here is the same in all of them. */
export function expressOf(name: string, framework: typeof express): Host {
  return {
    name,
    traits: {
      refreshes: true,
      repeatsLines: true,
      knowsMethods: false,
      headBeforeBody: false,
      tellsBreaks: true,
      problemType: 'application/problem+json',
      limits: true,
      trustsProxies: true,
      limitsBehindCache: true,
      sessions: true,
      answersTwice: true,
      tellsSources: true,
    },
    async start(spec) {
      const app = framework()
      const { redis: given, principal } = spec
      const cached = redwell({
        ...(given instanceof Redis ? { redis: given } : given),
        principal: principal && ((req) => principal(callOf(req))),
      })
      try {
        app.use(cached)
        build(app, spec)
        if (spec.connect !== false) await cached.redis.connect()
      } catch (error) {
        await cached.close()
        throw error
      }
      const server = app.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return {
        port: (server.address() as AddressInfo).port,
        redis: cached.redis,
        async close() {
          await stop(server)
          await cached.close()
        },
      }
    },
  }
}

async function stop(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

function build(app: Express, spec: AppSpec): void {
  const { routes, ambient, compression: compressed, onError, sessions: options, rateLimit: limit } = spec
  if (spec.trustsProxy === true) app.set('trust proxy', true)
  if (ambient !== undefined) {
    app.use((req, res, next) => {
      for (const [name, value] of ambient(callOf(req, res))) res.append(name, value)
      next()
    })
  }
  if (limit !== undefined) app.use(rateLimit(limitWithCalls(limit, callOf)))
  if (options !== undefined) app.use(sessions(sessionsWithCalls(options, callOf)))
  if (compressed === 'outside') app.use(compression({ threshold: 0 }))
  if (spec.commit !== undefined) app.use(committing(spec.commit))
  for (const route of routes) declare(app, route, compressed === 'inside')
  const handleError: ErrorRequestHandler = async (error: Error, _req, res, next) => {
    if (res.headersSent) next(error)
    else if (onError === undefined) res.status(statusOf(error)).json({ error: error.message })
    else await send(res, onError(error))
  }
  app.use(handleError)
}

function declare(app: Express, route: Route, compressed: boolean): void {
  const handlers: RequestHandler[] = [express.json()]
  if (route.guard !== undefined) handlers.push(guarded(route.guard))
  if (route.session !== undefined) handlers.push(requireSession(requirementWithCalls(route.session, callOf)))
  const limits = route.rateLimit === undefined ? [] : [rateLimit(limitWithCalls(route.rateLimit, callOf))]
  if (route.limitsBehindCache !== true) handlers.push(...limits)
  if (route.cache !== undefined) handlers.push(cache(withCalls(route.cache, callOf)))
  if (route.limitsBehindCache === true) handlers.push(...limits)
  if (route.cachePut !== undefined) handlers.push(cachePut(withCalls(route.cachePut, callOf)))
  if (route.cacheEvict !== undefined) handlers.push(cacheEvict(withCalls(route.cacheEvict, callOf)))
  if (compressed) handlers.push(compression({ threshold: 0 }))
  const method = route.method.toLowerCase() as 'get' | 'put' | 'post' | 'patch' | 'delete'
  app[method](route.path, ...handlers, (req, res, next) => {
    // Express 4 does not know promises.
    const answer = async (): Promise<void> => sendAll(res, toAnswer(await route.handler(callOf(req, res))))
    answer().catch(next)
  })
}

/** Commits in `end`, as there is no later place. */
function committing(commit: NonNullable<AppSpec['commit']>): RequestHandler {
  return (req, res, next) => {
    const { end } = res
    Object.assign(res, {
      end(...args: Parameters<typeof end>) {
        const ending = commit(callOf(req)).then((instead) => {
          if (instead === undefined) return end.apply(res, args)
          res.status(instead.status ?? 200).removeHeader('content-length')
          return end.call(res, instead.text, 'utf8')
        })
        ending.catch(next)
        return res
      },
    })
    next()
  }
}

function guarded(guard: NonNullable<Route['guard']>): RequestHandler {
  return (req, res, next) => {
    const refusal = guard(callOf(req, res))
    if (refusal === undefined) next()
    else send(res, refusal).catch(next)
  }
}

function callOf(req: Request, res?: Response): Call {
  return {
    method: req.method,
    params: req.params as Record<string, string>,
    header(name) {
      return req.get(name)
    },
    names: () => Object.keys(req.headers),
    address: (of) => (of === 'framework' ? req.ip : req.socket.remoteAddress),
    origin: () => `${req.protocol}://${req.host}`,
    get session() {
      return sessionOfRequest(req)
    },
    json: async () => req.body as unknown,
    cacheGroups: (...names) => {
      if (res !== undefined) cacheGroups(res, ...names)
    },
  }
}

async function sendAll(res: Response, answer: Answer): Promise<void> {
  const sent = send(res, answer)
  if (answer.again instanceof Error) throw answer.again
  if (answer.again !== undefined) await sendAll(res, answer.again)
  return sent
}

async function send(res: Response, { status = 200, headers, text, json, bytes, stream }: Answer): Promise<void> {
  res.status(status).set(toFields(headers))
  if (stream !== undefined) return pipeline(Readable.from(toBytes(stream)), res)
  if (json !== undefined) res.json(json)
  else if (text !== undefined) (res.hasHeader('content-type') ? res : res.type('text/plain')).send(text)
  else if (bytes !== undefined) res.send(bytes)
  else res.end()
}
