import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { json as readJson } from 'node:stream/consumers'
import compression from 'compression'
import Koa, { type Context, type Middleware } from 'koa'
import { sessionOf, principalOfSession } from '../../../src/adapters/sessions.js'
import { createRedis, Redis, type Session } from '../../../src/index.js'
import {
  type Answer,
  type AppSpec,
  type Call,
  type Host,
  requirementWithCalls,
  type Route,
  sessionsWithCalls,
  toAnswer,
  toBytes,
  toFields,
  withCalls,
} from '../host.js'
import { cache, cacheEvict, cacheGroups, cachePut, redwell } from './koa-adapter.js'
import { requireSession, sessions } from './koa-sessions.js'

export const koaHost: Host = {
  name: 'Koa',
  traits: {
    refreshes: true,
    repeatsLines: true,
    knowsMethods: false,
    headBeforeBody: false,
    tellsBreaks: true,
    problemType: 'application/problem+json',
    limits: false,
    trustsProxies: true,
    limitsBehindCache: false,
    sessions: true,
    answersTwice: false,
    tellsSources: true,
    answersTheGone: false,
  },
  async start(spec) {
    const app = new Koa()
    app.silent = true
    const { redis: given } = spec
    const redis = given instanceof Redis ? given : createRedis(given)
    const { principal } = spec
    const cached = redwell(
      redis,
      (message, response) => void listener(message, response),
      principal === undefined ? spec.sessions && principalOfSession : (ctx) => principal(callOf(ctx)),
    )
    const close = async (): Promise<void> => {
      await (redis === given ? redis.cache.settled() : redis.close())
    }
    try {
      build(app, redis, cached, spec)
      if (spec.connect !== false) await redis.connect()
    } catch (error) {
      await close()
      throw error
    }
    const listener = app.callback()
    const server = createServer((message, response) => void listener(message, response)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return {
      port: (server.address() as AddressInfo).port,
      redis,
      async close() {
        server.close()
        server.closeAllConnections()
        await close()
      },
    }
  },
}

function build(app: Koa, redis: Redis, cached: Middleware, spec: AppSpec): void {
  const { routes, ambient, compression: compressed, onError, sessions: options } = spec
  app.use(async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      if (onError === undefined) throw error
      send(ctx, onError(error as Error))
    }
  })
  if (ambient !== undefined) {
    app.use((ctx, next) => {
      for (const [name, value] of ambient(callOf(ctx))) ctx.append(name, value)
      return next()
    })
  }
  if (compressed === 'outside') app.use(compress)
  app.use(cached)
  if (options !== undefined) app.use(sessions(redis, sessionsWithCalls(options, callOf)))
  const { commit } = spec
  if (commit !== undefined) {
    app.use(async (ctx, next) => {
      await next()
      const instead = await commit(callOf(ctx))
      if (instead !== undefined) send(ctx, instead)
    })
  }
  for (const route of routes) app.use(routed(route, middlewaresOf(route, compressed === 'inside')))
}

/** Express' middleware, on the response of Node that Koa writes to. */
const compress: Middleware = (ctx, next) => {
  compression({ threshold: 0 })(ctx.req as never, ctx.res as never, () => {})
  return next()
}

function middlewaresOf(route: Route, compressed: boolean): Middleware[] {
  const name = `${route.method} ${route.path}`
  const { guard } = route
  const middlewares: Middleware[] = []
  if (guard !== undefined) {
    middlewares.push((ctx, next) => {
      const refusal = guard(callOf(ctx))
      return refusal === undefined ? next() : send(ctx, refusal)
    })
  }
  if (route.session !== undefined) middlewares.push(requireSession(requirementWithCalls(route.session, callOf)))
  if (route.cache !== undefined) middlewares.push(cache(name, withCalls(route.cache, callOf)))
  if (route.cachePut !== undefined) middlewares.push(cachePut(name, withCalls(route.cachePut, callOf)))
  if (route.cacheEvict !== undefined) middlewares.push(cacheEvict(name, withCalls(route.cacheEvict, callOf)))
  if (compressed) middlewares.push(compress)
  middlewares.push(async (ctx) => send(ctx, toAnswer(await route.handler(callOf(ctx)))))
  return middlewares
}

/** Koa brings no router: runs the middlewares of a route where method and path are its own. */
function routed({ method, path }: Route, middlewares: readonly Middleware[]): Middleware {
  const pattern = new RegExp(`^${path.replaceAll(/:(\w+)/g, '(?<$1>[^/]+)')}$`)
  return (ctx, next) => {
    const match = pattern.exec(ctx.path)
    if (match === null || (ctx.method === 'HEAD' ? 'GET' : ctx.method) !== method) return next()
    ctx['params'] = Object.fromEntries(
      Object.entries(match.groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value)]),
    )
    const run = (index: number): Promise<unknown> => Promise.resolve(middlewares[index]?.(ctx, () => run(index + 1)))
    return run(0)
  }
}

function callOf(ctx: Context): Call {
  return {
    method: ctx.method,
    params: (ctx['params'] ?? {}) as Record<string, string>,
    header(name) {
      const value = ctx.headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    names: () => Object.keys(ctx.headers),
    address: (of) => (of === 'framework' ? ctx.ip : ctx.req.socket.remoteAddress),
    origin: () => `${ctx.protocol}://${ctx.host}`,
    get session() {
      return sessionOf(ctx) as Session
    },
    json: () => readJson(ctx.req),
    cacheGroups: (...names) => cacheGroups(ctx, ...names),
  }
}

function send(ctx: Context, { status = 200, headers, text, json, bytes, stream }: Answer): void {
  ctx.status = status
  if (stream !== undefined) ctx.body = Readable.from(toBytes(stream))
  else if (json !== undefined || text !== undefined || bytes !== undefined) ctx.body = json ?? text ?? bytes
  else ctx.res.removeHeader('Content-Type')
  ctx.set(toFields(headers))
  if (stream === undefined && json === undefined && text === undefined && bytes === undefined) {
    ctx.respond = false
    ctx.res.end()
  }
}
