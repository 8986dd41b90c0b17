import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer as createHttp2Server, createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { createAdaptorServer } from '@hono/node-server'
import { getConnInfo } from '@hono/node-server/conninfo'
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { compress } from 'hono/compress'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import {
  cache,
  cacheEvict,
  cacheGroups,
  cachePut,
  rateLimit,
  redwell,
  type RedwellMiddleware,
  requireSession,
  sessions,
} from '../../../src/adapters/hono/index.js'
import { Redis } from '../../../src/index.js'
import { certificate } from '../../support/certificate.js'
import type { Protocol } from '../client.js'
import {
  type Answer,
  type AppSpec,
  type Call,
  type Host,
  type Route,
  toAnswer,
  toBytes,
  limitWithCalls,
  requirementWithCalls,
  sessionsWithCalls,
  statusOf,
  withCalls,
} from '../host.js'

export const honoHost = honoOver('http/1.1')

/** Hono on a server of this protocol. */
export function honoOver(protocol: Protocol): Host {
  return {
    name: protocol === 'http/1.1' ? 'Hono on Node' : `Hono on Node over ${protocol}`,
    traits: {
      refreshes: true,
      repeatsLines: false,
      knowsMethods: false,
      headBeforeBody: true,
      tellsBreaks: true,
      problemType: 'application/problem+json',
      limits: true,
      trustsProxies: false,
      limitsBehindCache: true,
      sessions: true,
      answersTwice: false,
      tellsSources: true,
    },
    async start(spec) {
      const app = new Hono()
      const { principal } = spec
      const connected = redwell({
        principal: principal && ((c) => principal(callOf(c))),
        ...(spec.redis instanceof Redis ? { redis: spec.redis } : spec.redis),
        fetch: app.fetch,
      })
      try {
        if (spec.connect !== false) await connected.redis.connect()
        build(app, connected, spec)
      } catch (error) {
        await connected.close()
        throw error
      }
      const server = createAdaptorServer({ fetch: app.fetch, ...SERVERS[protocol]() })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      return {
        port: (server.address() as AddressInfo).port,
        protocol,
        redis: connected.redis,
        async close() {
          server.close()
          if ('closeAllConnections' in server) server.closeAllConnections()
          await connected.close()
        },
      }
    },
  }
}

const SERVERS = {
  'http/1.1': () => ({}),
  h2c: () => ({ createServer: createHttp2Server }),
  h2: () => ({ createServer: createSecureServer, serverOptions: certificate() }),
}

function build(
  app: Hono,
  connected: RedwellMiddleware,
  { routes, ambient, compression, commit, onError, sessions: options, rateLimit: limit }: AppSpec,
): void {
  if (compression === 'outside') app.use(compress())
  app.use(connected)
  if (limit !== undefined) app.use(rateLimit(limitWithCalls(limit, callOf)))
  if (options !== undefined) app.use(sessions(sessionsWithCalls(options, callOf)))
  if (ambient !== undefined) {
    app.use(async (c, next) => {
      for (const [name, value] of ambient(callOf(c))) c.header(name, value)
      await next()
    })
  }
  if (commit !== undefined) {
    app.use(async (c, next) => {
      await next()
      const instead = await commit(callOf(c))
      if (instead !== undefined) c.res = new Response(instead.text, { status: instead.status ?? 200 })
    })
  }
  app.onError((error, c) =>
    onError === undefined ? c.text('Internal Server Error', statusOf(error)) : send(c, onError(error)),
  )
  for (const route of routes) declare(app, route, compression === 'inside' ? [encode] : [])
}

const encode: MiddlewareHandler = async (c, next) => {
  await next()
  if (c.req.header('accept-encoding') !== 'gzip') return
  c.res = new Response(gzipSync(await c.res.arrayBuffer()), c.res)
  c.res.headers.set('content-encoding', 'gzip')
  c.res.headers.set('vary', 'accept-encoding')
}

function declare(app: Hono, route: Route, inside: MiddlewareHandler[]): void {
  const { method, path, guard } = route
  const words: MiddlewareHandler[] = []
  if (guard !== undefined) {
    words.push(async (c, next) => {
      const refusal = guard(callOf(c))
      if (refusal !== undefined) return send(c, refusal)
      await next()
    })
  }
  if (route.session !== undefined) words.push(requireSession(requirementWithCalls(route.session, callOf)))
  const limits = route.rateLimit === undefined ? [] : [rateLimit(limitWithCalls(route.rateLimit, callOf))]
  if (route.limitsBehindCache !== true) words.push(...limits)
  if (route.cache !== undefined) words.push(cache(withCalls(route.cache, callOf)))
  if (route.limitsBehindCache === true) words.push(...limits)
  if (route.cachePut !== undefined) words.push(cachePut(withCalls(route.cachePut, callOf)))
  if (route.cacheEvict !== undefined) words.push(cacheEvict(withCalls(route.cacheEvict, callOf)))
  app.on(method, [path], ...words, ...inside, async (c) => send(c, toAnswer(await route.handler(callOf(c)))))
}

function callOf(c: Context): Call {
  return {
    method: c.req.method,
    params: c.req.param(),
    header: (name) => c.req.header(name),
    names: () => Object.keys(c.req.header()),
    address: (of) => {
      const { incoming } = c.env as { incoming?: IncomingMessage }
      // A request for a refresh has none.
      if (incoming === undefined) return undefined
      return of === 'framework' ? getConnInfo(c).remote.address : incoming.socket.remoteAddress
    },
    origin: () => new URL(c.req.url).origin,
    get session() {
      return c.var.session
    },
    json: () => c.req.json(),
    cacheGroups: (...names) => cacheGroups(c, ...names),
  }
}

function send(c: Context, { status = 200, headers = [], text, json, bytes, stream }: Answer): Response {
  c.status(status as ContentfulStatusCode)
  for (const [name, value] of headers) c.header(name, value, { append: true })
  if (stream !== undefined) return c.body(ReadableStream.from(toBytes(stream)) as unknown as ReadableStream)
  if (json !== undefined) return c.json(json)
  if (bytes !== undefined) return c.body(new Uint8Array(bytes))
  if (text === undefined) return c.body(null)
  return headers.some(([name]) => name === 'content-type') ? c.body(text) : c.text(text)
}
